"""grid.yaml: many runs in one file. Each is a cell with parameters and an identity, and becomes a run folder."""

import json
import re
from collections import Counter
from functools import cache
from itertools import count, product
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.load import NAMES
from persona_ft.io import digest, file_digest, read_yaml, write_text
from persona_ft.paths import repository_root, resolve, shown

RECORD, ASIDE = "cell.json", "before"


class Grid(BaseModel, extra="forbid", frozen=True):
    """grid.yaml; docs/grid.md explains the fields."""

    parameters: dict[str, Any]
    together: list[dict[str, Any]] = []
    notebooks: list[str] = Field(["02_build_dataset", "03_train_qlora", "04_compare"], min_length=1)
    folder: str = "notebooks"
    runs: str = ""
    gpus: float | None = Field(None, ge=0)
    cpus: int = Field(1, ge=1)
    retries: int = Field(1, ge=0)

    @property
    def combinations(self) -> list[dict[str, Any]]:
        """The parameters of each cell: every value of each list with every one of the others."""
        lists = {name: value if isinstance(value, list) else [value] for name, value in self.parameters.items()}
        axes = [[{name: value} for value in values] for name, values in lists.items()] + [self.together or [{}]]
        return [{name: value for part in parts for name, value in part.items()} for parts in product(*axes)]

    @model_validator(mode="after")
    def _plain_and_once(self) -> Self:
        for name, value in (pair for cell in self.combinations for pair in cell.items()):
            if not isinstance(value, (bool, int, float, str)):
                raise ValueError(f"{name} is {value!r}: give a number, a text, true or false, or a list of them")
            if name in self.parameters and any(name in entry for entry in self.together):
                raise ValueError(f"{name} is given both in parameters and in together")
        if twice := [cell for cell, times in Counter(map(str, self.combinations)).items() if times > 1]:
            raise ValueError(f"parameters: a cell is there twice: {twice[0]}")
        return self


def read_grid(path: Path) -> Grid:
    """Read a grid. A PersonaError names the line and the field of what is wrong in it."""
    try:
        return read_yaml(path, Grid, "docs/grid.md shows what such a file looks like")
    except PersonaError as error:
        key = re.match(r"\w*", error.reason)[0]  # what is wrong begins with the name of its field
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        found = (n for n, line in enumerate(text.splitlines(), 1) if re.search(rf"(^|[\s{{]){key}:", line))
        raise PersonaError(error.reason, error.remedy, path.name, error.line or next(found, None)) from error


class Cell(BaseModel):
    """One run, as its cell.json says. ``smaller``: set after CUDA ran out of memory; ``seconds``: of all tries."""

    name: str
    given: dict[str, Any]
    identity: str
    code: str
    state: Literal["waiting", "running", "done", "kept", "failed"] = "waiting"
    smaller: dict[str, Any] = {}
    tries: int = 0
    seconds: float = 0.0
    error: str = ""

    def written(self, runs: Path, **changes: Any) -> Self:
        """The cell with some values changed, as it now is in its folder."""
        cell = self.model_copy(update=changes)
        write_text(runs / self.name / RECORD, cell.model_dump_json(indent=1) + "\n")
        return cell

    def begun(self, runs: Path, any_code: bool = False) -> "Cell":
        """The cell as it is to go on: what is done is kept, what was begun goes on from its checkpoint, and a folder of
        other parameters, data or code is moved aside. ``any_code`` keeps what other code has made."""
        folder, there = runs / self.name, read_cell(runs / self.name)
        if there and there.identity == self.identity and (any_code or there.code == self.code):
            if there.state == "done":
                return there.model_copy(update={"state": "kept"})
            return there.written(runs, state="waiting", code=self.code)
        if folder.exists():
            (runs / ASIDE).mkdir(exist_ok=True)
            aside = next(p for n in count(1) if not (p := runs / ASIDE / f"{self.name}-{n}").exists())
            folder.rename(aside)
            print(f"{self.name}: its parameters, data or code have changed; what was here is {shown(aside)} now")
        return self


def read_cell(folder: Path) -> Cell | None:
    """What a run folder's cell.json says; None where there is none that can be used."""
    try:
        return Cell.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def cells_of(grid: Grid) -> list[Cell]:
    """The grid's cells. PersonaError for a notebook that is not there, or a parameter that none of them has."""
    import nbformat

    paths = [repository_root() / grid.folder / f"{name}.ipynb" for name in grid.notebooks]
    if missing := [path.stem for path in paths if not path.is_file()]:
        raise PersonaError(f"{grid.folder} has no notebook {', '.join(missing)}", "correct notebooks or folder")
    code = [cell for path in paths for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    forms = [cell.source for cell in code if "parameters" in str(cell.metadata.get("tags"))]
    known = set(re.findall(r"^(\w+) =", "\n".join(forms), re.M)) - {"RUN"}
    given = grid.combinations
    if unknown := sorted({name for one in given for name in one} - known):
        reason = f"no notebook of the grid has a parameter called {', '.join(unknown)}"
        raise PersonaError(reason, f"use some of {', '.join(sorted(known))}")
    shared = sorted((repository_root() / "data").glob("*.jsonl"))  # questions that all personas are asked
    sources = [cell.source for cell in code]
    made_by = digest(_content(Path(__file__).parents[1]), *map(_content, shared), *grid.notebooks, *sources)
    names = [_name(one, given) for one in given]
    names = [name if names.count(name) == 1 else f"{name}-{n}" for n, name in enumerate(names, start=1)]
    named = zip(names, given, strict=True)
    return [Cell(name=name, given=one, identity=_identity(one), code=made_by) for name, one in named]


def _name(one: dict[str, Any], given: list[dict[str, Any]]) -> str:
    """A folder's name that says in what the cell differs: masaki-recommended-seed-1-lora_r-8."""
    varied = {n: v for n, v in one.items() if any(other.get(n) != v for other in given)}
    parts = [Path(v).stem if n in ("PERSONA", "RECIPE") else f"{n.lower()}-{v}" for n, v in varied.items()]
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))[:100].strip("-.") or "cell"


def _identity(given: dict[str, Any]) -> str:
    """The parameters, and the content of the files and folders that they name."""
    places = [resolve(NAMES.get(value, value)) for value in given.values() if isinstance(value, str) and value]
    return digest(json.dumps(given, sort_keys=True), *(_content(place) for place in places if place.exists()))


@cache
def _content(place: Path) -> str:
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    kept = [path for path in files if path.name[0] != "." and path.suffix != ".pyc"]
    return digest(*(f"{path.relative_to(place)} {file_digest(path)}" for path in kept))
