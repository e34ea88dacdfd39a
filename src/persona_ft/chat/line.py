"""LINE's text exports: from a phone (tabs) or a desktop (spaces), in Japanese, English, Chinese, Korean, Thai. The
forms follow LINE's help pages and exports that people have published; LINE documents none of it."""

import re
from bisect import bisect_right
from calendar import monthrange
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from itertools import pairwise

from persona_ft.chat.messages import ChatMessage, Source, lines_of
from persona_ft.chat.patterns import Patterns
from persona_ft.chat.times import hour_of
from persona_ft.errors import PersonaError

# How days and times look, and what the app itself writes.
SAYS = Patterns("line")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
AHEAD = 500  # lines in which the end of a phone's quoted message is looked for
MANY = 300_000  # beginnings of lines that are counted before those that came once are forgotten
Reading = tuple[bool | None, int, int, int]  # whether the month comes first, year, month, day
Start = tuple[str, ...]  # the first words of a line


def dates_in(line: str) -> list[Reading]:
    """What a line can mean if it is a date."""
    text = line.strip()
    if match := SAYS.DATE.match(text):
        return [(None, int(match[1]), int(match[2]), int(match[3]))]
    if not (match := SAYS.DATE_NUMBERS.match(text)) or not (weekday := match[1] or match[5]):
        return []
    a, b, year = int(match[2]), int(match[3]), int(match[4])
    year -= 543 if year > 2400 else 0
    if weekday.strip("（(")[:3] not in DAYS:
        return [(False, year, b, a)]
    readings = [(True, year, a, b), (False, year, b, a)]
    possible = [r for r in readings if 0 < r[2] <= 12 and year > 0]
    fitting = [r for r in possible if 0 < r[3] <= monthrange(*r[1:3])[1] and DAYS[date(*r[1:]).weekday()] in weekday]
    return fitting or possible or readings


@dataclass
class Form:
    """How an export is written. ``names``: a desktop export's speakers; ``days``: the lines that begin a day."""

    phone: bool
    names: set[str]
    days: dict[int, date] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = "|".join(map(re.escape, sorted(self.names, key=len, reverse=True)))
        self.known = re.compile(known or "(?!)")
        self.speaks = re.compile(rf"(?:{known})(?= |\Z)" if known else "[^ ]*(?= )")

    def speaker(self, rest: str) -> str | None:
        """Whose message a desktop's line is, by the longest name; None where none stands before a space."""
        found = self.speaks.match(rest)
        return found and found[0]

    def is_message(self, match: re.Match[str]) -> bool:
        """Whether a line that begins with a time is a message or a notice, and not text that does: a phone puts a tab
        behind it, on a desktop somebody's name follows."""
        rest = match[6]
        if match[5] == "\t" or SAYS.NOTICE.search(rest):
            return True
        ends = bool(SAYS.ENDS.search(rest) and self.known.match(rest))
        return not self.phone and (ends or self.speaker(rest) is not None)


def looks_like_line(head: str) -> bool:
    """Whether the first lines of a text are LINE's: its header, or a day and times below it."""
    lines = [line.strip("\ufeff") for line in head.splitlines() if line.strip()][:40]
    times = [match for line in lines if (match := SAYS.TIME.match(line))]
    tabs = sum(match[6].count("\t") == 1 for match in times if match[5] == "\t")
    dated = any(dates_in(line) and SAYS.TIME.match(after) for line, after in pairwise(lines))
    return any(SAYS.HEADER.search(line) for line in lines[:3]) or dated or (tabs > 1 and tabs > len(lines) / 3)


def read_line(path: Source) -> Iterator[ChatMessage]:
    """Messages of one LINE export, oldest first. On a desktop nothing but a space stands between name and text: names
    with spaces are recognised by always being written the same way."""
    form, lines, waiting = survey(path), lines_of(path), deque()
    day, current, texts = None, None, []
    while (item := waiting.popleft() if waiting else next(lines, None)) is not None:
        number, line = item
        new_day, match = form.days.get(number), SAYS.TIME.match(line)
        if not new_day and not (match and form.is_message(match)):
            if current:
                texts.append(line)
            elif line.strip() and day:
                yield ChatMessage(datetime.combine(day, time()), "", line.strip(), "system")
            continue
        if current:
            yield _finished(current, texts, form.phone)
            current = None
        if new_day:
            day = new_day
        elif day:
            current = _message(match, day, form, path.name, number)
            texts = [current.text]
            if form.phone and current.text.startswith('"') and current.text.count('"') % 2:
                texts += _quoted(current.text, lines, waiting)
        elif not SAYS.HEADER.search(line) and number > 3:
            raise PersonaError("a message stands before any date", "export the whole chat", path.name, number)
    if current:
        yield _finished(current, texts, form.phone)


def _quoted(first: str, lines: Iterator[tuple[int, str]], waiting: deque[tuple[int, str]]) -> list[str]:
    """The rest of a message that a phone has put in quotes: whatever stands inside is text, dates and times too. It
    ends at a line that ends in a quote and makes their number even. Where none does, or somebody's message comes first,
    the quote was the writer's, and nothing is taken: lines that were looked at are left in ``waiting``."""
    quotes, seen = first.count('"'), []
    while len(seen) < AHEAD and (item := waiting.popleft() if waiting else next(lines, None)):
        seen.append(item)
        if (match := SAYS.TIME.match(item[1])) and match[5] == "\t" and "\t" in match[6]:
            break
        quotes += item[1].count('"')
        if quotes % 2 == 0:
            if item[1].endswith('"'):
                return [line for _, line in seen]
            break
    waiting.extendleft(reversed(seen))
    return []


def _message(match: re.Match[str], day: date, form: Form, name: str, number: int) -> ChatMessage:
    before, hours, minutes, after, separator, rest = match.groups()
    try:
        # A phone may write the hour after midnight as 24.
        hour = 0 if hours == "24" else hour_of(int(hours), before or after or "")
        at = datetime.combine(day, time(hour, int(minutes)))
    except ValueError as error:
        raise PersonaError(f"there is no time {hours}:{minutes}", "export the chat again", name, number) from error
    if separator == "\t":
        speaker, tab, text = rest.partition("\t")
        # Two columns: a notice.
        return ChatMessage(at, speaker.strip(), text) if tab else ChatMessage(at, "", speaker, "system")
    speaker = form.speaker(rest)
    # Behind a known name stands what they wrote, unless it is LINE's: "Mia joined the group."
    notice = SAYS.NOTICE.search(rest)
    if speaker is None or (notice and speaker in notice.group("en", "zh", "th")):
        return ChatMessage(at, "", rest, "system")
    return ChatMessage(at, speaker.strip(), rest[len(speaker) + 1 :])


def _finished(message: ChatMessage, texts: list[str], phone: bool) -> ChatMessage:
    """Take a phone's quotes off a message of several lines, and say what it is."""
    text = "\n".join(texts).rstrip()
    if "\n" in text and text.startswith('"') and text.endswith('"'):
        text = text[1:-1].replace('""', '"').strip()
    message.text = text = SAYS.EMOJI.sub("", text).strip()  # LINE's own pictures come out as this word
    if SAYS.DELETED.search(text) and (message.kind == "system" or len(text) < 60):
        message.kind = "deleted"
    elif not message.speaker or SAYS.CALL.match(text):
        message.kind = "system"
    else:  # what stands for a photo and the like is in brackets on a phone, and bare on a desktop
        device = "PHONE" if phone else "DESKTOP"
        kinds = (kind for kind in ("sticker", "media") if getattr(SAYS, f"{kind.upper()}_{device}").match(text))
        message.kind = next(kinds, "text" if text else "sticker")
    return message


@dataclass
class _Day:
    """A line that may begin a day: what it can mean, whether a gap is above or a weekday in it, and what is below."""

    number: int
    readings: list[Reading]
    apart: bool
    named: bool
    below: str = ""


def survey(path: Source) -> Form:
    """A first reading: a phone's or a desktop's, which lines begin a day, and who a desktop's speakers are."""
    words, votes, named, days = Counter[Start](), Counter(), set(), list[_Day]()
    n_lines, phone, limit, above = 0, False, MANY, ""
    for number, line in lines_of(path):
        if days and not days[-1].below.strip():
            days[-1].below = line
        if readings := dates_in(line):
            votes.update(r[0] for r in readings if len(readings) == 1)
            written = SAYS.DATE.match(line.strip())
            apart = not above.strip() or n_lines == 0
            days.append(_Day(number, readings, apart, named=written is None or bool(written[4])))
        above = line
        match = SAYS.TIME.match(line)
        n_lines += match is not None
        phone = phone or (match is not None and match[5] == "\t")
        if phone or not match:
            continue
        if notice := SAYS.NOTICE.search(match[6]):
            named |= {who for who in notice.groupdict().values() if who}
            continue
        parts = match[6].split(" ", 3)
        for n in range(1, min(4, len(parts))):
            words[tuple(parts[:n])] += 1
        if len(words) > limit:  # what was said once is no name of several words
            words = Counter({start: n for start, n in words.items() if n > 1 or len(start) == 1})
            limit = max(MANY, 2 * len(words))
    names = set() if phone else _names(path, words, named, n_lines, {day.number for day in days})
    form = Form(phone, names)
    form.days = dict(_days(days, form, votes[True] >= votes[False], path.name))
    return form


def _names(path: Source, words: Counter[Start], named: set[str], n_lines: int, days: set[int]) -> set[str]:
    """A desktop's speakers: what messages begin with, lengthened while it is always followed by the same word, and
    whoever a notice names. What occurs once in a long chat is text that begins with a time, if that does not fit."""
    names, once, after = set(), set(), defaultdict(list)
    for start in words:
        after[start[:-1]].append(start)
    begun = {who.split(" ")[0] for who in named if " " in who}
    for start in after[()]:
        if words[start] < 2 and n_lines > 20:
            once |= set(start)
        else:
            names |= {" ".join(name) for name in _lengthened(start, words, after, 2 if start[0] in begun else 5)}
    if once:
        names |= _seen_once(path, once, days)
    for whole in sorted(named):  # a notice says that Bob Smith is one name; then no Bob is there beside
        parts = whole.split(" ")
        shorter = {" ".join(parts[:n]) for n in range(1, len(parts))} & names
        if not shorter or words[tuple(parts[:1])] <= words[tuple(parts[:3])]:
            names = (names - shorter) | {whole}
    return names - {""}


def _lengthened(start: Start, words: Counter[Start], after: dict[Start, list[Start]], least: int) -> list[Start]:
    """The names that a word begins: itself; with the next word if nearly always the same one follows; or several, where
    few words follow it often (``least``) and hardly anything else does (山田 花子 and 山田 太郎)."""
    n = words[start]
    # A name's further words are no small ones: "Mia ok" twice is Mia, who says ok.
    longer = {w: words[w] for w in after.get(start, ()) if words[w] >= 2 and not w[-1][:1].islower()}
    if whole := next((w for w, m in longer.items() if m >= 0.9 * n), None):
        return _lengthened(whole, words, after, least)
    often = {w: m for w, m in longer.items() if m >= max(least, 0.05 * n)}
    if 2 <= len(often) <= 5 and sum(often.values()) >= 0.95 * n:
        return [name for w in often for name in _lengthened(w, words, after, least)]
    return [start]


def _seen_once(path: Source, once: set[str], days: set[int]) -> set[str]:
    """Of words that begin a timed line once, those that may be names: the time lies between those around it."""
    found, held, last = set(), [], -1  # held: (minutes, word)
    for number, line in lines_of(path):
        if number in days:
            found |= {word for _, word in held}
            last, held = -1, []
        elif (match := SAYS.TIME.match(line)) and not SAYS.NOTICE.search(match[6]):
            at = hour_of(int(match[2]), match[1] or match[4] or "") * 60 + int(match[3])
            word = match[6].split(" ")[0]
            if word not in once:
                found |= {name for when, name in held if when <= at}
                last, held = at, []
            elif at >= (held[-1][0] if held else last):
                held.append((at, word))
    return found | {word for _, word in held}


def _days(days: list[_Day], form: Form, month_first: bool, name: str) -> Iterator[tuple[int, date]]:
    """Of the lines that look like dates those that begin a day: on a phone an empty line is above, on a desktop the
    weekday is said, a message is below, and days never run backwards: a date that does not fit stays text."""
    real: list[tuple[int, date]] = []
    for day in days:
        match = SAYS.TIME.match(day.below)
        followed = not day.below.strip() or dates_in(day.below) or (match and form.is_message(match))
        if not (followed or not real) or not (day.apart or (day.named and not form.phone)):
            continue
        reading = next((r for r in day.readings if r[0] == month_first), day.readings[0])
        try:
            real.append((day.number, date(*reading[1:])))
        except ValueError as error:
            said = "/".join(map(str, reading[1:]))
            raise PersonaError(f"there is no date {said}", "export the chat again", name, day.number) from error
    kept = [n for n in _rising([max(when, real[0][1]) for _, when in real]) if real[n][1] >= real[0][1]]
    if len(real) - len(kept) > max(2, len(real) / 5):
        back = next(real[n][0] for n in range(1, len(real)) if real[n][1] < real[n - 1][1])
        raise PersonaError("days run backwards here", "give one export at a time, as LINE wrote it", name, back)
    return (real[n] for n in kept)


def _rising(values: list[date]) -> list[int]:
    """The places of the longest run that never falls."""
    ends, runs = [], []  # for each length the earliest value that ends such a run, and that run, last place first
    for n, value in enumerate(values):
        length = bisect_right(ends, value)
        ends[length : length + 1] = [value]
        runs[length : length + 1] = [(n, runs[length - 1] if length else None)]
    places, run = [], runs[-1] if runs else None
    while run:
        place, run = run
        places.append(place)
    return places[::-1]
