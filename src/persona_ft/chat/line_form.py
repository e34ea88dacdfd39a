"""A first reading of LINE's export: a phone's or a desktop's, which lines begin a day, and who the speakers are."""

import re
from bisect import bisect_right
from calendar import monthrange
from calendar import weekday as weekday_of
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from persona_ft.chat.messages import Source, lines_of
from persona_ft.chat.patterns import patterns
from persona_ft.chat.times import hour_of
from persona_ft.errors import PersonaError

# How days and times look, and what the app itself writes.
SAYS = patterns("line")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# How many beginnings of lines are counted before those that came once are forgotten.
MANY = 300_000
# Whether the month comes first, year, month, day.
Reading = tuple[bool | None, int, int, int]
# The first words of a line.
Start = tuple[str, ...]


def dates_in(line: str) -> list[Reading]:
    """What a line can mean if it is a date."""
    text = line.strip()
    if match := SAYS.DATE.match(text):
        return [(None, int(match[1]), int(match[2]), int(match[3]))]
    match = SAYS.DATE_NUMBERS.match(text)
    if not match or not (weekday := match[1] or match[5]):
        return []
    a, b, year = int(match[2]), int(match[3]), int(match[4])
    year -= 543 if year > 2400 else 0
    if weekday.strip("（(")[:3] not in DAYS:
        return [(False, year, b, a)]
    readings = [(True, year, a, b), (False, year, b, a)]
    possible = [r for r in readings if 0 < r[2] <= 12 and year > 0]
    fitting = [r for r in possible if r[3] <= monthrange(*r[1:3])[1] and DAYS[weekday_of(*r[1:])] in weekday]
    return fitting or possible or readings


@dataclass
class Form:
    """How an export is written. ``names``: a desktop export's speakers; ``days``: the lines that begin a day."""

    phone: bool
    names: set[str]
    days: dict[int, date]

    @cached_property
    def longest(self) -> int:
        """The length of the longest name."""
        return max(map(len, self.names), default=0)

    def speaker(self, rest: str) -> str | None:
        """Whose message a desktop's line is, by the longest name; None where none stands before a space."""
        if not self.names:
            return rest.partition(" ")[0] if " " in rest else None
        if rest in self.names:
            return rest
        end = rest.rfind(" ", 0, self.longest + 1)
        while end > 0 and rest[:end] not in self.names:
            end = rest.rfind(" ", 0, end)
        return rest[:end] if end > 0 else None

    def is_message(self, match: re.Match[str]) -> bool:
        """Whether a line that begins with a time is a message or a notice, and not text that does: a phone puts a tab
        behind it, on a desktop somebody's name follows."""
        rest, desktop = match[6], not self.phone
        if match[5] == "\t" or (desktop and self.speaker(rest) is not None) or SAYS.NOTICE.search(rest):
            return True
        return desktop and bool(SAYS.ENDS.search(rest)) and any(rest[:n] in self.names for n in range(self.longest + 1))


@dataclass
class _Day:
    """A line that may begin a day: what it can mean, whether a gap is above or a weekday in it, and what is below."""

    number: int
    readings: list[Reading]
    apart: bool
    named: bool
    below: str = ""


def survey(path: Source) -> Form:
    """Whether it is a phone's export, which lines begin a day, and a desktop export's speakers."""
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
    form = Form(phone, names, {})
    form.days.update(_days(days, form, votes[True] >= votes[False], path.name))
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
    whole = [w for w, m in longer.items() if m >= 0.9 * n]
    if whole:
        return _lengthened(whole[0], words, after, least)
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
    """The places of the longest run that never falls: each value's place in such a run, and back from the last."""
    tails, places = [], []
    for value in values:
        places.append(bisect_right(tails, value))
        tails[places[-1] : places[-1] + 1] = [value]
    kept, wanted, most = [], len(tails) - 1, date.max
    for n in reversed(range(len(values))):
        if places[n] == wanted and values[n] <= most:
            kept.append(n)
            wanted, most = wanted - 1, values[n]
    return kept[::-1]
