"""Files: whole or not at all, and recognised again by their digests."""

import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from persona_ft.errors import PersonaError, reason_of

Row = TypeVar("Row", bound=BaseModel)


@contextmanager
def _told(path: Path, what: str = "written", remedy: str = "free some room, or use another folder") -> Iterator[None]:
    """Where the system refuses a file, or its text is not UTF-8, that is a PersonaError."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", "it is not UTF-8: save it so")
        raise PersonaError(f"the file cannot be {what} ({said})", remedy, path) from error


def read_text(path: Path, remedy: str) -> str:
    """A file's text, without a byte order mark. PersonaError where it is missing or not UTF-8."""
    with _told(path, "read", remedy):
        return path.read_text(encoding="utf-8-sig")


def read_json(path: Path) -> Any:
    """A JSON file. OSError where it cannot be read; ValueError where it is not JSON, or too deep to be read."""
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_rows(path: Path | str, model: type[Row], remedy: str) -> dict[int, Row]:
    """The objects of a JSONL file by their lines, checked against a pydantic model; blank lines are skipped. ``remedy``
    says how a line should be written. PersonaError: a missing file, an encoding other than UTF-8, a line that is not
    JSON or no such object."""
    path, rows = Path(path), {}
    with _told(path, "read", "check the path"):
        raw = path.read_bytes()
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            if text := line.decode("utf-8").strip():
                rows[number] = model.model_validate(json.loads(text))
        except UnicodeDecodeError as error:
            how = "save the file as UTF-8 (a file from Excel or an old Japanese editor is often Shift_JIS or UTF-16)"
            raise PersonaError(f"byte {error.start + 1} of the line is not UTF-8", how, path, number) from error
        except ValidationError as error:
            raise PersonaError(reason_of(error), remedy, path, number) from error
        except PersonaError as error:
            raise PersonaError(error.reason, error.remedy, path, number) from error
        except (ValueError, RecursionError) as error:  # of json; a number of 5,000 digits is a plain ValueError
            how = "keep one whole JSON object on each line, with double quotes and no comma after the last item"
            raise PersonaError(f"the line is not JSON ({str(error)[:80]})", how, path, number) from error
    return rows


@cache
def packaged(name: str) -> Any:
    """What a YAML file of this package holds, such as ``chat/line``."""
    text = files("persona_ft").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which says where a value is that it cannot make: the 45th of a month, 5,000 digits."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError) as error:
            raise yaml.MarkedYAMLError(problem=f"{error}: quote it", problem_mark=node.start_mark) from error


def read_yaml(path: Path | str, model: type[Row], remedy: str) -> Row:
    """A YAML file, checked against a pydantic model. PersonaError where it is missing, is not UTF-8 or not YAML (with
    its line), or a value is missing, unknown or wrong."""
    path = Path(path)
    try:
        fields = yaml.load(read_text(path, remedy), _Loader)
        return model.model_validate(fields or {})
    except ValidationError as error:
        raise PersonaError(reason_of(error), remedy, path) from error
    except PersonaError as error:
        raise PersonaError(error.reason, error.remedy, path) from error
    except (yaml.YAMLError, RecursionError) as error:
        mark, problem = (getattr(error, name, None) for name in ("problem_mark", "problem"))
        reason = f"this is not YAML ({problem or str(error).splitlines()[0]})"
        raise PersonaError(reason, "quote texts that hold : or #", path, mark and mark.line + 1) from error


def write_text(path: Path | str, text: str) -> Path:
    """Replace a file by UTF-8 text, whole or not at all; where that fails the old one is untouched (PersonaError)."""
    path = Path(path)
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Its name says whose it is: sweep() removes what a process that was killed left.
        handle, temporary = tempfile.mkstemp(".part", f".{path.name}.{os.getpid()}.", path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return path


def append_line(path: Path, line: str) -> None:
    """Add a line and see it onto the disk; a PersonaError says why that cannot be done."""
    # A person's words are for that person's eyes: a new file is readable by its owner alone, as write_text's are.
    with _told(path), os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
        file.write(line.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def mend_last_line(path: Path) -> None:
    """A last line without its newline was cut off while it was written, or saved by an editor that adds none."""
    with _told(path):
        if path.exists() and (last := path.read_bytes().rpartition(b"\n")[2]):
            try:
                json.loads(last)
                append_line(path, "\n")
            except (ValueError, RecursionError):
                os.truncate(path, path.stat().st_size - len(last))


def sweep(folder: Path) -> None:
    """Remove what :func:`write_text` had half written under a folder when its process was killed."""
    for path in folder.rglob(".*.*.*.part"):
        try:
            os.kill(int(path.name.split(".")[-3]), 0)  # 0: no signal, but an error where there is no such process
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except (OSError, ValueError):  # somebody else's process, or no file of ours
            continue


def keep_private(folder: Path) -> None:
    """Let nobody but the owner read a folder; where the file system knows no such thing (Drive), it stays as it is."""
    for path in (folder, *folder.iterdir()):
        with suppress(OSError):
            path.chmod(0o700 if path.is_dir() else 0o600)


def move_aside(path: Path, why: str = "") -> Path:
    """Rename a file or folder to the first free of ``name-why-1``, ``name-why-2`` …: nothing is written over."""
    names = (path.with_name("-".join(filter(None, (path.stem, why, str(n)))) + path.suffix) for n in itertools.count(1))
    return path.rename(next(free for free in names if not free.exists()))


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file, read in pieces."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(*texts: str) -> str:
    """SHA-256 of texts, so that private data can be recognised again without being stored."""
    raws = [text.encode("utf-8") for text in texts]
    return hashlib.sha256(b"".join(len(raw).to_bytes(8, "big") + raw for raw in raws)).hexdigest()
