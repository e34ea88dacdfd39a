"""WhatsApp's text exports: iOS and Android, any of the usual locales, 12 or 24 hours; a .txt, or the .zip around it.

The order of day, month and year is found in the file itself: a number above 12 can be no month.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from persona_ft.chat.exports import ORDERS
from persona_ft.chat.messages import INVISIBLE, ChatMessage, Source, hour_of, lines_of, open_text
from persona_ft.errors import PersonaError

SPACE = r"[^\S\n]"
# What a phone writes itself begins with a left-to-right mark: on iOS, whose stamps are in brackets, and only there.
MARK = "\u200e"
WORD = rf"[^\d\s\[\]:,،/-]{{1,12}}(?:{SPACE}[^\d\s\[\]:,/.-]{{1,3}}\.)?"
STAMP = re.compile(
    rf"^{MARK}?(\[)?(\d{{4}}"
    rf"|\d{{1,2}}){SPACE}?[./年년-]{SPACE}?(\d{{1,2}}){SPACE}?[./月월-]{SPACE}?(R?\d{{1,4}})[日일]?"
    rf"(?:{SPACE}?(?:BE|هـ|م))?\.?[,،]?{SPACE}+(?:({WORD}?){SPACE}?)?(\d{{1,2}})[:.](\d{{2}})(?:[:.](\d{{2}}))?"
    rf"(?:{SPACE}?({WORD}))?(?:\]{SPACE}?|{SPACE}[-–]{SPACE}|:{SPACE})(.*)$",
    re.S,
)
# What stands between date and time and is no half of the day.
AT = ("à", "um", "às", "as", "kl", "klo", "kello", "at", "a", "alle", "o", "om", "w", "в", "do", "la", "las")
# A line that begins like a message, in whatever form: if many of them are not understood, the export is not.
LIKE_STAMP = re.compile(
    rf"^{MARK}?\[?(?:\w{{2,9}},? )?\w{{1,4}}(?:[./-]{SPACE}?\w{{1,4}}){{2}}[^\n:]{{1,12}}\d{{1,2}}[:.h]\d{{2}}"
    rf"[^\n]{{0,16}}?(?:\]|{SPACE}-{SPACE})[^\n:]{{1,60}}: "
)
# What stands for a photo and the like: whole lines, since "that part was omitted" is somebody's words.
NOUNS = (
    "image|photo|video(?: note)?|audio|GIF|document|contact card|(?:view once )?media|voice message"
    "|Bild|Dokument|Kontaktkarte"
    "|Medien|vidéo|fiche contact|carte de contact|médias?|imagen|vídeo|documento|tarjeta de contacto"
    "|multimedia|archivo|imagem"
    "|áudio|cartão de contato|mídia|arquivo de mídia|immagine|afbeelding|contactkaart|изображение|видео|аудио|документ"
    "|görüntü|ses|belge|medya|画像|写真|ビデオ|動画|音声|オーディオ|ドキュメント|文書|連絡先カード"
    "|メディア|ファイル|사진|동영상|오디오|문서"
    "|미디어 파일|圖像|图像|圖片|图片|影片|视频|音訊|音频|文件|媒體|媒体"
)
VERBS = (
    "omitted|(?:weg|aus)gelassen|ausgeschlossen|absente?|omi(?:s|se|ses)|omitid[oa]s?"
    "|ocult(?:ad)?[oa]s?|omess[oaie]|weggelaten"
    "|отсутствует|пропущен[оа]?|dahil edilmedi|含まれていません|省略(?:されました)?"
    "|除外(?:され(?:ています|ました))?|非表示|なし|생략(?:됨|한 파일)?"
    "|已?(?:略去|省略|忽略|遺漏)"
)
FILE = "jpe?g|png|mp4|opus|pdf|vcf|webp|gif|m4a|docx?|xlsx?|pptx?|zip|txt|mov|3gp|aac|mp3|heic"
# Whatever language the phone speaks: a whole line in <…> or ‹…>.
ANGLED = re.compile(r"^[<‹][^<>‹›\n]{2,100}[>›]$")
MEDIA = re.compile(
    rf"^(?:(?:{NOUNS})[はがを을를]?\s?(?:{VERBS})|(?:省略|忽略)多?媒[體体](?:文件|檔案)?|null)$"
    rf"|^[^\n]+(?: • [^\n]+|\.\w{{2,5}}) document omitted$",
    re.I,
)
POLL = re.compile(r"POLL:|Location: https?://|live location shared", re.I)
# What stands in a message's place is no longer than this.
LONGEST = 300
# A file and, behind or below it, the caption: IMG-20240115-WA0001.jpg (file attached) has that form in any language.
ATTACHED = re.compile(
    rf"{MARK}?[<‹](?:attached|添付(?:ファイル)?|Anhang|adjunto|anexado|anexo|allegato|bijlage|pièce jointe|附件|첨부"
    rf"|eklendi|załącznik|вложение|bifogad|vedhæftet|vedlagt|مرفق|liite|příloha|terlampir|ekli) ?: ?[^\n<>‹›]*[>›]"
    rf"|^{MARK}?(?:[A-Z]{{3}}-\d[\w-]*\.\w{{2,5}} \([^()\n]{{3,40}}\)|[^\n]{{1,120}}\.(?:{FILE}) \((?:file attached"
    r"|archivo adjunto|ar(?:ch|qu)ivo anexado|ficheiro anexado|fichier joint|file allegato|bestand bijgevoegd"
    r"|添付ファイル|ファイルが添付されています"
    r"|Datei angehängt|dosya ekli|plik załączony|файл добавлен|bifogad fil|fil vedhæftet"
    r"|fil vedlagt|tiedosto liitetty|soubor byl přiložen|fájl csatolva|fișier atașat|berkas terlampir"
    r"|文件附件|附件|파일 첨부됨|الملف مرفق))\)?$",
    re.I | re.M,
)
STICKER = re.compile(
    rf"^[<‹]?(?:sticker|figurinha|Çıkartma|стикер|ステッカー|スタンプ|스티커"
    rf"|[貼贴][圖图])[はがを을를]?\s?(?:{VERBS})[>›]?$",
    re.I,
)
# What stands for a message that was deleted: whole messages, as phones write them for others' and for one's own.
DELETED = re.compile(
    r"^(?:This message was deleted|You deleted this message|このメッセージは削除されました"
    r"|(?:あなたは)?このメッセージを削除しました"
    r"|Diese Nachricht wurde gelöscht|Du hast diese Nachricht gelöscht|Ce message a été supprimé"
    r"|Vous avez supprimé ce message|Tu as supprimé ce message|(?:Se eliminó|Eliminaste) este mensaje"
    r"|Este mensaje fue eliminado|Has eliminado este mensaje|Mensagem (?:apagada|eliminada)"
    r"|Ess?t?a mensagem foi (?:apagada|eliminada)|(?:Você )?(?:apagou|apagaste|eliminou|eliminaste) esta mensagem"
    r"|Questo messaggio è stato eliminato|Hai eliminato questo messaggio|Dit bericht is verwijderd"
    r"|(?:Je|U) hebt dit bericht verwijderd|Bu mesaj silindi|Bu mesajı sildiniz|Ta wiadomość została usunięta"
    r"|(?:Ta wiadomość )?Usunięto tę wiadomość|Usunąłeś\(ęłaś\) tę wiadomość|Usunięta wiadomość"
    r"|(?:Данное|Это) сообщение удалено"
    r"|Вы удалили (?:данное|это) сообщение|Це повідомлення (?:було )?видалено|Ви видалили це повідомлення"
    r"|Det(?:ta)? (?:här )?meddelande(?:t)? (?:har raderats|togs bort|raderades)"
    r"|Du (?:raderade|tog bort) (?:det här )?meddelandet"
    r"|Denne (?:besked|meldingen|beskeden) (?:blev|ble) slettet|Du slettede denne besked|Du slettet denne meldingen"
    r"|Tämä viesti poistettiin|(?:Sinä )?poistit tämän viestin|Tato zpráva byla (?:smazána|odstraněna)"
    r"|(?:Tuto zprávu jste smazal\(a\)|Smazali jste tuto zprávu)|Ezt az üzenetet törölték|Törölted ezt az üzenetet"
    r"|Ez az üzenet törölve lett|Acest mesaj a fost șters|Ai șters acest mesaj|Pesan ini (?:telah )?dihapus"
    r"|Anda (?:telah )?menghapus pesan ini|Tin nhắn này đã bị xóa|Bạn đã xóa tin nhắn này"
    r"|ข้อความนี้ถูกลบแล้ว|คุณลบข้อความนี้แล้ว"
    r"|Αυτό το μήνυμα διαγράφηκε|Διαγράψατε αυτό το μήνυμα|تم حذف هذه الرسالة|(?:لقد )?(?:حذفت|قمت بحذف) هذه الرسالة"
    r"|הודעה זו נמחקה"
    r"|מחקת הודעה זו|यह मैसेज (?:मिटाया|डिलीट किया) गया है|यह संदेश मिटाया गया था|삭제된 메시지입니다"
    r"|이 메시지를 삭제했습니다|이 메시지는 삭제되었습니다"
    r"|[此這这]?[則条條]?[訊消]息已(?:被)?[刪删]除|[您你]已?[刪删]除(?:了)?[此這这][則条條]?[訊消]息)[.。]?$",
    re.I,
)
CALL = re.compile(
    r"^Waiting for this message\.|^このメッセージを待っています|^(?:Voice|Video|Group) call(?:[.,]| \()[^\n]{0,40}$"
    r"|^(?:Missed (?:voice|video|group)|Verpasster? |(?:音声|ビデオ|グループ)?(?:通話)?(?:の)?不在着信|Appel "
    r"(?:vocal|vidéo) manqué"
    r"|(?:Videol|L)lamada (?:de voz |de grupo )?perdida|Chamada de (?:voz|vídeo) perdida)",
    re.I,
)
# Android's notices have no colon behind a name, but may have one in them.
NOTICE = re.compile(
    r"^[^:]{1,40} (?:changed (?:the |this |their |to )|created (?:this |the )?group|added |removed |left$"
    r"|joined using"
    r"|pinned )"
)
# The note behind a message that was edited, told by the word for it in the languages of the app.
EDITED = re.compile(
    rf"\s*{MARK}?[<‹](?=[^<>‹›\n]*(?:edited|編集|编辑|編輯|bearbeitet|edit(?:ó|ado|ada|ato|at\b"
    rf"|at[aă])|modifi(?:é|cato)|bewerkt"
    r"|düzenlendi|edytowan|измен[её]н|отредактирован|відредагован|змінен|redigerat|redigerades|redigeret"
    r"|redigert|muokattiin"
    r"|muokattu|upraven|szerkeszt|diedit|chỉnh sửa|แก้ไข|επεξεργα|تعديل|נערכה|एडिट|संपादित|수정|diubah|disunting))"
    rf"[^<>‹›\n]{{4,60}}[>›]\s*$",
    re.I,
)
# Of a text behind the mark that is no placeholder: a sentence of the app's own.
SENTENCE = re.compile(r"[.。]$|^\W*(?:\S+\s+){5}")
BY_THE_APP = re.compile(r"end-to-end encrypted|エンドツーエンド|^Your security code with .* changed")
QUOTES = re.compile('["“”„«»「」]')
# A piece of another chat that somebody put into a message goes back in time by more than this, for at most so many
# lines.
BACK_MINUTES, PIECE = 10, 20


def looks_like_whatsapp(head: str) -> bool:
    """Whether one of the first lines begins with WhatsApp's date and time, and a name."""
    lines = (INVISIBLE.sub("", line) for line in head.splitlines())
    stamps = ((line, STAMP.match(line)) for line in lines)
    return any((m and (":" in m[10] or not m[1])) or LIKE_STAMP.match(line) for line, m in stamps)


def read_whatsapp(path: Source, order: str = "") -> Iterator[ChatMessage]:
    """Messages of one WhatsApp export, oldest first, a message at a time.

    Parameters
    ----------
    order : how dates are meant, ``dmy``, ``mdy`` or ``ymd``, where it is known; else it is found in the file.

    Raises
    ------
    PersonaError
        A date is impossible, or the form of the stamps is not known; file and line are named.
    """
    with open_text(path) as stream:
        found = _survey(lines_of(stream, path.name, MARK), path.name, (order,) if order else tuple(ORDERS))
    with open_text(path) as stream:
        yield from _messages(lines_of(stream, path.name, MARK), found, path.name)


@dataclass
class Survey:
    """What a first reading finds: the order of day, month and year, how often a name stands before a colon (and a
    space), and who has written in the order of time at least once."""

    order: str
    names: Counter[str]
    loose: Counter[str]
    in_time: set[str]

    def split(self, rest: str) -> tuple[str, str]:
        """(speaker, text) of what stands behind a stamp; no speaker where it is a notice."""
        name, colon, text = rest.partition(": ")
        short, tight, after = rest.partition(":")
        # Mia:text has no space; a text may hold ": " further on.
        if tight and len(short) < len(name) and self.names[_bare(short)] > self.loose[_bare(name)]:
            name, colon, text = short, tight, after
        name, bare = _bare(name), _bare(rest)
        if not colon or NOTICE.search(name) or NOTICE.search(bare) or (QUOTES.search(name) and self.loose[name] < 3):
            return "", bare
        return name, text


def _bare(text: str) -> str:
    return text.replace(MARK, "")


def _survey(lines: Iterator[tuple[int, str]], name: str, orders: Iterable[str]) -> Survey:
    """Read once. Dates are in the order that is possible for all of them; else in that in which time does not run
    backwards; else in that in which the chat is shorter; else day first, as most countries write it.

    Raises
    ------
    PersonaError
        Many lines begin with a date and time in a form that is not known: they would be taken for text.
    """
    names, loose = Counter[str](), Counter[str]()
    clocks = {order: Clock() for order in orders}
    n_messages = n_strange = strange_at = 0
    for number, line in lines:
        match = STAMP.match(line)
        hour = _hour(*match.group(6, 5, 9)) if match else None
        if hour is None:
            if match or LIKE_STAMP.match(line):
                n_strange, strange_at = n_strange + 1, strange_at or number
            continue
        n_messages += 1
        rest = _bare(match[10])
        speaker, colon, text = rest.partition(":")
        # A time or an address in a notice is no colon behind a name.
        if colon and len(speaker) <= 60 and not re.match(r"//|\d", text):
            names[speaker] += 1
            loose[rest.partition(": ")[0]] += ": " in rest
        for order, clock in list(clocks.items()):
            date = _day(*match.group(2, 3, 4), order)
            if (date[1] > 12 or date[2] > 31) and len(clocks) > 1:
                del clocks[order]
            elif clock.goes_on(date, hour * 60 + int(match[7])) and colon:
                clock.in_time.add(speaker)
    if n_strange > max(2, n_messages / 5) or (n_strange and not n_messages):
        raise PersonaError(
            f"{n_strange:,} lines begin with a date and time of a form that is not known",
            "export the chat with the phone set to English, or make a CSV of it with columns time, speaker and text",
            name,
            strange_at,
        )
    order = min(clocks, key=lambda order: (clocks[order].backwards, clocks[order].high - clocks[order].low))
    return Survey(order, names, loose, clocks[order].in_time)


class Clock:
    """Whether messages follow each other in time. One that does not may be a piece of another chat, pasted into one."""

    def __init__(self) -> None:
        self.last = self.behind = self.backwards = self.day = self.high = 0
        self.low, self.in_time = 10**9, set[str]()

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


@lru_cache(maxsize=1000)
def _hour(hour: str, before: str | None, after: str | None) -> int | None:
    """The hour of a stamp, with the words around its time; None where they are not known."""
    said = re.sub(r"[.\s]", "", before or "").casefold()
    try:
        return hour_of(int(hour), after or ("" if said in AT else said))
    except ValueError:
        return None


@lru_cache(maxsize=1000)
def _day(a: str, b: str, c: str, order: str) -> tuple[int, int, int]:
    """Year, month and day of a stamp, possible or not. A year may be of Reiwa (R6) or of the Buddhist era (2567)."""
    year, month, day = ((a, b, c)[place] for place in ORDERS["ymd" if len(a) == 4 else order])
    n = int(year.lstrip("R"))
    n += 2018 if year.startswith("R") else 2000 if n < 100 else -543 if n > 2400 else 0
    return n, int(month), int(day.lstrip("R"))


def _messages(lines: Iterator[tuple[int, str]], found: Survey, name: str) -> Iterator[ChatMessage]:
    current: ChatMessage | None = None
    texts: list[str] = []
    clock, early, pasted, ios = Clock(), [], False, False
    for number, line in lines:
        match = STAMP.match(line)
        hour = _hour(*match.group(6, 5, 9)) if match else None
        if hour is not None:
            day = _day(*match.group(2, 3, 4), found.order)
            speaker, text = found.split(match[10])
            goes_on = clock.goes_on(day, hour * 60 + int(match[7]))
            stranger = speaker != "" and speaker.split(":")[0] not in found.in_time
            pasted = current is not None and not goes_on and (pasted or stranger)
        if hour is None or pasted:
            (texts if current else early).append(line)
            continue
        if current:
            yield _finished(current, texts, ios)
        ios = match[1] is not None
        try:
            at = datetime(*day, hour, int(match[7]), int(match[8] or 0))
        except ValueError as error:
            raise PersonaError("there is no such date or time", "export the chat again", name, number) from error
        # A file that was cut, or a first line that the phone wrote without a time.
        yield from (ChatMessage(at, "", line.strip(), "system") for line in early if line.strip())
        early = []
        current = ChatMessage(at, speaker.lstrip("~ \u00a0\u202f"), "", "text" if speaker else "system")
        texts = [text]
    if current:
        yield _finished(current, texts, ios)


def _finished(message: ChatMessage, texts: list[str], ios: bool) -> ChatMessage:
    """Say what a message is: words, with what the phone wrote taken off, or what stands in a message's place."""
    text = "\n".join(texts).strip()
    if text[-1:] in (">", "›"):
        text = text[:-90] + EDITED.sub("", text[-90:])
    caption, mark, tail = text.rpartition(MARK) if ios else ("", "", text)
    message.text = text = _bare(text)
    if not message.speaker:
        return message
    first, _, below = text.partition("\n")
    if mark and not caption.strip() and "\n" not in text:
        # What is written behind the mark is the phone's, not the speaker's: a photo, a call, a notice.
        message.kind = "system" if SENTENCE.search(text) or NOTICE.search(text) else "media"
    if len(text) < LONGEST:
        for pattern, kind in ((DELETED, "deleted"), (STICKER, "sticker"), (MEDIA, "media"), (CALL, "system")):
            if pattern.search(text):
                message.kind = kind
                return message
    if message.kind != "text":
        return message
    words = ATTACHED.sub("", text) if re.search("[<‹(]", text) else text
    if ANGLED.match(first):
        words = below
    elif caption.strip() and (ANGLED.match(tail) or MEDIA.match(tail) or STICKER.match(tail)):
        words = "" if caption.rstrip().endswith("•") else _bare(caption)
    if not words.strip() or POLL.match(text):
        message.kind = "media"
    elif BY_THE_APP.search(text):
        message.kind = "system"
    else:
        message.text = words.strip()
    return message
