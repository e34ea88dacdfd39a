"""LINE's text exports: from a phone (tabs) or a desktop (spaces), in Japanese, English, Chinese, Korean, Thai. The
forms follow LINE's help pages and exports that people have published; LINE documents none of it."""

import re
from collections import deque
from collections.abc import Iterator
from datetime import date, datetime, time
from itertools import pairwise

from persona_ft.chat.line_form import SAYS, Form, dates_in, survey
from persona_ft.chat.messages import ChatMessage, Source, lines_of
from persona_ft.chat.times import hour_of
from persona_ft.errors import PersonaError

# How far a phone's quoted message is looked through for its end.
AHEAD = 500
# What stands for a photo and the like: in brackets on a phone, bare on a desktop.
KINDS = {"STICKER": "sticker", "MEDIA": "media"}


def looks_like_line(head: str) -> bool:
    """Whether the first lines of a text are LINE's: its header, or a day and times below it."""
    lines = [line.strip("\ufeff") for line in head.splitlines() if line.strip()][:40]
    times = [match for line in lines if (match := SAYS.TIME.match(line))]
    tabs = sum(match[6].count("\t") == 1 for match in times if match[5] == "\t")
    dated = any(dates_in(line) and SAYS.TIME.match(after) for line, after in pairwise(lines))
    return any(SAYS.HEADER.search(line) for line in lines[:3]) or dated or (tabs > 1 and tabs > len(lines) / 3)


def read_line(path: Source) -> Iterator[ChatMessage]:
    """Messages of one LINE export, oldest first. On a desktop nothing but a space stands between name and text; names
    with spaces are recognised by always being written the same way."""
    form, lines, waiting = survey(path), lines_of(path), deque()
    day, current, texts = None, None, []
    while (item := waiting.popleft() if waiting else next(lines, None)) is not None:
        number, line = item
        match = SAYS.TIME.match(line)
        new_day = form.days.get(number)
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
    """The rest of a message that a phone has put in quotes: whatever stands inside is text, dates and times too.

    It ends at a line that ends in a quote and makes their number even. Where none does, or somebody's message comes
    first, the quote was the writer's, and nothing is taken: lines that were looked at are left in ``waiting``.
    """
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
    elif message.kind == "text" and (not message.speaker or text.startswith(("☎", "ⓘ")) or SAYS.CALL.match(text)):
        message.kind = "system"
    elif message.kind == "text":
        device = "PHONE" if phone else "DESKTOP"
        kinds = (kind for name, kind in KINDS.items() if getattr(SAYS, f"{name}_{device}").match(text))
        message.kind = next(kinds, "text" if text else "sticker")
    return message
