"""The one exception that a reader meets: what is wrong, where, and what to do about it."""

import re
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

# What a terminal would obey instead of showing: control characters, marks that turn text around, halves of characters.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""The text fit for a terminal: what it would obey is written out, as in ``\x1b``."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class PersonaError(Exception):
    """Input that cannot be used: what is wrong, what to do about it, and where, as file and line (from 1), if known."""

    def __init__(self, reason: str, remedy: str, path: Path | str | None = None, line: int | None = None) -> None:
        self.reason, self.remedy, self.path, self.line = reason, remedy, path, line
        where = "" if path is None else f"{path}, line {line}: " if line else f"{path}: "
        super().__init__(visible(f"{where}{reason}\n  What to do: {remedy}"))


def reason_of(error: ValidationError, called: Callable[[str], str] = str) -> str:
    """The first thing that pydantic found wrong, after the name of the setting; ``called`` spells that name."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = called(".".join(map(str, first["loc"])))
    text = "is empty" if first["type"] == "string_too_short" else first["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text
