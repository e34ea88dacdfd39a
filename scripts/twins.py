"""Keep notebooks/ja/ in step with notebooks/: the same cells, parameters and outputs to the byte, Japanese prose.

    python scripts/twins.py               # copy code and outputs; name the prose whose English changed since
    python scripts/twins.py --translated  # the same, once the Japanese says again what the English says

Each Japanese cell holds a digest of the English that it translates. New English cells come over in English.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat

from persona_ft.io import digest
from persona_ft.notebook.run import LESSONS

ROOT = Path(__file__).resolve().parents[1]


def key(cell: nbformat.NotebookNode) -> str:
    """A digest of the English prose, kept in the Japanese cell; the repository's address may change (make links)."""
    address = r"(colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+"
    return digest(re.sub(address, r"\1OWNER/persona_ft", cell.source))[:16]


def twin(name: str, translated: bool = False) -> tuple[nbformat.NotebookNode, list[str]]:
    """The Japanese notebook as it should be, and the cells whose prose is behind the English: id and first line."""
    wanted, behind = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4), []
    path = ROOT / f"notebooks/ja/{name}.ipynb"
    ours = {cell.id: cell for cell in nbformat.read(path, as_version=4).cells} if path.exists() else {}
    for cell in wanted.cells:
        if cell.cell_type != "markdown":
            continue
        english_key, japanese = key(cell), ours.get(cell.id)
        if japanese is not None:
            cell.source = japanese.source
        cell.metadata["translates"] = english_key if translated else (japanese or cell).metadata.get("translates", "")
        if cell.metadata["translates"] != english_key:
            behind.append(f"{cell.id}: {(japanese or cell).source.strip().splitlines()[0][:60]}")
    return wanted, behind


def write(name: str, translated: bool = False) -> list[str]:
    """Write the Japanese notebook; the cells that are behind the English."""
    notebook, behind = twin(name, translated)
    path = ROOT / f"notebooks/ja/{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return behind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--translated", action="store_true", help="the Japanese says what the English says")
    translated = parser.parse_args().translated
    if behind := [f"notebooks/ja/{name}.ipynb {cell}" for name in LESSONS for cell in write(name, translated)]:
        print("the English of these cells changed since they were translated:", *behind, sep="\n", file=sys.stderr)
        sys.exit("What to do: let their Japanese say it too, in notebooks/ja; then make twins ARGS=--translated")


if __name__ == "__main__":
    main()
