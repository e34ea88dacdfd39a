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
    rf"^{MARK}?\[?(\d{{4}}(?=[./-]{SPACE}?\d{{1,2}}[./-]{SPACE}?\d{{1,2}}(?!\d))|\d{{1,2}})[./-]{SPACE}?"
    rf"(\d{{1,2}})[./-]{SPACE}?"
    rf"(R?\d{{1,4}})(?:{SPACE}?BE)?\.?,?(?:{SPACE}(?:à|klo|um|at))?{SPACE}+"
    rf"(午前|午後|上午|下午|오전|오후|AM|PM)?{SPACE}?(\d{{1,2}})[:.](\d{{2}})(?:[:.](\d{{2}}))?"
    rf"(?:{SPACE}?([AaPp])\.?{SPACE}?[Mm]\.?)?(?:\]{SPACE}?|\.?{SPACE}-{SPACE}|:{SPACE})(.*)$",
    re.S,
)
# A line that begins like a message, in whatever form: if many of them are not understood, the export is not.
LIKE_STAMP = re.compile(
    rf"^{MARK}?\[?\w{{1,4}}[./-]{SPACE}?\w{{1,4}}[./-]{SPACE}?\w{{1,4}}[^\n:]{{1,12}}\d{{1,2}}[:.]\d{{2}}"
    rf"[^\n]{{0,16}}?(?:\]|{SPACE}-{SPACE})[^\n:]{{1,60}}: "
)
# What stands for a photo and the like: whole lines, since "that part was omitted" is somebody's words.
MEDIA_NOUNS_AND_VERBS = (
    ("image|photo|video|audio|GIF|document|contact card|(?:view once )?media|video note|voice message", "omitted"),
    ("Bild|Video|Audio|GIF|Dokument|Kontaktkarte|Medien", "weggelassen|ausgelassen|ausgeschlossen"),
    ("image|vidéo|audio|GIF|document|fiche contact|carte de contact|médias?", "absente?|omi(?:s|se|ses)"),
    ("imagen|vídeo|video|audio|GIF|documento|tarjeta de contacto|multimedia|archivo", "omitid[oa]s?"),
    (
        "imagem|vídeo|áudio|GIF|documento|cartão de contato|mídia|arquivo de mídia",
        "ocultad[oa]s?|ocult[oa]s?|omitid[oa]s?",
    ),
    ("immagine|video|audio|GIF|documento|media", "omess[oaie]"),
    ("afbeelding|video|audio|GIF|document|contactkaart|media", "weggelaten"),
    ("изображение|видео|аудио|GIF|документ", "отсутствует|пропущен[оа]?"),
    ("görüntü|video|ses|GIF|belge|medya", "dahil edilmedi"),
)
MEDIA_JA = (
    "(?:画像|写真|ビデオ|動画|音声|オーディオ|GIF|ドキュメント|文書|連絡先カード|メディア|ファイル)(?:[はがを])?"
    "(?:含まれていません|省略(?:されました)?|除外(?:され(?:ています|ました))?|非表示|なし)"
    "|(?:사진|동영상|오디오|GIF|문서|미디어 파일)(?:을|를)? ?생략(?:됨|한 파일)?"
    "|(?:圖像|图像|圖片|图片|影片|视频|音訊|音频|GIF|文件|媒體|媒体)(?:已)?(?:略去|省略|忽略|遺漏)|(?:省略|忽略)多?媒[體体](?:文件|檔案)?"
)
_OMITTED = "|".join(f"(?:{nouns}) (?:{verbs})" for nouns, verbs in MEDIA_NOUNS_AND_VERBS)
FILE = "jpe?g|png|mp4|opus|pdf|vcf|webp|gif|m4a|docx?|xlsx?|pptx?|zip|txt|mov|3gp|aac|mp3|heic"
MEDIA = re.compile(
    rf"^[<‹]?(?:{_OMITTED}|{MEDIA_JA}|Без медиафайлов|null)[>›]?$|^[^\n]+(?: • [^\n]+|\.\w{{2,5}}) document omitted$"
    r"|[<‹](?:attached|添付(?:ファイル)?|Anhang|adjunto|anexado|anexo|allegato|bijlage"
    r"|pièce jointe) ?: [^\n]*[>›]"
    rf"|^[^\n]{{1,120}}\.(?:{FILE})\b[^\n]{{0,20}} \((?:file attached|archivo adjunto|arquivo anexado"
    rf"|fichier joint|file allegato|bestand bijgevoegd"
    r"|添付ファイル|ファイルが添付されています|Datei angehängt)\)|^(?:POLL:|Location: https?://"
    r"|live location shared)",
    re.I,
)
STICKER = re.compile(
    r"^[<‹]?(?:(?:sticker|figurinha|Çıkartma|стикер)\s(?:omitted|weggelassen|ausgelassen|absent|omis|omitido"
    r"|omitida|omesso|weggelaten"
    r"|dahil edilmedi|отсутствует)|(?:ステッカー|スタンプ)(?:[はがを])?(?:含まれていません|省略(?:されました)?"
    r"|除外(?:され(?:ています|ました))?)"
    r"|스티커(?:을|를)? ?생략(?:됨)?|[貼贴][圖图](?:已)?(?:略去|省略|忽略|遺漏))[>›]?$",
    re.I,
)
DELETED = re.compile(
    r"^(?:This message was deleted|You deleted this message|このメッセージは削除されました"
    r"|(?:あなたは)?このメッセージを削除しました|Diese Nachricht wurde gelöscht|Du hast diese Nachricht gelöscht"
    r"|Ce message a été supprimé|Vous avez supprimé ce message|Se eliminó este mensaje|Eliminaste este mensaje"
    r"|Mensagem apagada"
    r"|Essa mensagem foi apagada|Você apagou esta mensagem|Questo messaggio è stato eliminato"
    r"|Hai eliminato questo messaggio"
    r"|Dit bericht is verwijderd|삭제된 메시지입니다|此訊息已刪除|此消息已删除)\.?。?$",
    re.I,
)
CALL = re.compile(
    r"^Waiting for this message\.|^このメッセージを待っています|^(?:Voice|Video|Group) call(?:[.,]| \()[^\n]{0,40}$"
    r"|^(?:Missed (?:voice|video|group)|Verpasster? |(?:音声|ビデオ|グループ)?(?:通話)?(?:の)?不在着信|Appel "
    r"(?:vocal|vidéo) manqué"
    r"|(?:Videol|L)lamada (?:de voz |de grupo )?perdida|Chamada de (?:voz|vídeo) perdida)",
    re.I,
)
NOTICE = re.compile(
    r"^[^:]{1,40} (?:changed (?:the |this |their |to )|created (?:this |the )?group|added |removed |left$"
    r"|joined using"
    r"|pinned )"
)
EDITED = re.compile(
    r"\s*<(?:This message was edited|このメッセージは編集されました|Diese Nachricht wurde bearbeitet"
    r"|Se editó este mensaje"
    r"|Ce message a été modifié|Mensagem editada|Questo messaggio è stato modificato)\.?>\s*$",
    re.I,
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
                first = _day_comes_first(
                    lines_of(io.TextIOWrapper(raw, encoding=encoding), member.filename, MARK), member.filename
                )
            with archive.open(member) as raw:
                text = io.TextIOWrapper(raw, encoding=encoding)
                yield from _messages(lines_of(text, member.filename, MARK), first, member.filename)
        return
    with open_text(path) as stream:
        first = _day_comes_first(lines_of(stream, path.name, MARK), path.name)
    with open_text(path) as stream:
        yield from _messages(lines_of(stream, path.name, MARK), first, path.name)


def _day_comes_first(lines: Iterator[tuple[int, str]], name: str) -> bool:
    """Whether dates are day/month: a number above 12 can only be a day; else the order in which time does not run
    backwards; else the order in which the chat is shorter; else day first, as most countries write it.

    Raises
    ------
    PersonaError
        Many lines begin with a date and time in a form that is not known: they would be taken for text.
    """
    backwards, last, reach = [0, 0], [(0, 0, 0), (0, 0, 0)], [set(), set()]
    n_messages = n_strange = strange_at = 0
    decided: bool | None = None
    for number, line in lines:
        match = STAMP.match(line)
        if not match:
            if LIKE_STAMP.match(line):
                n_strange, strange_at = n_strange + 1, strange_at or number
            continue
        n_messages += 1
        if decided is not None or len(match[1]) > 2:
            continue
        a, b = int(match[1]), int(match[2])
        if max(a, b) > 12:
            decided = a > 12
            continue
        for i, now in enumerate(((_year(match[3]), b, a), (_year(match[3]), a, b))):
            backwards[i] += now < last[i]
            last[i] = now
            reach[i] = {min({now} | reach[i]), max({now} | reach[i])}
    if n_strange > max(2, n_messages / 5):
        raise PersonaError(
            f"{n_strange:,} lines begin with a date and time of a form that is not known",
            "export the chat with the phone set to English, or make a CSV of it with columns time, speaker and text",
            name,
            strange_at,
        )
    if decided is not None:
        return decided
    if backwards[0] != backwards[1] or not reach[0]:
        return backwards[0] <= backwards[1]
    spans = [max(r)[0] * 372 + max(r)[1] * 31 + max(r)[2] - min(r)[0] * 372 - min(r)[1] * 31 - min(r)[2] for r in reach]
    return spans[0] <= spans[1]


def _year(text: str) -> int:
    """The year of a stamp: two digits, Reiwa (R6 is 2024), or the Buddhist era (2567 is 2024)."""
    if text.startswith("R"):
        return 2018 + int(text[1:])
    year = int(text)
    return year + 2000 if year < 100 else year - 543 if year > 2400 else year


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
            current = ChatMessage(at, speaker.replace(MARK, "").lstrip("~ \u00a0\u202f"), text.replace(MARK, ""), kind)
    if current:
        yield _finished(current)


def _time(match: re.Match[str], day_first: bool, name: str, number: int) -> datetime:
    a, b = int(match[1]), int(match[2])
    if len(match[1]) == 4:
        year, month, day = _year(match[1]), b, int(match[3])
    else:
        day, month = (a, b) if day_first else (b, a)
        year = _year(match[3])
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
        if re.search(r"end-to-end encrypted|エンドツーエンド|^Your security code with .* changed", text):
            message.kind = "system"
    return message
