"""LINE's text exports: from a phone (tabs) or a desktop (spaces), in Japanese or English.

No maintained parser covers them. The forms follow LINE's help pages and exports that people have published; LINE
documents none of it, and it changes with versions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

from persona_ft.chat.messages import ChatMessage, lines_of, open_text
from persona_ft.errors import PersonaError

HEADER = re.compile(r"\[LINE\]|LINE.{0,6}(?:トーク履歴|Chat history)|^(?:保存日時|Saved on)", re.I)
DATE = re.compile(r"^(\d{4})[./](\d{1,2})[./](\d{1,2})\s*(?:\(?[日月火水木金土]\)?(?:曜日)?|\(?[A-Za-z]{3,9}\.?\)?)?$")
DATE_ENGLISH = re.compile(r"^(?:[A-Z][a-z]{2,8}), ?(\d{1,2})/(\d{1,2})/(\d{4})$")
TIME = re.compile(r"^(午前|午後|AM|PM)?\s?(\d{1,2}):(\d{2})\s?(AM|PM|am|pm)?([\t ])(.*)$", re.S)
MEDIA = re.compile(
    r"^\[?(写真|動画|ファイル|ボイスメッセージ|位置情報|連絡先|アルバム|ノート|Photos?|Videos?|File|Voice message"
    r"|Location|Contact|Album|Note)\]?$"
)
STICKER = re.compile(r"^\[?(スタンプ|絵文字|Stickers?|Emoji)\]?$")
DELETED = re.compile(r"メッセージの送信を取り消しました|unsent a message")
SYSTEM = re.compile(
    r"(?:に参加しました|を退会しました|を招待しました|が退出しました|をグループに追加|を削除しました|アルバムを作成|アイコンを変更"
    r"|グループ名を|不在着信|応答なし|キャンセル|通話時間|joined the (?:group|chat)|left the (?:group|chat)|invited"
    r"|Call time|Missed call|No answer|Canceled)",
)


NOTICE = re.compile(f"{DELETED.pattern}|{SYSTEM.pattern}")


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
    phone, names = _form(path)
    day: date | None = None
    current: ChatMessage | None = None
    with open_text(path) as stream:
        for number, line in lines_of(stream, path.name):
            if current and phone and _is_open(current.text):  # a phone's quotes: whatever stands inside is text
                current.text += "\n" + line
                continue
            found = _date(line, path, number)
            if found:
                if current:
                    yield _finished(current)
                day, current = found, None
                continue
            match = TIME.match(line)
            if match and not _is_message(match, phone, names):
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
                yield _finished(current)
            current = _message(match, day, names, path, number)
    if current:
        yield _finished(current)


def _date(line: str, path: Path, number: int) -> date | None:
    match, order = DATE.match(line.strip()), (0, 1, 2)
    if not match:
        match, order = DATE_ENGLISH.match(line.strip()), (2, 0, 1)
    if not match:
        return None
    year, month, day = (int(match.groups()[i]) for i in order)
    if month > 12 >= day:
        month, day = day, month
    try:
        return date(year, month, day)
    except ValueError as error:
        raise PersonaError(f"there is no date {line.strip()!r}", "export the chat again", path.name, number) from error


def _message(match: re.Match[str], day: date, names: list[str], path: Path, number: int) -> ChatMessage:
    before, hours, minutes, after, separator, rest = match.groups()
    hour, half = int(hours), (before or after or "").upper()
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


def _finished(message: ChatMessage) -> ChatMessage:
    """Take a phone's quotes off a message of several lines, and say what it is."""
    text = message.text.rstrip()
    if "\n" in text and text.startswith('"') and text.endswith('"'):
        text = text[1:-1].replace('""', '"')
    message.text = text
    if message.kind == "text":
        if DELETED.search(text) and len(text) < 60:
            message.kind = "deleted"
        elif STICKER.match(text):
            message.kind = "sticker"
        elif MEDIA.match(text):
            message.kind = "media"
        elif not message.speaker or text.startswith("☎"):
            message.kind = "system"
    elif DELETED.search(text):
        message.kind = "deleted"
    return message


def _is_open(text: str) -> bool:
    """Whether a phone's quoted message has begun and not ended; doubled quotes are quotes inside it."""
    return text.startswith('"') and text.count('"') % 2 == 1


def _is_message(match: re.Match[str], phone: bool, names: list[str]) -> bool:
    """Whether a line that begins with a time is a message, and not text that does: a phone puts a tab behind it, on a
    desktop somebody's name follows."""
    if phone or match.group(5) == "\t":
        return match.group(5) == "\t" or bool(NOTICE.search(match.group(6)))
    rest = match.group(6)
    return not names or any(rest.startswith(name + " ") for name in names) or bool(NOTICE.search(rest))


def _form(path: Path) -> tuple[bool, list[str]]:
    """Whether it is a phone's export, and a desktop export's speakers: what messages begin with, lengthened while it is
    always followed by the same word. Longest first.

    A name that occurs once is a name in a short chat; in a long one it is more likely text that begins with a time.
    """
    words: Counter[tuple[str, ...]] = Counter()
    n_lines, phone = 0, False
    with open_text(path) as stream:
        for _, line in lines_of(stream, path.name):
            match = TIME.match(line)
            if not match:
                continue
            phone = phone or match.group(5) == "\t"
            n_lines += 1
            parts = match.group(6).split(" ", 3)
            for n in range(1, min(3, len(parts) - 1) + 1):
                words[tuple(parts[:n])] += 1
    names = []
    for start, n in words.items():
        if len(start) > 1 or (n < 2 and n_lines > 20):
            continue
        name = start
        while True:
            longer = [w for w, m in words.items() if w[:-1] == name and m == n >= 2]
            if not longer:
                break
            name = longer[0]
        names.append(" ".join(name))
    return phone, sorted(names, key=len, reverse=True)
