"""Write the repository's address, which pyproject.toml holds, wherever it is needed: bootstrap cells, badges, READMEs.

python scripts/links.py [owner/name]     # with a name: put that into pyproject.toml first
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOST = "https://github.com/"
COLAB = "https://colab.research.google.com/github/"


def repository() -> str:
    """``owner/name``, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].removeprefix(HOST)


def ours() -> list[Path]:
    """The files in which the address stands."""
    return [*sorted((ROOT / "notebooks").rglob("*.ipynb")), *sorted(ROOT.glob("README*.md"))]


def with_links(path: Path, repo: str) -> str:
    """A file's text with this repository's address; links to other people's repositories have other forms and stay."""

    def badges(text: str) -> str:
        return re.sub(rf"({re.escape(COLAB)})[\w.-]+/[\w.-]+(?=/blob/main/notebooks/)", rf"\g<1>{repo}", text)

    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return re.sub(rf"(url\s+= {{){re.escape(HOST)}[^}}]+", rf"\g<1>{HOST}{repo}", badges(text))  # how to cite
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        source = badges("".join(cell["source"]))
        if "bootstrap" in cell["metadata"].get("tags", []):
            source = re.sub(r'(REPOSITORY = ")[^"]*', rf"\g<1>{HOST}{repo}", source)
        cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    if len(sys.argv) > 1:
        repo = sys.argv[1].removeprefix(HOST).strip("/").removesuffix(".git")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
            sys.exit(f"{sys.argv[1]!r} is no repository: give owner/name")
        project = ROOT / "pyproject.toml"
        text = project.read_text(encoding="utf-8")
        wanted = re.sub(r'(Repository = ")[^"]*', rf"\g<1>{HOST}{repo}", text)
        if wanted != text:  # make installs again when this file is newer
            project.write_text(wanted, encoding="utf-8")
    for path in ours():
        text = with_links(path, repository())
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT))
    if repository().startswith("OWNER/"):
        sys.exit("no repository is named yet, and the links lead nowhere: make links REPO=owner/name")
    print(f"all links lead to {HOST}{repository()}")


if __name__ == "__main__":
    main()
