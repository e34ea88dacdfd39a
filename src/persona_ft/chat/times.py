"""Times as exports write them: in ISO form, as a number of seconds, in words, with the parts of a date in any order."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from persona_ft.chat.patterns import Patterns
from persona_ft.errors import PersonaError

FORMS = Patterns("times")
KANJI = str.maketrans({"年": "-", "月": "-", "日": " ", "時": ":", "分": ":", "秒": " ", "/": "-"})
IN_KANJI = re.compile(f"[{''.join(map(chr, KANJI))}]")
# How a date of numbers may be meant: the places of year, month and day.
ORDERS = {"dmy": (2, 1, 0), "mdy": (2, 0, 1), "ymd": (0, 1, 2)}


@lru_cache(4096)
def hour_of(hour: int, half: str) -> int:
    """The hour of 24. ``half``: what stands beside it, such as p.m. or 下午; a ``ValueError`` where it is not known."""
    if not half:
        return hour
    half = re.sub(r"[.\s]", "", half).casefold()
    afternoon = FORMS.PM.fullmatch(half)
    if not afternoon and not FORMS.AM.fullmatch(half):
        raise ValueError(half)
    return hour % 12 + (12 if afternoon else 0) if hour <= 12 else hour


def orders_of(text: str) -> set[str]:
    """The orders in which a date of numbers is possible; empty where it is none."""
    if not (match := FORMS.NUMBERS.match(text)):
        return set()
    parts = [int(part) for part in match.groups()]
    allowed = ORDERS if len(match[3]) == 2 else ("dmy", "mdy")
    return {o for o in allowed if 1 <= parts[ORDERS[o][1]] <= 12 and 1 <= parts[ORDERS[o][2]] <= 31}


def time_of(value: Any, name: str, what: str = "message", order: str = "", line: int | None = None) -> datetime:
    """A time from an ISO text, a Unix time in seconds or milliseconds, or a written form; without its zone. ``order``:
    how 3/4/2024 or 24/3/4 is meant, where that is known. ``name``, ``what`` and ``line`` are the file, message and line
    for the error, which repeats nothing that does not look like a time."""
    text = str(value).strip()
    possible = orders_of(text)
    given, order = order in possible, order if order in possible else next(iter(possible), "")
    # 3/3/2024 is one day in either order.
    if len(possible) > 1 and not given and ("ymd" in possible or len(set(FORMS.NUMBERS.match(text).groups()[:2])) > 1):
        reason = f"the time of {what} is {text!r}, which can be read in several ways"
        raise PersonaError(reason, 'say how dates are written: COLUMNS = "dates=d/m/y", or m/d/y, or y/m/d', name, line)
    try:
        if FORMS.UNIX.fullmatch(text):
            seconds = float(text) / (1000 if len(text.split(".")[0]) > 11 else 1)
            return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
        if text[:1].isdigit():
            with suppress(ValueError):
                return datetime.fromisoformat(text).replace(tzinfo=None)
        if not FORMS.WRITTEN.match(text + " ") or len(text) > 60:
            raise ValueError
        plain = (text.translate(KANJI) if IN_KANJI.search(text) else text).strip(" :")
        year_first = order == "ymd" if order else re.match(r"\d{4}", text) is not None
        if not (clock := FORMS.CLOCK.fullmatch(plain)):
            return _parsed(plain, order == "dmy", year_first)
        day, hour, minute, second, half = clock.groups("0")
        at = _parsed(day, order == "dmy", year_first)
        return at.replace(hour=hour_of(int(hour), half.strip("0")), minute=int(minute), second=int(second))
    except (ValueError, ArithmeticError, OSError, TypeError, AttributeError, IndexError) as error:
        shown = f"is {text!r}" if FORMS.TIME_LIKE.fullmatch(text) else "cannot be read"
        raise PersonaError(f"the time of {what} {shown}", "write times like 2024-01-31 09:15", name, line) from error


@lru_cache(4096)
def _parsed(text: str, day_first: bool, year_first: bool) -> datetime:
    """dateutil takes ten times as long as the rest of a message: a day is given to it once."""
    from dateutil import parser

    return parser.parse(text, dayfirst=day_first, yearfirst=year_first, ignoretz=True)
