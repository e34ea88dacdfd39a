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

HALVES = {ord(a): b for a, b in zip("前後上下", "APAP", strict=True)} | {
    ord("午"): None,
    ord("오"): None,
    ord("전"): "A",
    ord("후"): "P",
}
SPACE = "[ \u00a0\u202f]"
# What a phone writes itself begins with a left-to-right mark (on iOS).
MARK = "\u200e"
STAMP = re.compile(
    rf"^{MARK}?\[?(\d{{1,4}})[./-]{SPACE}?(\d{{1,2}})[./-]{SPACE}?(\d{{2,4}})\.?,?(?:{SPACE}(?:à|klo|um|at))?{SPACE}+"
    rf"(午前|午後|上午|下午|오전|오후|AM|PM)?{SPACE}?(\d{{1,2}})[:.](\d{{2}})(?:[:.](\d{{2}}))?"
    rf"(?:{SPACE}?([AaPp])\.?{SPACE}?[Mm]\.?)?(?:\]{SPACE}?|{SPACE}-{SPACE})(.*)$",
    re.S,
)
OMITTED = (
    "omitted|weggelassen|ausgeschlossen|oculta|ocultado|omess[io]|omitid[oa]|omis(?:es?)?"
    "|非表示|含まれていません|除外(?:されています)?"
)
MEDIA = re.compile(
    rf"^[<‹]?[^\n]{{0,30}}(?:{OMITTED})[>›]?$|^<?(?:attached: |添付ファイル: )[^\n]*>?$|^メディアなし$"
    r"|^\S+\.(?:jpe?g|png|mp4|opus|pdf|vcf|webp|gif|m4a|docx?)\b[^\n]*"
    r"\((?:file attached|ファイルが添付されています|Datei angehängt)\)"
    r"|^(?:POLL:|Location: https?://|live location shared)",
    re.I,
)
STICKER = re.compile(rf"^[<‹]?(?:sticker|ステッカー)[^\n]{{0,10}}(?:{OMITTED})[>›]?", re.I)
DELETED = re.compile(
    r"^(?:This message was deleted|You deleted this message|このメッセージは削除されました"
    r"|(?:あなたは)?このメッセージを削除しました|Diese Nachricht wurde gelöscht|Du hast diese Nachricht gelöscht"
    r"|Ce message a été supprimé|Se eliminó este mensaje|Mensagem apagada|Questo messaggio è stato eliminato)\.?。?$",
    re.I,
)
CALL = re.compile(r"^(?:Missed (?:voice|video|group)|Verpasster? |不在着信|Appel (?:vocal|vidéo) manqué)", re.I)
NOTICE = re.compile(
    r"^[^:]{1,40} (?:changed (?:the |this |their |to )|created (?:this |the )?group|added |removed |left$|joined using"
    r"|pinned )"
)
EDITED = re.compile(
    r"\s*<(?:This message was edited|このメッセージは編集されました|Diese Nachricht wurde bearbeitet)\.?>\s*$", re.I
)


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
                first = _day_comes_first(lines_of(io.TextIOWrapper(raw, encoding=encoding), member.filename, MARK))
            with archive.open(member) as raw:
                text = io.TextIOWrapper(raw, encoding=encoding)
                yield from _messages(lines_of(text, member.filename, MARK), first, member.filename)
        return
    with open_text(path) as stream:
        first = _day_comes_first(lines_of(stream, path.name, MARK))
    with open_text(path) as stream:
        yield from _messages(lines_of(stream, path.name, MARK), first, path.name)


def _day_comes_first(lines: Iterator[tuple[int, str]]) -> bool:
    """Whether dates are day/month: a number above 12 can only be a day; else the order in which time does not run
    backwards; else day first, as most countries write it."""
    backwards, last = [0, 0], [(0, 0, 0), (0, 0, 0)]
    for _, line in lines:
        match = STAMP.match(line)
        if not match or len(match[1]) > 2:
            continue
        a, b, year = int(match[1]), int(match[2]), int(match[3])
        if a > 12:
            return True
        if b > 12:
            return False
        for i, now in enumerate(((year, b, a), (year, a, b))):
            backwards[i] += now < last[i]
            last[i] = now
    return backwards[0] <= backwards[1]


def _messages(lines: Iterator[tuple[int, str]], day_first: bool, name: str) -> Iterator[ChatMessage]:
    current: ChatMessage | None = None
    for number, line in lines:
        match = STAMP.match(line)
        if not match:
            if current:
                current.text += "\n" + line.replace(MARK, "")
            elif line.strip():
                raise PersonaError("a line stands before any message", "export the chat again", name, number)
            continue
        if current:
            yield _finished(current)
        speaker, colon, text = match[9].partition(": ")
        if not colon and match[9].endswith(":"):
            speaker, colon = match[9][:-1], ":"
        at = _time(match, day_first, name, number)
        if not colon or NOTICE.search(match[9].split(": ")[0]) or NOTICE.search(match[9]):
            current = ChatMessage(at, "", match[9].replace(MARK, ""), "system")
        else:
            # What is written behind the mark is the phone's, not the speaker's: a photo, a call, a notice.
            kind = "system" if text.startswith(MARK) else "text"
            current = ChatMessage(at, speaker.replace(MARK, "").lstrip("~ "), text.replace(MARK, ""), kind)
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
    half = (match[4] or "").translate(HALVES)[:1] or (match[8] or "").upper()
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
    if message.speaker:
        for pattern, kind in ((DELETED, "deleted"), (STICKER, "sticker"), (MEDIA, "media"), (CALL, "system")):
            if pattern.search(text):
                message.kind = kind
                return message
        if "end-to-end encrypted" in text or "エンドツーエンド" in text:
            message.kind = "system"
    return message
