"""LINE's text exports: from a phone (tabs) or a desktop (spaces), in Japanese or English.

No maintained parser covers them. The forms follow LINE's help pages and exports that people have published; LINE
documents none of it, and it changes with versions.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from persona_ft.chat.messages import ChatMessage, lines_of, open_text
from persona_ft.errors import PersonaError

HEADER = re.compile(r"\[LINE\]|LINE.{0,6}(?:トーク履歴|Chat history)|^(?:保存日時|Saved on)", re.I)
DATE = re.compile(r"^(\d{4})[./](\d{1,2})[./](\d{1,2})\s*(?:\(?[日月火水木金土]\)?(?:曜日)?|\(?[A-Za-z]{3,9}\.?\)?)?$")
DATE_ENGLISH = re.compile(r"^([A-Z][a-z]{2})[a-z]{0,6}, ?(\d{1,2})/(\d{1,2})/(\d{4})( BE)?$")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TIME = re.compile(r"^(午前|午後|AM|PM)?\s?(\d{1,2}):(\d{2})\s?(AM|PM|am|pm)?([\t ])(.*)$", re.S)
# A phone puts brackets around what stands for a photo and the like; a desktop does not.
MEDIA = re.compile(
    r"^\[(?:写真|動画|ファイル|ボイスメッセージ|位置情報|連絡先|アルバム|ノート|プレゼント|投票|Photos?|Videos?"
    r"|Files?|Voice messages?"
    r"|Locations?|Contacts?|Albums?|Notes?|Gifts?|Polls?|null)\](?:\s.*)?$",
    re.S,
)
STICKER = re.compile(r"^\[(?:スタンプ|絵文字|Stickers?|Emoji)\]$")
MEDIA_DESKTOP = re.compile(
    r"^(?:画像|写真|動画|ファイル|アルバム|ノート|ボイスメッセージ|位置情報|連絡先|Photos?|Videos?|Files?"
    r"|Albums?|Notes?)$"
)
STICKER_DESKTOP = re.compile(r"^(?:スタンプ|Stickers?)$")
EMOJI = re.compile(r"\((?:emoji|絵文字)\)")
DELETED = re.compile(r"メッセージの送信を取り消しました|unsent a message")
# What LINE itself says, whole lines: 「予約をキャンセルした」 is somebody's words.
SYSTEM = re.compile(
    r"(?:に参加しました|を退会しました|を招待しました|が退出しました|をグループに追加しました|を削除しました"
    r"|アルバムを作成しました"
    r"|をアナウンスしました|アルバムに追加しました|ノートを(?:作成|投稿|編集)しました|通話を開始しました|通話が(?:開始され|終了し)ました"
    r"|アイコンを変更しました|グループ名を.{1,60}に変更しました)。?$|^☎|^ⓘ "
    r"|(?: joined the (?:group|chat)| left the (?:group|chat)| invited .{1,80}?(?: to the group)?)\.?$",
)
NOTICE = re.compile(f"{DELETED.pattern}|{SYSTEM.pattern}")
# Notices that begin with a name.
NAMED = re.compile(
    r"^(.{1,40}?)(?:が(?:メッセージの送信を取り消しました|.{0,80}を招待しました|グループ|アルバム|ノート|通話|.{0,80}をアナウンスしました|写真を)|が?"
    r"(?:グループ)?を退会しました"
    r"| unsent a message| joined the | left the )"
)
# What is left of a call where no telephone sign stands before it.
CALL = re.compile(
    r"^(?:☎ ?)?(?:通話時間 ?\d+:\d\d(?::\d\d)?|通話をキャンセルしました|通話に応答がありませんでした|不在着信"
    r"|Call time \d+:\d\d(?::\d\d)?|Canceled call|Missed call|No answer)$"
)
# How far a phone's quoted message is looked through for its end.
AHEAD = 500


def looks_like_line(head: str) -> bool:
    """Whether the first lines of a text are LINE's."""
    lines = head.splitlines()[:3]
    return any(HEADER.search(line) for line in lines) or bool(
        lines and (DATE.match(lines[0].strip("\ufeff ")) and any(TIME.match(line) for line in lines[1:]))
    )


def read_line(path: Path) -> Iterator[ChatMessage]:
    """Messages of one LINE export, oldest first, a message at a time.

    On a desktop nothing but a space stands between name and text; names with spaces are recognised by always being
    written the same way.

    Raises
    ------
    PersonaError
        A time stands before any date, or a date or time is impossible; file and line are named.
    """
    form = _form(path)
    day: date | None = None
    current: ChatMessage | None = None
    with open_text(path) as stream:
        lines, waiting = lines_of(stream, path.name), deque()
        while (item := waiting.popleft() if waiting else next(lines, None)) is not None:
            number, line = item
            found = _date(line, form.month_first, path, number)
            if found:
                if current:
                    yield _finished(current, form.phone)
                day, current = found, None
                continue
            match = TIME.match(line)
            if match and not _is_message(match, form):
                match = None
            if not match:
                if current:
                    current.text += "\n" + line
                elif line.strip() and day is not None:
                    yield ChatMessage(datetime(day.year, day.month, day.day), "", line.strip(), "system")
                continue
            if day is None:
                if HEADER.search(line) or number <= 3:
                    continue
                raise PersonaError("a message stands before any date", "export the whole chat", path.name, number)
            if current:
                yield _finished(current, form.phone)
            current = _message(match, day, form.names, path, number)
            if form.phone and _is_open(current.text):
                current.text += _quoted(current.text, lines, waiting)
    if current:
        yield _finished(current, form.phone)


def _quoted(first: str, lines: Iterator[tuple[int, str]], waiting: deque[tuple[int, str]]) -> str:
    """The rest of a message that a phone has put in quotes: whatever stands inside is text, dates and times too.

    It ends at a line that ends in a quote and makes their number even. Where none does, the quote was the writer's, and
    nothing is taken. Lines that were looked at and not taken are left in ``waiting``.
    """
    quotes = first.count('"')
    for n in range(AHEAD):
        if n == len(waiting):
            if (item := next(lines, None)) is None:
                return ""
            waiting.append(item)
        quotes += waiting[n][1].count('"')
        if quotes % 2 == 0:
            ends = waiting[n][1].endswith('"')
            return "".join("\n" + waiting.popleft()[1] for _ in range(n + 1)) if ends else ""
    return ""


def _english_dates(match: re.Match[str]) -> list[tuple[bool, date]]:
    """What an English date can mean: (month first?, date), those of them that the weekday agrees with."""
    a, b, year = int(match[2]), int(match[3]), int(match[4]) - (543 if match[5] else 0)
    found = []
    for month_first, month, day in ((True, a, b), (False, b, a)):
        try:
            meant = date(year, month, day)
        except ValueError:
            continue
        if DAYS[meant.weekday()] == match[1]:
            found.append((month_first, meant))
    return found


def _date(line: str, month_first: bool, path: Path, number: int) -> date | None:
    text = line.strip()
    if english := DATE_ENGLISH.match(text):
        if meant := _english_dates(english):
            return next((day for first, day in meant if first == month_first), meant[0][1])
        a, b, year = int(english[2]), int(english[3]), int(english[4]) - (543 if english[5] else 0)
        month, day = (a, b) if (month_first and a <= 12) or b > 12 else (b, a)
    elif match := DATE.match(text):
        year, month, day = (int(group) for group in match.groups())
    else:
        return None
    try:
        return date(year, month, day)
    except ValueError as error:
        raise PersonaError(f"there is no date {text!r}", "export the chat again", path.name, number) from error


def _message(match: re.Match[str], day: date, names: list[str], path: Path, number: int) -> ChatMessage:
    before, hours, minutes, after, separator, rest = match.groups()
    # A phone may write the hour after midnight as 24.
    hour, half = int(hours) % 24 if hours == "24" else int(hours), (before or after or "").upper()
    if half in ("午後", "PM") and hour < 12:
        hour += 12
    if half in ("午前", "AM") and hour == 12:
        hour = 0
    try:
        at = datetime(day.year, day.month, day.day, hour, int(minutes))
    except ValueError as error:
        raise PersonaError(f"there is no time {hours}:{minutes}", "export the chat again", path.name, number) from error
    if separator == "\t":
        speaker, tab, text = rest.partition("\t")
        if not tab:  # two columns: a notice
            return ChatMessage(at, "", speaker, "system")
    else:
        speaker = next((name for name in names if rest.startswith(name + " ")), "") or rest.partition(" ")[0]
        text = rest[len(speaker) + 1 :]
        if not text or (SYSTEM.search(rest) and speaker not in names):
            return ChatMessage(at, "", rest, "system")
    return ChatMessage(at, speaker.strip(), text)


def _finished(message: ChatMessage, phone: bool) -> ChatMessage:
    """Take a phone's quotes off a message of several lines, and say what it is."""
    text = message.text.rstrip()
    if "\n" in text and text.startswith('"') and text.endswith('"'):
        text = text[1:-1].replace('""', '"').strip()
    without = EMOJI.sub("", text).strip()  # LINE's own pictures come out as this word
    message.text = text = without
    if message.kind == "text":
        if DELETED.search(text) and len(text) < 60:
            message.kind = "deleted"
        elif STICKER.match(text) or not text or (not phone and STICKER_DESKTOP.match(text)):
            message.kind = "sticker"
        elif MEDIA.match(text) or (not phone and MEDIA_DESKTOP.match(text)):
            message.kind = "media"
        elif not message.speaker or text.startswith(("☎", "ⓘ")) or CALL.match(text):
            message.kind = "system"
    elif DELETED.search(text):
        message.kind = "deleted"
    return message


def _is_open(text: str) -> bool:
    """Whether a phone's quoted message has begun and not ended; doubled quotes are quotes inside it."""
    return text.startswith('"') and text.count('"') % 2 == 1


def _is_message(match: re.Match[str], form: Form) -> bool:
    """Whether a line that begins with a time is a message, and not text that does: a phone puts a tab behind it, on a
    desktop somebody's name follows."""
    if form.phone or match.group(5) == "\t":
        return match.group(5) == "\t" or bool(NOTICE.search(match.group(6)))
    rest = match.group(6)
    return not form.names or any(rest.startswith(name + " ") for name in form.names) or bool(NOTICE.search(rest))


@dataclass(frozen=True)
class Form:
    """How an export is written. ``names``: a desktop export's speakers, longest first."""

    phone: bool
    names: list[str]
    month_first: bool


def _form(path: Path) -> Form:
    """Whether it is a phone's export, which way round its English dates are, and a desktop export's speakers: what
    messages begin with, lengthened while it is always followed by the same word, and whoever a notice names.

    A name that occurs once is a name in a short chat; in a long one it is one if its time fits between its neighbours',
    else it is text that begins with a time.
    """
    words: Counter[tuple[str, ...]] = Counter()
    n_lines, phone, named, votes = 0, False, set(), Counter()
    with open_text(path) as stream:
        for _, line in lines_of(stream, path.name):
            if english := DATE_ENGLISH.match(line.strip()):
                votes.update(first for first, _ in _english_dates(english))
            match = TIME.match(line)
            if not match:
                continue
            phone = phone or match.group(5) == "\t"
            n_lines += 1
            if NOTICE.search(match.group(6)):
                named |= {found[1] for found in [NAMED.match(match.group(6))] if found}
                continue
            parts = match.group(6).split(" ", 3)
            for n in range(1, min(3, len(parts) - 1) + 1):
                words[tuple(parts[:n])] += 1
    names, once = set(), set()
    for start, n in words.items():
        if len(start) > 1:
            continue
        if n < 2 and n_lines > 20:
            once |= set(start)
            continue
        names |= {" ".join(name) for name in _lengthened(start, words)}
    if once and not phone:
        names |= _seen_once(path, once)
    for whole in named:  # a notice says that Bob Smith is one name; then no Bob is there beside
        start = tuple(whole.split(" ")[:3])
        names -= {name for name in names if whole.startswith(name + " ") and words[(name,)] == words[start]}
    return Form(phone, sorted(names | (set() if phone else named), key=len, reverse=True), votes[True] >= votes[False])


def _lengthened(start: tuple[str, ...], words: Counter[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The names that a word begins: itself; with the next word if nearly always the same one follows; or several, where
    few words follow it often and hardly anything else does (山田 花子 and 山田 太郎)."""
    n = words[start]
    longer = {w: m for w, m in words.items() if w[:-1] == start and m >= 2}
    whole = [w for w, m in longer.items() if m >= 0.9 * n]
    if whole:
        return _lengthened(whole[0], words)
    often = {w: m for w, m in longer.items() if m >= max(5, 0.05 * n)}
    if 2 <= len(often) <= 5 and sum(often.values()) >= 0.95 * n:
        return [name for w in often for name in _lengthened(w, words)]
    return [start]


def _seen_once(path: Path, once: set[str]) -> set[str]:
    """Of words that begin a timed line once, those that may be names: the time lies between those around it."""
    found: set[str] = set()
    held: list[tuple[int, str]] = []
    last = -1
    with open_text(path) as stream:
        for _, line in lines_of(stream, path.name):
            if DATE.match(line.strip()) or DATE_ENGLISH.match(line.strip()):
                found |= {word for _, word in held}
                last, held = -1, []
            elif (match := TIME.match(line)) and not NOTICE.search(match[6]):
                half = (match[1] or match[4] or "").upper()
                at = int(match[2]) % 12 * 60 if half else int(match[2]) * 60
                at += int(match[3]) + (720 if half in ("午後", "PM") else 0)
                word = match[6].split(" ")[0]
                if word not in once:
                    found |= {name for when, name in held if when <= at}
                    last, held = at, []
                elif at >= (held[-1][0] if held else last):
                    held.append((at, word))
    return found | {word for _, word in held}
