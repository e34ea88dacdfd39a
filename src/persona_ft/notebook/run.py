"""Execute the notebooks in order with papermill: python -m persona_ft.notebook.run --run runs/demo [-p NAME VALUE]"""

from __future__ import annotations

import argparse
import ast
import csv
import io
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from persona_ft.errors import PersonaError, visible
from persona_ft.evaluate.schema import AFTER, BEFORE
from persona_ft.io import move_aside, write_text
from persona_ft.language import columns_of
from persona_ft.lock import one_writer
from persona_ft.paths import repository_root, resolve, run_folder, shown, typed
from persona_ft.report.store import read_comparison
from persona_ft.use.check import check_first

NOTEBOOKS = ("01_inference", "02_build_dataset", "03_train_qlora", "04_compare")
# The whole way in one kernel, for a first look; and what is run on what the four leave: a run is complete without.
ONE_SITTING = "00_one_sitting"
# It takes the place of 02 where a chat is given.
FROM_CHATS = "02b_from_chats"
LESSONS = (ONE_SITTING, *NOTEBOOKS, "05_experiments", "06_talk", FROM_CHATS)


# The first form has what readers change; the rarer ones are in a folded cell below it, after which papermill puts what
# was given: it overrides both.
PARAMETER_TAGS = {"parameters", "parameters-first"}


def parameters_of(notebook: Path) -> dict[str, Any]:
    """Names and defaults in the notebook's cells of parameters: plain ``NAME = value`` lines."""
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    tagged = [cell.source for cell in cells if PARAMETER_TAGS & set(cell.metadata.get("tags", []))]
    if not tagged:
        raise PersonaError("no cell is tagged parameters", "tag one", notebook)
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse("\n".join(tagged)).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def execute(names: list[str], run: Path, given: dict[str, Any], notebooks: str = "notebooks") -> None:
    """Execute notebooks, of this folder of the repository, into the run folder, a line for each.

    A failing cell stops the run; the partly executed notebook stays in the run folder.

    Raises
    ------
    PersonaError
        A parameter that no notebook has, a folder that is not there, a kernel that died, or another process is writing
        to the run folder.
    SystemExit
        A cell failed: its notebook, number and traceback are on the standard error stream.
    """
    with one_writer(run):
        _execute(names, run, given, notebooks)


def _execute(names: list[str], run: Path, given: dict[str, Any], notebooks: str) -> None:
    folder = repository_root() / notebooks
    if not folder.is_dir():
        raise PersonaError(f"there is no folder {notebooks}", "use notebooks or notebooks/ja")
    if run in (folder, repository_root()):
        raise PersonaError(
            "this is no run folder: the notebooks themselves are here", "choose another, as runs/me", run
        )
    if missing := [name for name in names if not (folder / f"{name}.ipynb").is_file()]:
        raise PersonaError(f"{notebooks} has no notebook {', '.join(missing)}", f"use some of {', '.join(LESSONS)}")
    accepted = {name: parameters_of(folder / f"{name}.ipynb") for name in names}
    if "RUN" in given:
        raise PersonaError("RUN is not given with -p", "give the folder with --run (make run RUN=…)")
    known = {parameter for parameters in accepted.values() for parameter in parameters}
    if unknown := sorted(set(given) - known):
        reason = f"no notebook has a parameter called {', '.join(unknown)}"
        raise PersonaError(reason, f"use one of {', '.join(sorted(known))}")

    given = given | {"RUN": typed(run)}
    os.environ.setdefault("PYTHONUTF8", "1")  # the kernels read and write UTF-8 whatever the locale is

    # papermill knows one cell of parameters and warns of those in another; what no notebook has was refused above.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from papermill.iorw import papermill_io

    for number, name in enumerate(names, start=1):
        output, step = run / f"{name}.ipynb", f"[{number}/{len(names)}] {name}"
        _make_way(output)
        papermill_io.register(str(output), _WholeNotebooks())
        started = time.monotonic()
        print(step, end=" ", flush=True)
        try:
            papermill.execute_notebook(
                folder / f"{name}.ipynb",
                output,
                parameters={key: value for key, value in given.items() if key in accepted[name]},
                kernel_name="python3",
                cwd=folder,
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # no word on how kernel and papermill talk
                progress_bar={"desc": step, "leave": False} if sys.stderr.isatty() else False,
            )
        except PapermillExecutionError as error:
            if error.ename == "KeyboardInterrupt":
                raise KeyboardInterrupt from None
            print(f"failed after {time.monotonic() - started:.0f} s", flush=True)
            print(
                f"\n{name}.ipynb, cell {error.exec_count}: {error.ename}: {visible(error.evalue)}\n\n"
                + "\n".join(error.traceback)
                + f"\n\nThe notebook as far as it came: {shown(output)}",
                file=sys.stderr,
            )
            raise SystemExit(1) from None
        except RuntimeError as error:  # nbclient's DeadKernelError is one, and so is a kernel that does not start
            raise PersonaError(
                f"the kernel of {name}.ipynb died {_where_it_was(output)}after {time.monotonic() - started:.0f} s "
                f"({error}). Most likely the machine ran out of memory and the system ended it; look for other "
                "programs that hold memory",
                "run the same command again: notebook 03 goes on from its last checkpoint, and 04 keeps the answers "
                "that it has. If it dies at the same place, make BATCH_SIZE smaller (-p BATCH_SIZE 4)",
            ) from error
        print(f"{time.monotonic() - started:.0f} s", flush=True)


def _make_way(notebook: Path) -> None:
    """Move aside what papermill did not write whole: somebody worked in it, or a kill or a full disk cut it off."""
    try:
        if "papermill" in json.loads(notebook.read_bytes())["metadata"]:
            return
        why = "by-hand", "the notebook that was here"
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, RecursionError):
        why = "torn", f"{notebook.name} was cut off, by a kill or a full disk, and cannot be read: it"
    print(f"{why[1]} is {shown(move_aside(notebook, why[0]))} now")


def _where_it_was(notebook: Path) -> str:
    """The first code cell that the kernel gave no number to, as papermill last wrote it; nothing where it does not."""
    try:
        cells = [cell for cell in json.loads(notebook.read_bytes())["cells"] if cell["cell_type"] == "code"]
        return f"in code cell {[cell['execution_count'] for cell in cells].index(None) + 1} "
    except (OSError, ValueError, KeyError):
        return ""


class _WholeNotebooks:
    """How papermill writes into the run folder: whole or not at all, for the owner's eyes, fit to be passed on."""

    def write(self, text: str, path: str) -> None:
        write_text(path, _tidied(text))

    def pretty_path(self, path: str) -> str:
        return shown(path)


def _tidied(text: str) -> str:
    """The notebook without papermill's notes of folders, and with a streamed answer in one piece, not one per token."""
    content = json.loads(text)
    noted = content["metadata"].get("papermill", {})
    noted |= {key: Path(noted.get(key) or "").name for key in ("input_path", "output_path")}
    for cell in content["cells"]:
        joined: list[dict] = []
        for output in cell.get("outputs", []):
            if joined and output["output_type"] == "stream" and joined[-1].get("name") == output["name"]:
                joined[-1]["text"] += output["text"]
            else:
                joined.append(output)
        if joined:
            cell["outputs"] = joined
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _cell(text: str, width: int) -> str:
    """The text cut and padded to a width in terminal columns, where a Japanese character takes two."""
    text, kept = visible(" ".join(text.split())), ""
    for c in text:
        if columns_of(kept + c) > width - (0 if text == kept + c else 1):
            kept += "…"
            break
        kept += c
    return kept + " " * (width - columns_of(kept))


def _print_table(rows: list[tuple[str, ...]], *widths: int) -> None:
    """A table for the terminal, its first row the head."""
    for n, row in enumerate(rows):
        print("\n" * (n == 0) + " | ".join(map(_cell, row, widths)))
        if n == 0:
            print("-" * (sum(widths) + 3 * len(widths) - 3))


def print_comparison(run: Path, ids: list[str], width: int = 42) -> None:
    """Print base against tuned for a few questions, the verdict, and where the report is."""
    comparison = read_comparison(run / "comparison.json")
    chosen = [i for i, question in enumerate(comparison.questions) if question.id in ids] or list(range(5))
    before, after = comparison.condition(BEFORE).answers, comparison.condition(AFTER).answers
    asked = [(i, comparison.questions[i]) for i in chosen[: len(comparison.questions)]]
    rows = [(question.id, question.question, before[i].text, after[i].text) for i, question in asked]
    _print_table([("", "question", BEFORE, AFTER), *rows], 4, 30, width, width)
    print("\n" + "\n".join([comparison.protocol, *comparison.verdict]))
    print(f"\nReport: {shown(run / 'report.html')}")


def print_answers(table: Path, ids: list[str], width: int = 42) -> None:
    """Base against tuned for some questions, out of what notebook 00 wrote, and where the rest is."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = [int(name[1:]) - 1 for name in ids if name[1:].isdigit() and 0 < int(name[1:]) <= len(rows)]
    columns = ("question", "base", "tuned")
    shown_rows = [tuple(rows[i][column] for column in columns) for i in wanted or range(min(5, len(rows)))]
    _print_table([columns, *shown_rows], 30, width, width)
    print(f"\nAll of it, with scores: {shown(table.with_name(f'{ONE_SITTING}.ipynb'))}")
    print("Next: make lessons, which takes each step apart and writes a report; or make lab, to run them cell by cell")


def main(arguments: list[str] | None = None) -> None:
    """The command, see the top of this file; errors that a reader can mend are told in a sentence or two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="runs/demo", help="folder for the executed notebooks and all they write")
    parser.add_argument("--only", nargs="+", default=list(NOTEBOOKS), metavar="NOTEBOOK", help="some of the notebooks")
    parser.add_argument("--notebooks", default="notebooks", help="notebooks/ja has them in Japanese")
    parser.add_argument("--show", nargs="*", default=["Q02", "Q07", "Q15", "Q22", "Q30"], help="questions to print")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    options = parser.parse_args(arguments)
    if None in (sys.stdout, sys.stderr):
        print("The output is closed: leave it open, or send it to a file", file=sys.stderr or sys.stdout)
        raise SystemExit(1)
    for stream in (sys.stdout, sys.stderr):  # Japanese at a terminal whose locale knows ASCII only
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        given = {name: _value(text) for name, text in options.p}
        run = run_folder(resolve(options.run))
        if given.get("CHAT") and NOTEBOOKS[1] in options.only:  # first: it says what is wrong with a chat, in seconds
            options.only = [FROM_CHATS, *(name for name in options.only if name != NOTEBOOKS[1])]
        check_first(options.only, run, given)
        execute(options.only, run, given, options.notebooks)
        if "04_compare" in options.only:
            print_comparison(run, options.show)
        elif options.only == [ONE_SITTING]:
            print_answers(run / "one_sitting.csv", options.show)
        else:
            print(f"Executed: {', '.join(shown(run / f'{name}.ipynb') for name in options.only)}")
    except PersonaError as error:
        print(f"\n{error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from what is saved.", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # whoever read the output has gone: nothing more can be said, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(1) from None
    except Exception as error:
        if getattr(error, "errno", None) is None:
            raise
        # The system refused something: OSError, and zmq's own kind of it where files may not be opened any more.
        print(f"\n{visible(str(error))}\n  What to do: free room, or raise the limit (ulimit -a)", file=sys.stderr)
        raise SystemExit(1) from None


def _value(text: str) -> Any:
    """A number, a truth value or a quoted text as Python writes it; anything else is a text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


if __name__ == "__main__":
    main()
