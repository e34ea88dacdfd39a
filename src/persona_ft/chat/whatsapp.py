"""WhatsApp's text exports: iOS and Android, any of the usual locales, 12 or 24 hours; a .txt, or the .zip around it.

The order of day and month is found in the file itself: a number above 12 can only be a day.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from persona_ft.chat.messages import ChatMessage, encoding_of, lines_of, open_text, open_zip
from persona_ft.errors import PersonaError

SPACE = "[ \u00a0\u202f]"
STAMP = re.compile(
    rf"^\[?(\d{{1,4}})[./-](\d{{1,2}})[./-](\d{{2,4}}),?{SPACE}+(午前|午後|AM|PM)?{SPACE}?"
    r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?"
    rf"(?:{SPACE}?([AaPp])\.?{SPACE}?[Mm]\.?)?(?:\]{SPACE}?|{SPACE}-{SPACE})(.*)$",
    re.S,
)
MEDIA = re.compile(
    r"^<?(?:Media omitted|メディアは含まれていません|メディアなし|Medien ausgeschlossen|Médias omis|Multimedia omitido"
    r"|attached: .*|添付ファイル: .*)>?$"
    r"|^(?:image|video|audio|GIF|document|Contact card) omitted$"
    r"|^(?:画像|動画|音声|文書|連絡先カード|GIF).{0,4}(?:は含まれていません|を除外|は除外されています)$"
    r"|^\S+\.(?:jpg|jpeg|png|mp4|opus|pdf|vcf|webp) \((?:file attached|ファイルが添付されています)\)$",
    re.I,
)
STICKER = re.compile(r"^(?:sticker omitted|ステッカーは含まれていません|ステッカー(?:を|は)除外.*)$", re.I)
DELETED = re.compile(
    r"^(?:This message was deleted|You deleted this message|このメッセージは削除されました"
    r"|(?:あなたは)?このメッセージを削除しました)\.?。?$",
    re.I,
)
EDITED = re.compile(r"\s*<(?:This message was edited|このメッセージは編集されました)>\s*$", re.I)


def looks_like_whatsapp(head: str) -> bool:
    """Whether one of the first lines begins with WhatsApp's date and time."""
    return any(STAMP.match(line.lstrip("\ufeff\u200e")) for line in head.splitlines()[:5])


def read_whatsapp(path: Path) -> Iterator[ChatMessage]:
    """Messages of one WhatsApp export, oldest first, a message at a time.

    Raises
    ------
    PersonaError
        The zip holds no chat, or a date is impossible; file and line are named.
    """
    if path.suffix.lower() == ".zip":
        with open_zip(path) as archive:
            inside = [m for m in archive.infolist() if m.filename.lower().endswith(".txt")]
            chats = [m for m in inside if "chat" in m.filename.lower()] or inside
            if not chats:
                raise PersonaError("the zip holds no chat as text", "export the chat again", path.name)
            member = max(chats, key=lambda m: m.file_size)
            with archive.open(member) as raw:
                encoding = encoding_of(raw, member.filename)
            with archive.open(member) as raw:
                first = _day_comes_first(lines_of(io.TextIOWrapper(raw, encoding=encoding), member.filename))
            with archive.open(member) as raw:
                text = io.TextIOWrapper(raw, encoding=encoding)
                yield from _messages(lines_of(text, member.filename), first, member.filename)
        return
    with open_text(path) as stream:
        first = _day_comes_first(lines_of(stream, path.name))
    with open_text(path) as stream:
        yield from _messages(lines_of(stream, path.name), first, path.name)


def _day_comes_first(lines: Iterator[tuple[int, str]]) -> bool:
    """Whether dates are day/month; month/day where a second number is above 12. Undecided: day first, as most do."""
    for _, line in lines:
        match = STAMP.match(line)
        if match and len(match[1]) <= 2:
            if int(match[1]) > 12:
                return True
            if int(match[2]) > 12:
                return False
    return True


def _messages(lines: Iterator[tuple[int, str]], day_first: bool, name: str) -> Iterator[ChatMessage]:
    current: ChatMessage | None = None
    for number, line in lines:
        match = STAMP.match(line)
        if not match:
            if current:
                current.text += "\n" + line
            elif line.strip():
                raise PersonaError("a line stands before any message", "export the chat again", name, number)
            continue
        if current:
            yield _finished(current)
        speaker, colon, text = match[9].partition(": ")
        if not colon and match[9].endswith(":"):
            speaker, colon = match[9][:-1], ":"
        at = _time(match, day_first, name, number)
        current = ChatMessage(at, speaker.lstrip("~ "), text) if colon else ChatMessage(at, "", match[9], "system")
    if current:
        yield _finished(current)


def _time(match: re.Match[str], day_first: bool, name: str, number: int) -> datetime:
    a, b, c = int(match[1]), int(match[2]), int(match[3])
    if len(match[1]) == 4:
        year, month, day = a, b, c
    else:
        day, month = (a, b) if day_first else (b, a)
        year = c + 2000 if c < 100 else c
    hour = int(match[5])
    half = (match[4] or "").replace("午前", "A").replace("午後", "P")[:1] or (match[8] or "").upper()
    if half == "P" and hour < 12:
        hour += 12
    if half == "A" and hour == 12:
        hour = 0
    try:
        return datetime(year, month, day, hour, int(match[6]), int(match[7] or 0))
    except ValueError as error:
        raise PersonaError("there is no such date or time", "export the chat again", name, number) from error


def _finished(message: ChatMessage) -> ChatMessage:
    text = EDITED.sub("", message.text).strip()
    message.text = text
    if message.kind == "text":
        if DELETED.match(text):
            message.kind = "deleted"
        elif STICKER.match(text):
            message.kind = "sticker"
        elif MEDIA.match(text):
            message.kind = "media"
        elif "end-to-end encrypted" in text or "エンドツーエンド" in text:
            message.kind = "system"
    return message
