"""The one exception that a reader meets: what is wrong, where, and what to do about it; and how a command tells it."""

import io
import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from pydantic import ValidationError

# What a terminal would obey instead of showing: control characters, marks that turn text around, halves of characters.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What bytes that are no UTF-8 become when they are read; no file takes such a character.
HALF = re.compile(r"[\ud800-\udfff]")


def visible(text: str) -> str:
    r"""The text fit for a terminal: what it would obey is written out, as in ``\x1b``."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class PersonaError(Exception):
    """Input that cannot be used: what is wrong, what to do about it, and where, as file and line (from 1), if known."""

    def __init__(self, reason: str, remedy: str, path: Path | str | None = None, line: int | None = None) -> None:
        self.reason, self.remedy, self.path, self.line = reason, remedy, path, line
        where = "" if path is None else f"{path}, line {line}: " if line else f"{path}: "
        super().__init__(visible(f"{where}{reason}\n  What to do: {remedy}"))


def whole(text: str) -> str:
    """The text. PersonaError where it holds half a character."""
    if HALF.search(text):
        raise PersonaError("this holds characters that are not UTF-8", "type it again")
    return text


def as_command(main: Callable[..., None]) -> Callable[..., None]:
    """A command's ``main`` that reads and writes UTF-8 in any locale and tells what a reader can mend in a sentence or
    two. Raises SystemExit: 1 for an error, 130 for Ctrl-C, and any that ``main`` raises. A closed input has ended."""

    @wraps(main)
    def told(*given: Any, **named: Any) -> None:
        if None in (sys.stdout, sys.stderr):
            print("The output is closed: leave it open, or send it to a file", file=sys.stderr or sys.stdout)
            raise SystemExit(1)
        sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115  as long as the process lives
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                how = "surrogateescape" if stream is sys.stdin else "backslashreplace"
                stream.reconfigure(encoding="utf-8", errors=how)
        code, said = 1, ""
        try:
            if any(map(HALF.search, sys.argv)):
                raise PersonaError("an argument is not UTF-8", "type it anew, or set LC_ALL=C.UTF-8")
            try:
                main(*given, **named)
            finally:
                sys.stdout.flush()  # a full device is noticed here, and not when nothing can be said any more
            return
        except PersonaError as error:
            said = str(error)
        except KeyboardInterrupt:
            code, said = 130, "Stopped. The same command goes on from what is saved."
        except BrokenPipeError:
            pass  # whoever read the output has gone
        except Exception as error:
            if getattr(error, "errno", None) is None:
                raise
            # The system refused something: OSError, and zmq's own kind of it where files may not be opened any more.
            remedy = "free room, use a folder that you may write to, or raise the limit (ulimit -a)"
            said = f"{visible(str(error))}\n  What to do: {remedy}"
        finally:
            for handle, stream in enumerate((sys.stdout, sys.stderr), start=1):
                try:
                    if said and handle == 2:
                        print(f"\n{said}", file=stream)
                    stream.flush()
                except OSError:  # what it still holds would be tried again at exit
                    os.dup2(os.open(os.devnull, os.O_WRONLY), handle)
        raise SystemExit(code)

    return told


def reason_of(error: ValidationError, called: Callable[[str], str] = str) -> str:
    """The first thing that pydantic found wrong, after the name of the setting; ``called`` spells that name."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = called(".".join(map(str, first["loc"])))
    text = "is empty" if first["type"] == "string_too_short" else first["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text
