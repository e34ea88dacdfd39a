"""The one exception that a reader meets: what is wrong, where, and what to do about it; and how a command tells it."""

import io
import os
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

# What a terminal would obey instead of showing: control characters, marks that turn text around, halves of characters.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
HALF = re.compile(r"[\ud800-\udfff]")  # what bytes that are not UTF-8 are read as; no file takes it
HALF_A_CHARACTER = "there is half a character in the text, which no file can hold"


def visible(text: str) -> str:
    r"""The text fit for a terminal: what it would obey is written out, as in ``\x1b``."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class PersonaError(Exception):
    """Input that cannot be used: what is wrong, what to do about it, and where, as file and line (from 1), if known."""

    def __init__(self, reason: str, remedy: str, path: Path | str | None = None, line: int | None = None) -> None:
        self.reason, self.remedy, self.path, self.line = reason, remedy, path, line
        where = "" if path is None else f"{path}, line {line}: " if line else f"{path}: "
        super().__init__(visible(f"{where}{reason}\n  What to do: {remedy}"))


def whole(text: Any) -> Any:
    """What was given. PersonaError for a text with half a character in it, which a browser may send."""
    if isinstance(text, str) and HALF.search(text):
        raise PersonaError(HALF_A_CHARACTER, "write it again without")
    return text


def read_line(prompt: str) -> str:
    """A line that is typed, without the spaces around it; asked for again where it is not UTF-8."""
    while HALF.search(text := input(prompt)):
        print("That was not UTF-8: please type it again. / UTF-8ではない文字がありました。もう一度書いてください。")
    return text.strip()


def number(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], float]:
    """The ``type`` of a command's argument that is a number from ``least`` to ``most``."""

    def read(text: str) -> float:
        with suppress(ValueError):
            if least <= (value := kind(text)) <= most:
                return value
        raise ArgumentTypeError(f"{text!r} is not a {'whole ' * (kind is int)}number from {least} to {most}")

    return read


@contextmanager
def as_command() -> Iterator[None]:
    """Decorates a command's ``main``, which then reads and writes UTF-8 in any locale and tells what a reader can mend
    in a sentence or two. SystemExit: 1 for an error, 130 for Ctrl-C. A closed input is one that has ended."""
    if None in (sys.stdout, sys.stderr):
        print("The output is closed: leave it open, or send it to a file", file=sys.stderr or sys.stdout)
        raise SystemExit(1)
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115  for as long as the process lives
    streams = {sys.stdin: "surrogateescape", sys.stdout: "backslashreplace", sys.stderr: "backslashreplace"}
    for stream, how in streams.items():
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=how)
    code, said = 1, ""
    try:
        if HALF.search("".join(sys.argv)):
            raise PersonaError("an argument is not UTF-8", "type it again, or set LC_ALL=C.UTF-8")
        try:
            yield
        finally:
            sys.stdout.flush()  # a full device is noticed here, and not at exit
        return
    except PersonaError as error:
        said = f"\n{error}\n"
    except KeyboardInterrupt:
        code, said = 130, "\nStopped. The same command goes on from what is saved.\n"
    except Exception as error:
        # What the system refuses: OSError, and zmq's own kind of it where files may not be opened any more.
        if getattr(error, "errno", None) is None:
            raise
        remedy = "free room, use a folder that is there and may be written to, or raise the limit (ulimit -a)"
        if not isinstance(error, BrokenPipeError):  # whoever read the output has gone
            said = f"\n{visible(str(error))}\n  What to do: {remedy}\n"
    for handle, stream, text in (1, sys.stdout, ""), (2, sys.stderr, said):
        try:
            print(end=text, file=stream, flush=True)
        except OSError:  # what it still holds would be tried again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), handle)
    raise SystemExit(code)


def reason_of(error: ValidationError, called: Callable[[str], str] = str) -> str:
    """The first thing that pydantic found wrong, after the name of the setting; ``called`` spells that name."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = called(".".join(map(str, first["loc"])))
    text = "is empty" if first["type"] == "string_too_short" else first["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text
