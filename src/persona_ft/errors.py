"""The one exception that a reader meets: what is wrong, where, and what to do about it."""

from __future__ import annotations

from pathlib import Path


class PersonaError(Exception):
    """Input that cannot be used.

    Parameters
    ----------
    reason : what is wrong, in one sentence.
    remedy : what to do about it, in one sentence.
    path : the file or folder concerned, if any.
    line : the line in that file, counted from 1, if any.
    """

    def __init__(self, reason: str, remedy: str, path: Path | str | None = None, line: int | None = None) -> None:
        self.reason, self.remedy, self.path, self.line = reason, remedy, path, line
        where = "" if path is None else f"{path}, line {line}: " if line else f"{path}: "
        super().__init__(f"{where}{reason}\n  What to do: {remedy}")
