"""A message of a chat, the files that hold them, and the funnel: what was read, kept, and dropped for which reason."""

from __future__ import annotations

import codecs
import io
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from persona_ft.errors import PersonaError

# Longer lines are no chat; reading one whole would take all memory.
MAX_LINE = 1_000_000
# What a zip may unpack to, and how much more than itself: beyond that it is a bomb or a mistake.
MAX_UNPACKED, MAX_RATIO = 8 * 2**30, 200
ENCODINGS = ("utf-8", "cp932")
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Direction marks and other invisible characters that exports are full of; joiners stay, since emoji are made with them.
INVISIBLE = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# A file, or a file in a zip: what reads chats needs open, name and suffix alone.
Source = Path | zipfile.Path


@dataclass(slots=True)
class ChatMessage:
    """One message. ``kind`` is ``text``, or the reason why it is none: system, media, sticker, deleted, forwarded, bot.

    ``at`` is local time as the export has it; ``reply_to`` and ``id`` link a reply to what it answers, where known.
    """

    at: datetime
    speaker: str
    text: str
    kind: str = "text"
    chat: str = ""
    id: str = ""
    reply_to: str = ""


@dataclass
class Funnel:
    """How many of what were read, kept and dropped, by reason, with a few places to look at (never the texts)."""

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    noted: Counter[str] = field(default_factory=Counter)

    def note(self, what: str, where: str) -> None:
        """Count something about a pair that is kept; the first three places are remembered."""
        self.noted[what] += 1
        self._remember(what, where)

    def drop(self, reason: str, where: str, n: int = 1) -> None:
        """Count something that is left out; the first three places are remembered."""
        self.dropped[reason] += n
        self._remember(reason, where)

    def _remember(self, what: str, where: str) -> None:
        places = self.examples.setdefault(what, [])
        places.extend([where] * (len(places) < 3))

    def rows(self) -> list[dict[str, object]]:
        """The funnel as a table: what, how many, where for example."""
        table: list[dict[str, object]] = [{"": "read", "n": self.read, "for example": "messages"}]
        for reason, n in self.dropped.most_common():
            table.append({"": f"dropped: {reason}", "n": n, "for example": "; ".join(self.examples.get(reason, []))})
        table.append({"": "kept", "n": self.kept, "for example": "pairs, of two messages or more each"})
        for what, n in self.noted.items():
            table.append({"": f"of these: {what}", "n": n, "for example": "; ".join(self.examples[what])})
        return table


class Speakers(dict[str, str]):
    """Names as they are shown; two people of one name are two: the second has its number behind it."""

    def __call__(self, name: str, person: object) -> str:
        if not person or self.setdefault(name, str(person)) == str(person):
            return name
        return f"{name} ({person})"


def encoding_of(stream: IO[bytes], name: str) -> str:
    """The encoding of a file: by its byte order mark, else UTF-8, else Shift_JIS (cp932). Reads it once, in pieces.

    Raises
    ------
    PersonaError
        It is none of these.
    """
    head = stream.read(4)
    if found := next((encoding for bom, encoding in BOMS if head.startswith(bom)), None):
        return found
    for encoding in ENCODINGS:
        stream.seek(0)
        with suppress(UnicodeDecodeError):
            for _ in codecs.iterdecode(iter(partial(stream.read, 1 << 20), b""), encoding):
                pass
            return encoding
    remedy = "export the chat again as text, or save the file as UTF-8"
    raise PersonaError("the file is not UTF-8, Shift_JIS or UTF-16", remedy, name)


@contextmanager
def open_text(path: Source) -> Iterator[io.TextIOWrapper]:
    """A text file in whatever encoding it has; newlines are left alone but for \\r\\n.

    Raises
    ------
    PersonaError
        It cannot be read, is empty, or has an unknown encoding.
    """
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                raise PersonaError("the file is empty", "export the chat again", path.name)
            stream.seek(0)
            encoding = encoding_of(stream, path.name)
        with path.open("rb") as stream, io.TextIOWrapper(stream, encoding=encoding) as text:
            yield text
    except UnicodeDecodeError as error:
        raise PersonaError("the file is not whole in its encoding", "save it as UTF-8", path.name) from error
    except OSError as error:
        raise PersonaError(f"the file cannot be read ({error.strerror})", "check the path", path.name) from error


def lines_of(stream: IO[str], name: str, keep: str = "") -> Iterator[tuple[int, str]]:
    """(number, line without its end and without invisible characters but ``keep``), counted from 1.

    Raises
    ------
    PersonaError
        A line is longer than any message can be.
    """
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise PersonaError(f"a line has more than {MAX_LINE:,} characters", "this is no chat export", name, number)
        line = line.rstrip("\n")
        yield number, INVISIBLE.sub(lambda c: c.group() if c.group() == keep else "", line)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file that is what it says, unpacks to a sane size, and holds no path that leads out of it.

    Raises
    ------
    PersonaError
        It is damaged, encrypted, a bomb, or tries to write elsewhere.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > MAX_UNPACKED or unpacked > MAX_RATIO * max(path.stat().st_size, 10_000):
                reason = f"the zip would unpack to {unpacked / 1e9:,.1f} GB"
                raise PersonaError(reason, "this is no chat export", path.name)
            for member in members:
                parts = PurePosixPath(member.filename.replace("\\", "/"))
                if parts.is_absolute() or ".." in parts.parts:
                    reason = f"the zip holds a path that leads out of it ({member.filename[:40]!r})"
                    raise PersonaError(reason, "do not use this file", path.name)
                if member.flag_bits & 1:
                    raise PersonaError("the zip wants a password", "unpack it and zip it again without one", path.name)
            yield archive
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise PersonaError("the zip is damaged", "download or export it again", path.name) from error
    except (NotImplementedError, UnicodeError) as error:
        raise PersonaError("the zip is packed in an unusual way", "unpack it and zip it again", path.name) from error
    except OSError as error:
        raise PersonaError(f"the file cannot be read ({error.strerror})", "check the path", path.name) from error
