"""Files: whole or not at all, and recognised again by their digests."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from persona_ft.errors import PersonaError

Row = TypeVar("Row", bound=BaseModel)


def read_objects(path: Path | str, model: type[Row], remedy: str) -> list[Row]:
    """The objects of a JSONL file of the project's own, checked against a pydantic model.

    Raises
    ------
    PersonaError
        The file is missing or no UTF-8, or names the line that is no such object.
    """
    path, rows = Path(path), []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PersonaError("the file cannot be read", "get it back with git", path.name) from error
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(model.model_validate(json.loads(line)))
        except ValueError as error:  # pydantic's is one too
            raise PersonaError("the line cannot be used", remedy, path.name, number) from error
    return rows


def write_text(path: Path | str, text: str) -> Path:
    """Replace a file by UTF-8 text, whole or not at all.

    Raises
    ------
    PersonaError
        The folder cannot be written to, or the disk is full; the old file is untouched.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        remedy = "free some disk space or choose a folder that you may write to"
        raise PersonaError(f"the file cannot be written ({error.strerror})", remedy, path) from error
    return path


def append_line(path: Path, line: str) -> None:
    """Add a line and see it onto the disk."""
    # A person's words are for that person's eyes: a new file is readable by its owner alone, as write_text's are.
    with open(path, "a", encoding="utf-8", newline="\n", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def mend_last_line(path: Path) -> None:
    """A last line without its newline was cut off while it was written, or saved by an editor that adds none."""
    if not path.exists():
        return
    raw = path.read_bytes()
    start = raw.rfind(b"\n") + 1
    if start == len(raw):
        return
    try:
        json.loads(raw[start:])
    except ValueError:
        os.truncate(path, start)
    else:
        append_line(path, "\n")


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file, read in pieces."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(*texts: str) -> str:
    """SHA-256 of texts, so that private data can be recognised again without being stored."""
    total = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8")
        total.update(len(raw).to_bytes(8, "big") + raw)
    return total.hexdigest()
