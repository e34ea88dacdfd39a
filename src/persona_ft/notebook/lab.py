"""Copies of the notebooks in a run folder, with its parameters set: python -m persona_ft.notebook.lab --run runs/me"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from persona_ft.errors import PersonaError
from persona_ft.notebook.run import PARAMETER_TAGS
from persona_ft.paths import repository_root, resolve, run_folder, typed


def copy_notebooks(run: Path, given: dict[str, str], notebooks: str = "notebooks") -> list[Path]:
    """Copy what is not there yet, with each given parameter in the cells that have it; returns the copies.

    Raises
    ------
    PersonaError
        The folder of notebooks is not there.
    """
    import nbformat

    folder, copies = repository_root() / notebooks, []
    if not folder.is_dir():
        raise PersonaError(f"there is no folder {notebooks}", "use notebooks or notebooks/ja")
    for path in sorted(folder.glob("*.ipynb")):
        if (run / path.name).exists():
            continue
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if PARAMETER_TAGS & set(cell.metadata.get("tags", [])):
                for name, value in given.items():
                    text = repr(value).replace("'", '"') if '"' not in value else repr(value)
                    cell.source = re.sub(
                        rf"^{name} = .*?(?=  # @param|$)",
                        lambda _, line=f"{name} = {text}": line,
                        cell.source,
                        flags=re.M,
                    )
        nbformat.write(notebook, run / path.name)
        (run / path.name).chmod(0o600)
        copies.append(run / path.name)
    return copies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="runs/demo")
    parser.add_argument("--notebooks", default="notebooks")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    options = parser.parse_args()
    try:
        run = run_folder(resolve(options.run))
        where = typed(run)
        copies = copy_notebooks(run, {"RUN": where, **dict(options.p)}, options.notebooks)
    except PersonaError as error:
        print(f"\n{error}", file=sys.stderr)
        raise SystemExit(1) from None
    print(f"{len(copies)} notebooks copied to {where}; those that were there stay as they are")


if __name__ == "__main__":
    main()
