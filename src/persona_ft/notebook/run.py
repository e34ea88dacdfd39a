"""Execute the notebooks in order with papermill: python -m persona_ft.notebook.run --run runs/demo [-p NAME VALUE]"""

import argparse
import ast
import csv
import json
import logging
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from persona_ft.errors import PersonaError, as_command, visible
from persona_ft.evaluate.schema import AFTER, BEFORE
from persona_ft.io import move_aside, read_json, write_text
from persona_ft.language import columns_of
from persona_ft.notebook.parameters import assigned
from persona_ft.paths import one_writer, repository_root, resolve, run_folder, shown, typed
from persona_ft.report.store import read_comparison
from persona_ft.report.tables import side_by_side
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
    return {name: ast.literal_eval(value) for name, value in assigned("\n".join(tagged)).items()}


def notebooks_folder(notebooks: str) -> Path:
    """A folder of notebooks of the repository, which has to be there."""
    folder = repository_root() / notebooks
    if not folder.is_dir():
        raise PersonaError(f"there is no folder {notebooks}", "use notebooks or notebooks/ja")
    return folder


def execute(names: list[str], run: Path, given: dict[str, Any], notebooks: str = "notebooks") -> None:
    """Execute notebooks, of this folder of the repository, into the run folder, a line for each. SystemExit where a
    cell failed: its notebook, number and traceback are on the standard error stream, and what was executed is in the
    run folder. PersonaError where a parameter or a folder is not there, a kernel died, or another process is writing to
    the run folder."""
    folder = notebooks_folder(notebooks)
    if run in (folder, repository_root()):
        reason = "this is no run folder: the notebooks themselves are here"
        raise PersonaError(reason, "choose another, as runs/me", run)
    if missing := [name for name in names if not (folder / f"{name}.ipynb").is_file()]:
        raise PersonaError(f"{notebooks} has no notebook {', '.join(missing)}", f"use some of {', '.join(LESSONS)}")
    if "RUN" in given:
        raise PersonaError("RUN is not given with -p", "give the folder with --run (make run RUN=…)")
    accepted = {name: parameters_of(folder / f"{name}.ipynb") for name in names}
    known = {parameter for parameters in accepted.values() for parameter in parameters}
    if unknown := sorted(set(given) - known):
        reason = f"no notebook has a parameter called {', '.join(unknown)}"
        raise PersonaError(reason, f"use one of {', '.join(sorted(known))}")
    given = given | {"RUN": typed(run)}
    os.environ.setdefault("PYTHONUTF8", "1")  # the kernels read and write UTF-8 whatever the locale is
    # papermill knows one cell of parameters and warns of those in another; what no notebook has was refused above.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    with one_writer(run):
        for number, name in enumerate(names, start=1):
            parameters = {key: value for key, value in given.items() if key in accepted[name]}
            _execute(folder / f"{name}.ipynb", run / f"{name}.ipynb", parameters, f"[{number}/{len(names)}] {name}")


def copy_notebooks(run: Path, given: dict[str, str], notebooks: str = "notebooks") -> list[Path]:
    """Copies for JupyterLab of what is not there yet, with each given parameter in the cells that have it."""
    import nbformat

    copies = []
    for path in sorted(notebooks_folder(notebooks).glob("*.ipynb")):
        if (run / path.name).exists():
            continue
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if PARAMETER_TAGS & set(cell.metadata.get("tags", [])):
                for name, value in given.items():
                    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
                    old = rf"^{name} = .*?(?=  # @param|$)"
                    cell.source = re.sub(old, lambda _, line=line: line, cell.source, flags=re.M)
        nbformat.write(notebook, run / path.name)
        (run / path.name).chmod(0o600)
        copies.append(run / path.name)
    return copies


def _execute(notebook: Path, output: Path, parameters: dict[str, Any], step: str) -> None:
    """Execute one notebook in its folder, and say how long it took or why it stopped."""
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from papermill.iorw import papermill_io

    _make_way(output)
    papermill_io.register(str(output), _WholeNotebooks())
    started = time.monotonic()
    print(step, end=" ", flush=True)
    try:
        papermill.execute_notebook(
            notebook,
            output,
            parameters=parameters,
            kernel_name="python3",
            start_timeout=600,  # a busy machine starts a kernel slowly; one that cannot start ends by itself
            cwd=notebook.parent,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # no word on how kernel and papermill talk
            progress_bar={"desc": step, "leave": False} if sys.stderr.isatty() else False,
        )
    except PapermillExecutionError as error:
        if error.ename == "KeyboardInterrupt":
            raise KeyboardInterrupt from None
        print(f"failed after {time.monotonic() - started:.0f} s", flush=True)
        where = f"\n{notebook.name}, cell {error.exec_count}: {error.ename}: {visible(error.evalue)}\n"
        trace = error.traceback * (error.ename != PersonaError.__name__)  # that one says it all
        print(where, *trace, f"\nThe notebook as far as it came: {shown(output)}", sep="\n", file=sys.stderr)
        raise SystemExit(1) from None
    except RuntimeError as error:  # nbclient's DeadKernelError is one, and so is a kernel that does not start
        when = f"{_where_it_was(output)}after {time.monotonic() - started:.0f} s ({error})"
        reason = f"the kernel of {notebook.name} died {when}. Most likely the machine ran out of memory"
        remedy = "end others that hold memory, and run the same command again: it goes on from what is saved. "
        remedy += "If it dies at the same place, make BATCH_SIZE smaller (-p BATCH_SIZE 4)"
        raise PersonaError(reason, remedy) from error
    print(f"{time.monotonic() - started:.0f} s", flush=True)


def _make_way(notebook: Path) -> None:
    """Move aside what papermill did not write whole: somebody worked in it, or a kill or a full disk cut it off."""
    try:
        if "papermill" in read_json(notebook)["metadata"]:
            return
        why, told = "by-hand", "the notebook that was here"
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        why, told = "torn", f"{notebook.name} was cut off, by a kill or a full disk, and cannot be read: it"
    print(f"{told} is {shown(move_aside(notebook, why))} now")


def _where_it_was(notebook: Path) -> str:
    """The first code cell that the kernel gave no number to, as papermill last wrote it; nothing where it does not."""
    try:
        cells = [cell for cell in read_json(notebook)["cells"] if cell["cell_type"] == "code"]
        return f"in code cell {[cell['execution_count'] for cell in cells].index(None) + 1} "
    except (OSError, ValueError, KeyError):
        return ""


class _WholeNotebooks:
    """How papermill writes into the run folder: whole or not at all, for the owner's eyes, fit to be passed on: without
    papermill's notes of folders, and with a streamed answer in one piece, not one per token."""

    def write(self, text: str, path: str) -> None:
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
        write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")

    def pretty_path(self, path: str) -> str:
        return shown(path)


def _cell(text: str, width: int) -> str:
    """The text cut and padded to a width in terminal columns, where a Japanese character takes two."""
    text = visible(" ".join(text.split()))
    if columns_of(text) > width:
        while columns_of(text) >= width:
            text = text[:-1]
        text += "…"
    return text + " " * (width - columns_of(text))


def _print_table(rows: list[dict[str, str]], columns: tuple[str, ...], ids: list[str]) -> None:
    """For the terminal: the questions that are asked for, which are numbered where they have no id; else the first."""
    chosen = [row for n, row in enumerate(rows, start=1) if row.get("", f"Q{n:02d}") in ids] or rows[:5]
    widths = [{"": 4, "question": 30}.get(column, 42) for column in columns]
    cells = [columns, *([row[column] for column in columns] for row in chosen)]
    head, *lines = (" | ".join(map(_cell, line, widths)) for line in cells)
    print("", head, "-" * (sum(widths) + 3 * len(widths) - 3), *lines, sep="\n")


def _print_what_came(run: Path, names: list[str], ids: list[str]) -> None:
    """Base against tuned for a few questions where they were asked, and where the rest is."""
    if "04_compare" in names:
        comparison = read_comparison(run / "comparison.json")
        rows = side_by_side(comparison, range(len(comparison.questions)))
        _print_table(rows, ("", "question", BEFORE, AFTER), ids)
        print("", comparison.protocol, *comparison.verdict, f"\nReport: {shown(run / 'report.html')}", sep="\n")
    elif names == [ONE_SITTING]:
        with (run / "one_sitting.csv").open(encoding="utf-8", newline="") as file:
            _print_table(list(csv.DictReader(file)), ("question", "base", "tuned"), ids)
        print(f"\nAll of it, with scores: {shown(run / f'{ONE_SITTING}.ipynb')}")
        print("Next: make lessons, which takes each step apart and writes a report; or make lab, cell by cell")
    else:
        print(f"Executed: {', '.join(shown(run / f'{name}.ipynb') for name in names)}")


@as_command()
def main(arguments: list[str] | None = None) -> None:
    """The command, see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="runs/demo", help="folder for the executed notebooks and all they write")
    parser.add_argument("--only", nargs="+", default=list(NOTEBOOKS), metavar="NOTEBOOK", help="some of the notebooks")
    parser.add_argument("--notebooks", default="notebooks", help="notebooks/ja has them in Japanese")
    parser.add_argument("--show", nargs="*", default=["Q02", "Q07", "Q15", "Q22", "Q30"], help="questions to print")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    parser.add_argument("--copy", action="store_true", help="only copy them, with their parameters set, for JupyterLab")
    options = parser.parse_args(arguments)
    given = {name: _value(text) for name, text in options.p}
    run = run_folder(resolve(options.run))
    if options.copy:
        copies = copy_notebooks(run, {"RUN": typed(run), **dict(options.p)}, options.notebooks)
        print(f"{len(copies)} notebooks copied to {typed(run)}; those that were there stay as they are")
        return
    if given.get("CHAT") and NOTEBOOKS[1] in options.only:  # first: it says what is wrong with a chat, in seconds
        options.only = [FROM_CHATS, *(name for name in options.only if name != NOTEBOOKS[1])]
    check_first(options.only, run, given)
    execute(options.only, run, given, options.notebooks)
    _print_what_came(run, options.only, options.show)


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
