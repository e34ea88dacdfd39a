"""Execute the notebooks in order with papermill: python -m persona_ft.notebook.run --run runs/demo [-p NAME VALUE]"""

from __future__ import annotations

import argparse
import ast
import csv
import logging
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from persona_ft.errors import PersonaError
from persona_ft.evaluate.schema import AFTER, BEFORE
from persona_ft.language import columns_of
from persona_ft.paths import repository_root, resolve, run_folder, shown
from persona_ft.report.store import read_comparison

NOTEBOOKS = ("01_inference", "02_build_dataset", "03_train_qlora", "04_compare")
# The whole way in one kernel, for a first look; and what is run on what the four leave: a run is complete without.
ONE_SITTING = "00_one_sitting"
LESSONS = (ONE_SITTING, *NOTEBOOKS, "05_experiments")


# Notebook 02 has those of a chat in a cell of their own, before the others: what is given overrides both.
PARAMETER_TAGS = {"parameters", "parameters-chat", "parameters-rare"}


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
        A parameter that no notebook has, or a folder that is not there.
    SystemExit
        A cell failed: its notebook, number and traceback are on the standard error stream.
    """
    folder = repository_root() / notebooks
    if not folder.is_dir():
        raise PersonaError(f"there is no folder {notebooks}", "use notebooks or notebooks/ja")
    accepted = {name: parameters_of(folder / f"{name}.ipynb") for name in names}
    if "RUN" in given:
        raise PersonaError("RUN is not given with -p", "give the folder with --run (make run RUN=…)")
    known = {parameter for parameters in accepted.values() for parameter in parameters}
    if unknown := sorted(set(given) - known):
        reason = f"no notebook has a parameter called {', '.join(unknown)}"
        raise PersonaError(reason, f"use one of {', '.join(sorted(known))}")

    given = given | {"RUN": shown(run) if run.is_relative_to(repository_root()) else str(run)}

    # papermill knows one cell of parameters and warns of those in another; what no notebook has was refused above.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    import papermill
    from papermill.exceptions import PapermillExecutionError

    for number, name in enumerate(names, start=1):
        output = run / f"{name}.ipynb"
        _keep_by_hand(output)
        started = time.monotonic()
        print(f"[{number}/{len(names)}] {name} ", end="", flush=True)
        try:
            papermill.execute_notebook(
                folder / f"{name}.ipynb",
                output,
                parameters={key: value for key, value in given.items() if key in accepted[name]},
                kernel_name="python3",
                cwd=folder,
                extra_arguments=["--IPKernelApp.log_level=ERROR"],  # no word on how kernel and papermill talk
                progress_bar={"desc": f"[{number}/{len(names)}] {name}", "leave": False}
                if sys.stderr.isatty()
                else False,
            )
        except PapermillExecutionError as error:
            print(f"failed after {time.monotonic() - started:.0f} s", flush=True)
            print(
                f"\n{name}.ipynb, cell {error.exec_count}: {error.ename}: {error.evalue}\n\n"
                + "\n".join(error.traceback)
                + f"\n\nThe notebook as far as it came: {shown(output)}",
                file=sys.stderr,
            )
            raise SystemExit(1) from None
        finally:
            _tidy(output)
        print(f"{time.monotonic() - started:.0f} s", flush=True)


def _keep_by_hand(notebook: Path) -> None:
    """Move a notebook aside that papermill did not write: somebody opened it here and may have worked in it."""
    import nbformat

    if not notebook.exists() or "papermill" in nbformat.read(notebook, as_version=4).metadata:
        return
    aside = next(
        path
        for n in range(1, 10_000)
        if not (path := notebook.with_name(f"{notebook.stem}-by-hand-{n}.ipynb")).exists()
    )
    notebook.rename(aside)
    print(f"the notebook that was here is {shown(aside)} now")


def _tidy(notebook: Path) -> None:
    """Make an executed notebook fit to be read and passed on.

    papermill notes absolute paths, and somebody's home folder is nobody's business; a streamed answer arrives as one
    output per token, which pages show on lines of their own.
    """
    import nbformat

    if not notebook.exists():
        return
    content = nbformat.read(notebook, as_version=4)
    for key in ("input_path", "output_path"):
        content.metadata["papermill"][key] = Path(content.metadata["papermill"].get(key) or "").name
    for cell in content.cells:
        joined = []
        for output in cell.get("outputs", []):
            before = joined[-1] if joined else None
            if before and output.output_type == before.output_type == "stream" and output.name == before.name:
                before.text += output.text
            else:
                joined.append(output)
        if joined:
            cell.outputs = joined
    nbformat.write(content, notebook)
    notebook.chmod(0o600)  # somebody's questions and answers, as in the other files of the run


def _cell(text: str, width: int) -> str:
    """The text cut and padded to a width in terminal columns, where a Japanese character takes two."""
    text, kept = " ".join(text.split()), ""
    for c in text:
        if columns_of(kept + c) > width - (0 if text == kept + c else 1):
            kept += "…"
            break
        kept += c
    return kept + " " * (width - columns_of(kept))


def _line(texts: Iterable[str], widths: Iterable[int]) -> str:
    """A row of a table for the terminal."""
    return " | ".join(_cell(text, width) for text, width in zip(texts, widths, strict=True))


def print_comparison(run: Path, ids: list[str], width: int = 42) -> None:
    """Print base against tuned for a few questions, the verdict, and where the report is."""
    comparison = read_comparison(run / "comparison.json")
    chosen = [i for i, question in enumerate(comparison.questions) if question.id in ids] or list(range(5))
    before, after = comparison.condition(BEFORE).answers, comparison.condition(AFTER).answers
    widths = (4, 30, width, width)
    print("\n" + _line(("", "question", BEFORE, AFTER), widths))
    print("-" * (4 + 30 + 2 * width + 9))
    for i in chosen[: len(comparison.questions)]:
        question = comparison.questions[i]
        print(_line((question.id, question.question, before[i].text, after[i].text), widths))
    print("\n" + "\n".join([comparison.protocol, *comparison.verdict]))
    print(f"\nReport: {shown(run / 'report.html')}")


def print_answers(table: Path, ids: list[str], width: int = 42) -> None:
    """Base against tuned for some questions, out of what notebook 00 wrote, and where the rest is."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = [int(name[1:]) - 1 for name in ids if name[1:].isdigit() and 0 < int(name[1:]) <= len(rows)]
    columns, widths = ("question", "base", "tuned"), (30, width, width)
    print("\n" + _line(columns, widths))
    for i in wanted or range(min(5, len(rows))):
        print(_line((rows[i][column] for column in columns), widths))
    print(f"\nAll of it, with scores: {shown(table.with_name(f'{ONE_SITTING}.ipynb'))}")
    print("Next: make lessons, which takes each step apart and writes a report; or make lab, to run them cell by cell")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="runs/demo", help="folder for the executed notebooks and all they write")
    parser.add_argument("--only", nargs="+", default=list(NOTEBOOKS), choices=LESSONS, help="some of the notebooks")
    parser.add_argument("--notebooks", default="notebooks", help="notebooks/ja has them in Japanese")
    parser.add_argument("--show", nargs="*", default=["Q02", "Q07", "Q15", "Q22", "Q30"], help="questions to print")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    options = parser.parse_args(arguments)
    try:
        given = {name: _value(text) for name, text in options.p}
        run = run_folder(resolve(options.run))
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


def _value(text: str) -> Any:
    """A number, a truth value or a quoted text as Python writes it; anything else is a text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    main()
