"""JSON from a stranger: an object at a time (ijson), whatever the file holds either read or one clear error."""

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from persona_ft.chat.messages import MAX_LINE, Source
from persona_ft.errors import PersonaError

# How deep a chat's JSON may be, and how long its numbers.
MAX_DEPTH, MAX_DIGITS = 100, 400
OPENING = bytes.maketrans(b"{}", b"[]")


class Sane:
    """A JSON file for ijson, which ends the process at a number of thousands of digits, and whose time grows with the
    square of the depth and of a string's length. Strings are skipped but for that: the rest stands outside of them."""

    STRING = re.compile(rb'"(?:[^"\\\0]++|\\[^\0])*+\\?["\0]', re.S)
    NO_BRACKET = bytes(set(range(256)) - set(b"[{]}"))

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.depth, self.open, self.digits, self.long = stream, 0, b"", b"", 0
        if stream.read(3) != codecs.BOM_UTF8:
            stream.seek(0)

    def read(self, size: int = -1) -> bytes:
        piece = self.stream.read(size)
        if not piece:
            return piece
        # The string that goes on from the piece before is opened again; the \0 at the end closes one that goes on.
        text = self.open + piece
        outside = self.STRING.sub(b"", text + b"\0")
        backslashes = len(text) - len(text.rstrip(b"\\"))
        self.open = b"" if outside.endswith(b"\0") else b'"' + b"\\" * (backslashes % 2)
        self.long = self.long + len(piece) if self.open and not outside else 0
        if self.long > MAX_LINE:
            raise ValueError(f"a text has more than {MAX_LINE:,} bytes")
        # Pairs of brackets are taken away from the inside, a level at a time.
        brackets, level = outside.translate(OPENING, self.NO_BRACKET), self.depth
        while b"[]" in brackets and level <= MAX_DEPTH:
            brackets, level = brackets.replace(b"[]", b""), level + 1
        if level + brackets.count(b"[") > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        self.depth += 2 * brackets.count(b"[") - len(brackets)
        outside = self.digits + outside
        if re.search(rb"\d{%d}" % MAX_DIGITS, outside):
            raise ValueError("a number has too many digits")
        self.digits = outside[-MAX_DIGITS:].rstrip(b"\0")
        return piece


@contextmanager
def open_json(path: Source) -> Iterator[Sane]:
    """A JSON file for ijson; whatever a reader raises becomes one sentence."""
    import ijson

    try:
        with path.open("rb") as stream:
            yield Sane(stream)
    except (ijson.JSONError, ValueError, RecursionError) as error:
        told = isinstance(error, ijson.IncompleteJSONError) or type(error) is ValueError
        reason = str(error).splitlines()[0][:80] if told and str(error) else "it is not JSON"
        raise PersonaError(f"the JSON cannot be read ({reason})", "download or export it again", path.name) from error


def items_of(path: Source, prefix: str) -> Iterator[Any]:
    """The objects under a prefix of a JSON file, one at a time; a file that is cut off or no JSON is an error."""
    import ijson

    with open_json(path) as stream:
        yield from ijson.items(stream, prefix, use_float=True)


def loaded(text: str | bytes, name: str, number: int | None = None) -> Any:
    """A whole file, or its line ``number``, as JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f"the {'file' if number is None else 'line'} is not JSON"
        raise PersonaError(reason, "export it again, one object or list whole", name, number) from error
