"""A message of a chat, the files that hold them, and the funnel: what was read, kept, and dropped for which reason."""

import codecs
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath

from persona_ft.errors import PersonaError

# Longer lines are no chat; reading one whole would take all memory.
MAX_LINE = 1_000_000
# What a zip may unpack to, and how much more than itself: beyond that it is a bomb or a mistake.
MAX_UNPACKED, MAX_RATIO = 8 * 2**30, 200
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Direction marks and other invisible characters that exports are full of; joiners stay, since emoji are made with them.
INVISIBLE = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# A file, or a file in a zip: what reads chats needs open, name and suffix alone.
Source = Path | zipfile.Path
# What a file may do when it is read: the first that fits is said.
FAULTS = (
    (UnicodeDecodeError, "the file is not whole in its encoding", "export it again, or save it as UTF-8"),
    ((zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError), "the zip is damaged", "download or export it again"),
    ((NotImplementedError, UnicodeError), "the zip is packed in an unusual way", "unpack it and zip it again"),
    (OSError, "the file cannot be read ({0.strerror})", "check the path, or download it again"),
)


@dataclass(slots=True)
class ChatMessage:
    """One message."""

    at: datetime  # local time as the export has it
    speaker: str
    text: str
    kind: str = "text"  # or the reason why it is none: system, media, sticker, deleted, forwarded, bot
    chat: str = ""
    id: str = ""
    reply_to: str = ""  # the id of what it answers, where known


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
        self._count(self.noted, what, where, 1)

    def drop(self, reason: str, where: str, n: int = 1) -> None:
        """Count something that is left out; the first three places are remembered."""
        self._count(self.dropped, reason, where, n)

    def _count(self, counter: Counter[str], what: str, where: str, n: int) -> None:
        counter[what] += n
        places = self.examples.setdefault(what, [])
        places.extend([where] * (len(places) < 3))

    def rows(self) -> list[dict[str, object]]:
        """The funnel as a table: what, how many, where for example."""
        rows = [("read", self.read, "messages")]
        rows += [(f"dropped: {why}", n, "; ".join(self.examples.get(why, []))) for why, n in self.dropped.most_common()]
        rows += [("kept", self.kept, "pairs, of two messages or more each")]
        rows += [(f"of these: {what}", n, "; ".join(self.examples[what])) for what, n in self.noted.items()]
        return [dict(zip(("", "n", "for example"), row, strict=True)) for row in rows]


class Speakers(dict[str, str]):
    """Names as they are shown; two people of one name are two: the second has its number behind it. A name is held in
    memory once, however many messages have it."""

    def __call__(self, name: str, person: object) -> str:
        if not person or self.setdefault(name, str(person)) == str(person):
            return sys.intern(name)
        return f"{name} ({person})"


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Whatever reading a file or a zip raises, as a ``PersonaError``."""
    try:
        yield
    except (OSError, EOFError, UnicodeError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as e:
        reason, remedy = next((reason, remedy) for kind, reason, remedy in FAULTS if isinstance(e, kind))
        raise PersonaError(reason.format(e), remedy, name) from e


def head_of(path: Source) -> bytes:
    """The first 8 KB of a file, which must not be empty."""
    with path.open("rb") as stream:
        head = stream.read(8192)
    if not head:
        raise PersonaError("the file is empty", "export the chat again", path.name)
    return head


def marked_encoding(head: bytes) -> str | None:
    """The encoding that a byte order mark says."""
    return next((encoding for mark, encoding in BOMS if head.startswith(mark)), None)


def _encoding(path: Source) -> str:
    """By the byte order mark, else UTF-8, else Shift_JIS (cp932). Reads the file once, in pieces."""
    if marked := marked_encoding(head_of(path)):
        return marked
    for encoding in ("utf-8", "cp932"):
        with suppress(UnicodeDecodeError), path.open("rb") as stream:
            for _ in codecs.iterdecode(iter(partial(stream.read, 1 << 20), b""), encoding):
                pass
            return encoding
    remedy = "export the chat again as text, or save the file as UTF-8"
    raise PersonaError("the file is not UTF-8, Shift_JIS or UTF-16", remedy, path.name)


@contextmanager
def open_text(path: Source) -> Iterator[io.TextIOWrapper]:
    """A text file in whatever encoding it has; an empty one, or one in no known encoding, is a ``PersonaError``."""
    with path.open("rb") as stream, io.TextIOWrapper(stream, encoding=_encoding(path)) as text:
        yield text


def lines_of(path: Source, keep: str = "") -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end and without invisible characters but ``keep``)."""
    number = 0
    with open_text(path) as stream:
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                reason = f"a line has more than {MAX_LINE:,} characters"
                raise PersonaError(reason, "this is no chat export", path.name, number)
            yield number, INVISIBLE.sub(lambda c: c.group() if c.group() == keep else "", line.rstrip("\n"))


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file without a password that unpacks to a sane size, and holds no path that leads out of it."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > MAX_UNPACKED or unpacked > MAX_RATIO * max(path.stat().st_size, 10_000):
            raise PersonaError(f"the zip would unpack to {unpacked / 1e9:,.1f} GB", "this is no chat export", path.name)
        for member in members:
            parts = PurePosixPath(member.filename.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts:
                reason = f"the zip holds a path that leads out of it ({member.filename[:40]!r})"
                raise PersonaError(reason, "do not use this file", path.name)
            if member.flag_bits & 1:
                raise PersonaError("the zip wants a password", "unpack it and zip it again without one", path.name)
        yield archive
