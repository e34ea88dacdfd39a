"""WhatsApp's text exports: iOS and Android, any of the usual locales, 12 or 24 hours; a .txt, or the .zip around it.
The order of day, month and year is found in the file itself: a number above 12 can be no month."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from persona_ft.chat.messages import INVISIBLE, ChatMessage, Source, lines_of
from persona_ft.chat.patterns import Patterns
from persona_ft.chat.times import ORDERS, hour_of
from persona_ft.errors import PersonaError

# How stamps look, and what the app itself writes.
SAYS = Patterns("whatsapp")
MARK = "\u200e"  # begins what a phone writes itself, on iOS
LONGEST = 300  # characters of what stands in a message's place
INSTEAD = {"DELETED": "deleted", "STICKER": "sticker", "MEDIA": "media", "CALL": "system"}
# A piece of another chat that somebody put into a message goes back by more minutes, for at most so many lines.
BACK_MINUTES, PIECE = 10, 20


def looks_like_whatsapp(head: str) -> bool:
    """Whether one of the first lines begins with WhatsApp's date and time, and a name."""
    lines = (INVISIBLE.sub("", line) for line in head.splitlines())
    stamps = ((line, SAYS.STAMP.match(line)) for line in lines)
    return any((m and (":" in m[10] or not m[1])) or SAYS.LIKE_STAMP.match(line) for line, m in stamps)


class Clock:
    """Whether messages follow each other in time when the numbers of their dates are in an order."""

    def __init__(self, order: str) -> None:
        self.order, self.in_time = order, set[str]()  # who has written in the order of time
        self.last = self.behind = self.backwards = self.day = self.high = 0
        self.low = 10**9

    def goes_on(self, date: tuple[int, int, int], minutes: int) -> bool:
        """Whether this time is not before the last one; after many that are, the clock was put back."""
        day = (date[0] * 12 + date[1]) * 31 + date[2]
        self.backwards += day < self.day
        self.day, self.low, self.high = day, min(day, self.low), max(day, self.high)
        now = day * 1440 + minutes
        if now < self.last - BACK_MINUTES and self.behind < PIECE:
            self.behind += 1
            return False
        self.last, self.behind = now, 0
        return True


@dataclass
class Survey:
    """What a first reading finds: the order of dates, and how often a name stands before a colon (and a space)."""

    clock: Clock
    names: Counter[str]
    loose: Counter[str]

    def split(self, rest: str) -> tuple[str, str]:
        """(speaker, text) of what stands behind a stamp; no speaker where it is a notice."""
        name, colon, text = rest.partition(": ")
        short, tight, after = rest.partition(":")
        # Mia:text has no space; a text may hold ": " further on.
        if tight and len(short) < len(name) and self.names[_bare(short)] > self.loose[_bare(name)]:
            name, colon, text = short, tight, after
        name, bare = _bare(name), _bare(rest)
        quoted = SAYS.QUOTES.search(name) and self.loose[name] < 3
        if not colon or quoted or SAYS.NOTICE.search(name) or SAYS.NOTICE.search(bare):
            return "", bare
        return name, text


def _bare(text: str) -> str:
    return text.replace(MARK, "")


def _survey(path: Source, orders: Iterable[str]) -> Survey:
    """Read once. Dates are in the order that is possible for all of them; else in that in which time does not run
    backwards; else in that in which the chat is shorter; else day first, as most countries write it."""
    names, loose = Counter[str](), Counter[str]()
    clocks = [Clock(order) for order in orders]
    n_messages, strange = 0, []
    for number, line, match, hour in _stamped(path):
        if hour is None:
            if match or SAYS.LIKE_STAMP.match(line):
                strange.append(number)
            continue
        n_messages += 1
        rest = _bare(match[10])
        speaker, colon, text = rest.partition(":")
        # A time or an address in a notice is no colon behind a name.
        if colon and len(speaker) <= 60 and not re.match(r"//|\d", text):
            names[speaker] += 1
            loose[rest.partition(": ")[0]] += ": " in rest
        for clock in clocks[:]:
            date = _day(*match.group(2, 3, 4), clock.order)
            if (date[1] > 12 or date[2] > 31) and len(clocks) > 1:
                clocks.remove(clock)
            elif clock.goes_on(date, hour * 60 + int(match[7])) and colon:
                clock.in_time.add(speaker)
    # Otherwise they would be taken for text.
    if len(strange) > max(2, n_messages / 5) or (strange and not n_messages):
        reason = f"{len(strange):,} lines begin with a date and time of a form that is not known"
        csv = "make a CSV of it with columns time, speaker and text"
        raise PersonaError(reason, f"export the chat with the phone set to English, or {csv}", path.name, strange[0])
    return Survey(min(clocks, key=lambda clock: (clock.backwards, clock.high - clock.low)), names, loose)


@lru_cache(maxsize=1000)
def _hour(hour: str, before: str | None, after: str | None) -> int | None:
    """The hour of a stamp, with the words around its time; None where they are not known."""
    half = after or before or ""
    try:
        return hour_of(int(hour), "" if not after and SAYS.AT.fullmatch(half.rstrip(". ")) else half)
    except ValueError:
        return None


@lru_cache(maxsize=1000)
def _day(a: str, b: str, c: str, order: str) -> tuple[int, int, int]:
    """Year, month and day of a stamp, possible or not. A year may be of Reiwa (R6) or of the Buddhist era (2567)."""
    year, month, day = ((a, b, c)[place] for place in ORDERS["ymd" if len(a) == 4 else order])
    n = int(year.lstrip("R"))
    n += 2018 if year.startswith("R") else 2000 if n < 100 else -543 if n > 2400 else 0
    return n, int(month), int(day.lstrip("R"))


def _stamped(path: Source) -> Iterator[tuple[int, str, re.Match[str] | None, int | None]]:
    """(number, line, stamp, hour); no hour where no stamp is, or one in words that are not known."""
    for number, line in lines_of(path, MARK):
        match = SAYS.STAMP.match(line)
        yield number, line, match, _hour(*match.group(6, 5, 9)) if match else None


def read_whatsapp(path: Source, order: str = "") -> Iterator[ChatMessage]:
    """Messages of one WhatsApp export, oldest first. ``order``: ``dmy``, ``mdy`` or ``ymd``, where it is known."""
    found = _survey(path, (order,) if order else ORDERS)
    current, texts, early, pasted, ios = None, [], [], False, False
    clock = Clock(found.clock.order)
    for number, line, match, hour in _stamped(path):
        if hour is not None:
            day = _day(*match.group(2, 3, 4), clock.order)
            speaker, text = found.split(match[10])
            goes_on = clock.goes_on(day, hour * 60 + int(match[7]))
            stranger = speaker != "" and speaker.split(":")[0] not in found.clock.in_time
            pasted = current is not None and not goes_on and (pasted or stranger)
        if hour is None or pasted:
            (texts if current else early).append(line)
            continue
        if current:
            yield _finished(current, texts, ios)
        try:
            at = datetime(*day, hour, int(match[7]), int(match[8] or 0))
        except ValueError as error:
            raise PersonaError("there is no such date or time", "export the chat again", path.name, number) from error
        # A file that was cut, or a first line that the phone wrote without a time.
        yield from (ChatMessage(at, "", line.strip(), "system") for line in early if line.strip())
        current = ChatMessage(at, speaker.lstrip("~ \u00a0\u202f"), "", "text" if speaker else "system")
        texts, early, ios = [text], [], match[1] is not None
    if current:
        yield _finished(current, texts, ios)


def _finished(message: ChatMessage, texts: list[str], ios: bool) -> ChatMessage:
    """Say what a message is: words, with what the phone wrote taken off, or what stands in a message's place."""
    text = "\n".join(texts).strip()
    if text[-1:] in (">", "›"):
        text = text[:-90] + SAYS.EDITED.sub("", text[-90:])
    caption, mark, tail = text.rpartition(MARK) if ios else ("", "", text)
    message.text = text = _bare(text)
    if not message.speaker:
        return message
    if len(text) < LONGEST:
        for name, kind in INSTEAD.items():
            if getattr(SAYS, name).search(text):
                message.kind = kind
                return message
    if mark and not caption.strip() and "\n" not in text:
        # What is written behind the mark is the phone's, not the speaker's: a photo, a call, a notice.
        message.kind = "system" if SAYS.SENTENCE.search(text) or SAYS.NOTICE.search(text) else "media"
        return message
    first, _, below = text.partition("\n")
    words = SAYS.ATTACHED.sub("", text) if re.search("[<‹(]", text) else text
    if SAYS.ANGLED.match(first):
        words = below
    elif caption.strip() and (SAYS.ANGLED.match(tail) or SAYS.MEDIA.match(tail) or SAYS.STICKER.match(tail)):
        words = "" if caption.rstrip().endswith("•") else _bare(caption)
    if not words.strip() or SAYS.POLL.match(text):
        message.kind = "media"
    elif SAYS.BY_THE_APP.search(text):
        message.kind = "system"
    else:
        message.text = words.strip()
    return message
