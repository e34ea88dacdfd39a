"""LINE's text exports: from a phone (tabs) or a desktop (spaces), in Japanese, English, Chinese, Korean, Thai.

No maintained parser covers them. The forms follow LINE's help pages and exports that people have published; LINE
documents none of it, and it changes with versions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from calendar import monthrange
from calendar import weekday as weekday_of
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import NamedTuple

from persona_ft.chat.messages import ChatMessage, Source, hour_of, lines_of, open_text
from persona_ft.errors import PersonaError

HEADER = re.compile(
    r"^\[LINE\]|LINE.{0,6}(?:トーク履歴|Chat history)|^(?:保存日時|Saved on|儲存日期|保存日期|저장한 날짜|บันทึกเมื่อ)",
    re.I,
)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WEEKDAY = (
    r"[（(]?(?:[日月火水木金土](?:曜日?)?|(?:星期|[週周]|[礼禮]拜)?[一二三四五六日天]|[월화수목금토일](?:요일)?"
    r"|(?:วัน)?(?:จันทร์|อังคาร|พุธ|พฤหัสบดี|พฤหัสฯ?|ศุกร์|เสาร์|อาทิตย์)|(?:จ|อ|พ|พฤ|ศ|ส|อา)\."
    rf"|(?:{'|'.join(DAYS)})[a-z]{{0,6}}\.?|Senin|Selasa|Rabu|Kamis|Jumat|Sabtu|Minggu|Sen|Sel|Rab|Kam|Jum|Sab|Min)[）)]?"
)
# 2024/01/15(月), 2024.01.15 Monday, 2024/01/15, Mon, 2024년 1월 15일 월요일.
DATE = re.compile(rf"^(\d{{4}})(?:[./-]|[年년]) ?(\d{{1,2}})(?:[./-]|[月월]) ?(\d{{1,2}})[日일.]?(?:,? ?({WEEKDAY}))?$")
# Mon, 1/15/2024, 15/1/2024 (Mon): which is the month is said by the weekday, or by the other dates.
DATE_NUMBERS = re.compile(rf"^(?:({WEEKDAY}),? ?)?(\d{{1,2}})/(\d{{1,2}})/(\d{{4}})(?: ?BE)?(?:,? ?({WEEKDAY}))?$")
HALF = "午前|午後|上午|下午|凌晨|清晨|早上|中午|晚上|오전|오후|ก่อนเที่ยง|หลังเที่ยง|[AP]\\.?M\\.?"
TIME = re.compile(rf"^({HALF})?\s?(\d{{1,2}}):(\d{{2}})\s?({HALF})?([\t ])(.*)$", re.S | re.I)
# What stands for a photo and the like. A phone puts brackets around it; a desktop does not.
MEDIA = (
    "写真|画像|動画|ファイル|ボイスメッセージ|音声|オーディオ|位置情報|連絡先|アルバム|ノート|プレゼント|ギフト|投票|イベント"
    "|Photos?|Pictures?|Images?|Videos?|Audio|Voice messages?|Files?|Locations?|Contacts?|Albums?|Notes?|Gifts?|Polls?"
    "|Events?|Links?|照片|圖片|图片|影片|视频|檔案|文件|語音訊息|语音消息|位置訊息|位置資訊|位置|聯絡資訊|聯絡人|相簿|相册"
    "|記事本|禮物|投票活動|사진|이미지|동영상|파일|음성 ?메시지|위치 ?정보|위치|연락처|앨범|노트|선물|투표"
    "|รูปภาพ|รูป|วิดีโอ|ไฟล์|ข้อความเสียง|ตำแหน่งที่ตั้ง|ตำแหน่ง|รายชื่อติดต่อ|อัลบั้ม|โน้ต|ของขวัญ|โพล|null"
)
STICKER = "スタンプ|絵文字|Stickers?|Emoji|貼圖|贴图|表情貼|스티커|이모티콘|สติกเกอร์|อิโมจิ"
KINDS = {  # phone?: (pattern, kind)
    True: (
        (re.compile(rf"^\[(?:{STICKER})\]$"), "sticker"),
        (re.compile(rf"^\[(?:{MEDIA})\](?:\s.*)?$", re.S), "media"),
    ),
    False: ((re.compile(rf"^\[?(?:{STICKER})\]?$"), "sticker"), (re.compile(rf"^\[?(?:{MEDIA})\]?$"), "media")),
}
EMOJI = re.compile(r"\((?:emoji|絵文字|表情貼|이모티콘)\)")
DELETED = re.compile(
    r"メッセージの送信を取り消しました|unsent a message|收回(?:了)?訊息|收回(?:了)?消息"
    r"|(?:전송|보낸 메시지)(?:을|를) 취소했|ยกเลิก(?:การส่ง)?ข้อความ"
)
# What LINE itself says is told by its shape: who, what LINE has (a group, an album …), and what was done to it. A
# sentence of somebody's has other words: 「予約をキャンセルした」, "left the party because it was late".
THINGS_JA = (
    "グループ|トーク|ルーム|アルバム|ノート|通話|アナウンス|メッセージ|アイコン|プロフィール|投票|イベント|メンバー|招待|背景|カバー"
    "|コンテンツ|写真|管理者"
)
DONE_JA = (
    "参加|退会|退出|招待|追加|削除|作成|変更|アナウンス|投稿|編集|取り消|取り消し|開始|終了|キャンセル|解除|設定|承認|拒否|登録|移動"
    "|コメント|公開|送信|保存|締め切|辞退"
)
THINGS_EN = (
    "group|chat|chatroom|room|albums?|notes?|announcements?|polls?|events?|message|photos?|videos?|items?|contents?|icon"
    "|name|profile|picture|background|wallpaper|theme|invitation|call|members?|admin|title|cover"
)
DONE_EN = (
    "joined|left|invited|added|removed|changed|created|deleted|made|unsent|set|renamed|cancell?ed|started|ended|closed"
    "|posted|edited|pinned|unpinned|announced|moved|accepted|declined|updated|withdrew|shared|has (?:joined|left)"
)
SAID_EN = r"I|I'm|me|my|you|your|it|its|we|us|our|because|was|were|is|so|but|that|this|and|lol|just|when|if"
NOTICE = re.compile(
    rf"^[☎ⓘ]|^(?P<ja>.{{1,40}}?)(?:が|を).{{0,80}}?(?:(?:{THINGS_JA}).{{0,60}}?(?:{DONE_JA})|を招待|退会|退出|参加)"
    r"(?:し|され|り)?ました。?$|^(?:グループ)?(?:ビデオ)?通話が(?:開始|終了)されました。?$"
    rf"|^(?P<en>.{{1,60}}?) (?:(?:{DONE_EN}) (?=[^.!?\n]*\b(?:{THINGS_EN})\b)(?![^\n]*\b(?:{SAID_EN})\b)[^.!?\n]*\."
    r"|(?:(?:has )?(?:joined|left) the (?:group|chat)|invited .{1,60} to the (?:group|chat)|unsent a message))$"
    r"|^(?P<zh>.{1,40}?)(?:已| ?將| ?将| ?邀請| ?邀请| ?加入| ?退出|離開|离开| ?[建新變变更刪删設设收移取]).{0,60}?"
    r"(?:訊息|消息|群組|群组|聊天室?|相簿|相册|記事本|照片|名稱|名称"
    r"|圖片|图片|公告|投票|活動|背景|加入|退出)。?$"
    r"|^(?P<ko>.{1,40}?)(?:님이|님을|님의|이|가) .{0,80}(?:습니다|했어요)\.?$"
    r"|^(?P<th>.{1,40}?) ?(?:ได้)?(?:เข้าร่วม|ออกจาก|เชิญ|ยกเลิก|เพิ่ม|ลบ|เปลี่ยน|สร้าง|แก้ไข).{0,60}"
    r"(?:กลุ่ม|แชท|อัลบั้ม|ข้อความ|รูป|โน้ต|ประกาศ).{0,30}$"
)
# What follows a speaker's name at once, without a space, is a notice too if it ends as one.
ENDS = re.compile(r"(?:ました|ません)。?$|습니다\.?$|了。?$")
# What is left of a call where no telephone sign stands before it.
CALL = re.compile(
    r"^(?:☎ ?)?(?:通話時間 ?\d+:\d\d(?::\d\d)?|通話をキャンセルしました|通話に応答がありませんでした|不在着信|応答なし"
    r"|Call time \d+:\d\d(?::\d\d)?|Cancell?ed call|Missed call|No answer"
    r"|未接來電|已取消通話|無人接聽|부재중 ?통화|통화 시간 ?[\d:]+)$"
)
# How far a phone's quoted message is looked through for its end.
AHEAD = 500
# How many beginnings of lines are counted before those that came once are forgotten.
MANY = 300_000


def looks_like_line(head: str) -> bool:
    """Whether the first lines of a text are LINE's: its header, or a day and times below it."""
    lines = [line.strip("\ufeff") for line in head.splitlines() if line.strip()][:40]
    times = [match for line in lines if (match := TIME.match(line))]
    tabs = sum(match[6].count("\t") == 1 for match in times if match[5] == "\t")
    dated = any(_dates(line) and TIME.match(after) for line, after in pairwise(lines))
    return any(HEADER.search(line) for line in lines[:3]) or dated or (tabs > 1 and tabs > len(lines) / 3)


def read_line(path: Source) -> Iterator[ChatMessage]:
    """Messages of one LINE export, oldest first, a message at a time.

    On a desktop nothing but a space stands between name and text; names with spaces are recognised by always being
    written the same way.

    Raises
    ------
    PersonaError
        A time stands before any date, a date or time is impossible, or days run backwards; file and line are named.
    """
    form = _form(path)
    day: date | None = None
    current: ChatMessage | None = None
    texts: list[str] = []
    with open_text(path) as stream:
        lines, waiting = lines_of(stream, path.name), deque()
        while (item := waiting.popleft() if waiting else next(lines, None)) is not None:
            number, line = item
            if found := form.days.get(number):
                if current:
                    yield _finished(current, texts, form.phone)
                day, current = found, None
                continue
            match = TIME.match(line)
            if not match or not _is_message(match, form):
                if current:
                    texts.append(line)
                elif line.strip() and day is not None:
                    yield ChatMessage(datetime(day.year, day.month, day.day), "", line.strip(), "system")
                continue
            if day is None:
                if HEADER.search(line) or number <= 3:
                    continue
                raise PersonaError("a message stands before any date", "export the whole chat", path.name, number)
            if current:
                yield _finished(current, texts, form.phone)
            current = _message(match, day, form, path.name, number)
            texts = [current.text]
            if form.phone and _is_open(current.text):
                texts += _quoted(current.text, lines, waiting)
    if current:
        yield _finished(current, texts, form.phone)


def _quoted(first: str, lines: Iterator[tuple[int, str]], waiting: deque[tuple[int, str]]) -> list[str]:
    """The rest of a message that a phone has put in quotes: whatever stands inside is text, dates and times too.

    It ends at a line that ends in a quote and makes their number even. Where none does, or somebody's message comes
    first, the quote was the writer's, and nothing is taken. Lines that were looked at are left in ``waiting``.
    """
    quotes, seen, ends = first.count('"'), [], False
    while len(seen) < AHEAD and (item := waiting.popleft() if waiting else next(lines, None)):
        seen.append(item)
        if (match := TIME.match(item[1])) and match[5] == "\t" and "\t" in match[6]:
            break
        quotes += item[1].count('"')
        if quotes % 2 == 0:
            ends = item[1].endswith('"')
            break
    if ends:
        return [line for _, line in seen]
    waiting.extendleft(reversed(seen))
    return []


def _dates(line: str) -> list[tuple[bool | None, int, int, int]]:
    """What a line can mean if it is a date: (month first?, year, month, day) for each reading."""
    text = line.strip()
    if match := DATE.match(text):
        return [(None, int(match[1]), int(match[2]), int(match[3]))]
    match = DATE_NUMBERS.match(text)
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


def _message(match: re.Match[str], day: date, form: Form, name: str, number: int) -> ChatMessage:
    before, hours, minutes, after, separator, rest = match.groups()
    try:
        # A phone may write the hour after midnight as 24.
        hour = 0 if hours == "24" else hour_of(int(hours), before or after or "")
        at = datetime(day.year, day.month, day.day, hour, int(minutes))
    except ValueError as error:
        raise PersonaError(f"there is no time {hours}:{minutes}", "export the chat again", name, number) from error
    if separator == "\t":
        speaker, tab, text = rest.partition("\t")
        if not tab:  # two columns: a notice
            return ChatMessage(at, "", speaker, "system")
        return ChatMessage(at, speaker.strip(), text)
    speaker = form.speaker(rest)
    # Behind a known name stands what they wrote, unless it is LINE's: "Mia joined the group."
    notice = NOTICE.search(rest)
    if speaker is None or (notice and speaker in (notice["en"], notice["zh"], notice["th"])):
        return ChatMessage(at, "", rest, "system")
    return ChatMessage(at, speaker.strip(), rest[len(speaker) + 1 :])


def _finished(message: ChatMessage, texts: list[str], phone: bool) -> ChatMessage:
    """Take a phone's quotes off a message of several lines, and say what it is."""
    text = "\n".join(texts).rstrip()
    if "\n" in text and text.startswith('"') and text.endswith('"'):
        text = text[1:-1].replace('""', '"').strip()
    message.text = text = EMOJI.sub("", text).strip()  # LINE's own pictures come out as this word
    if message.kind == "text":
        if DELETED.search(text) and len(text) < 60:
            message.kind = "deleted"
        elif not message.speaker or text.startswith(("☎", "ⓘ")) or CALL.match(text):
            message.kind = "system"
        else:
            kinds = (kind for pattern, kind in KINDS[phone] if pattern.match(text))
            message.kind = next(kinds, "text" if text else "sticker")
    elif DELETED.search(text):
        message.kind = "deleted"
    return message


def _is_open(text: str) -> bool:
    """Whether a phone's quoted message has begun and not ended; doubled quotes are quotes inside it."""
    return text.startswith('"') and text.count('"') % 2 == 1


def _is_message(match: re.Match[str], form: Form) -> bool:
    """Whether a line that begins with a time is a message or a notice, and not text that does: a phone puts a tab
    behind it, on a desktop somebody's name follows."""
    if match[5] == "\t":
        return True
    rest = match[6]
    if form.phone:
        return bool(NOTICE.search(rest))
    if form.speaker(rest) is not None or NOTICE.search(rest):
        return True
    return bool(ENDS.search(rest)) and any(rest[:n] in form.names for n in range(1, form.longest + 1))


@dataclass(frozen=True)
class Form:
    """How an export is written. ``names``: a desktop export's speakers; ``days``: the lines that begin a day."""

    phone: bool
    names: set[str]
    days: dict[int, date]
    longest: int

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


class _Day(NamedTuple):
    """A line that may begin a day: what it can mean, whether that is plain from the weekday or the empty line above,
    and what is below."""

    number: int
    readings: list[tuple[bool | None, int, int, int]]
    apart: bool
    named: bool
    below: list[str]


def _form(path: Source) -> Form:
    """Whether it is a phone's export, which lines begin a day, and a desktop export's speakers: what messages begin
    with, lengthened while it is always followed by the same word, and whoever a notice names.

    A name that occurs once is a name in a short chat; in a long one it is one if its time fits between its neighbours',
    else it is text that begins with a time.
    """
    words: Counter[tuple[str, ...]] = Counter()
    n_lines, phone, named, votes, limit = 0, False, set(), Counter(), MANY
    days: list[_Day] = []
    above = ""
    with open_text(path) as stream:
        for number, line in lines_of(stream, path.name):
            if days and not days[-1].below and line.strip():
                days[-1].below.append(line)
            if readings := _dates(line):
                votes.update(r[0] for r in readings if len(readings) == 1)
                apart = not above.strip() or n_lines == 0
                written = DATE.match(line.strip())
                days.append(_Day(number, readings, apart, written is None or bool(written[4]), []))
            above = line
            match = TIME.match(line)
            if not match:
                continue
            phone = phone or match[5] == "\t"
            n_lines += 1
            if phone:
                continue
            rest = match[6]
            if notice := NOTICE.search(rest):
                named |= {who for who in notice.groupdict().values() if who}
                continue
            parts = rest.split(" ", 3)
            for n in range(1, min(3, len(parts) - 1) + 1):
                words[tuple(parts[:n])] += 1
            if len(words) > limit:  # what was said once is no name of several words
                words = Counter({start: n for start, n in words.items() if n > 1 or len(start) == 1})
                limit = max(MANY, 2 * len(words))
    names, once, after = set(), set(), defaultdict(list)
    for start in words:
        after[start[:-1]].append(start)
    begun = {who.split(" ")[0] for who in named if " " in who}
    for start in after[()]:
        if words[start] < 2 and n_lines > 20:
            once |= set(start)
            continue
        names |= {" ".join(name) for name in _lengthened(start, words, after, 2 if start[0] in begun else 5)}
    if once and not phone:
        names |= _seen_once(path, once, {day.number for day in days})
    for whole in named:  # a notice says that Bob Smith is one name; then no Bob is there beside
        parts = whole.split(" ")
        shorter = {" ".join(parts[:n]) for n in range(1, len(parts))} & names
        if any(words[tuple(parts[:1])] > words[tuple(parts[:3])] for _ in shorter):
            continue
        names = (names - shorter) | {whole}
    form = Form(phone, set() if phone else names - {""}, {}, max(map(len, names), default=0))
    form.days.update(_days(days, form, votes[True] >= votes[False], path.name))
    return form


def _days(days: list[_Day], form: Form, month_first: bool, name: str) -> Iterator[tuple[int, date]]:
    """Of the lines that look like dates those that begin a day: on a phone an empty line is above, on a desktop the
    weekday is said, a message is below, and days never run backwards: a date that does not fit stays text."""
    real: list[tuple[int, date]] = []
    for day in days:
        below = day.below[0] if day.below else ""
        match = TIME.match(below)
        followed = not below or _dates(below) or (match and _is_message(match, form))
        if not (followed or not real) or not (day.apart if form.phone else day.named or day.apart):
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
    tails: list[date] = []
    places: list[int] = []
    before = [-1] * len(values)
    for n, value in enumerate(values):
        at = bisect_right(tails, value)
        before[n] = places[at - 1] if at else -1
        tails[at : at + 1], places[at : at + 1] = [value], [n]
    kept, at = [], places[-1] if places else -1
    while at >= 0:
        kept.append(at)
        at = before[at]
    return kept[::-1]


def _lengthened(
    start: tuple[str, ...], words: Counter[tuple[str, ...]], after: dict[tuple[str, ...], list], least: int
) -> list[tuple[str, ...]]:
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
    found: set[str] = set()
    held: list[tuple[int, str]] = []
    last = -1
    with open_text(path) as stream:
        for number, line in lines_of(stream, path.name):
            if number in days:
                found |= {word for _, word in held}
                last, held = -1, []
            elif (match := TIME.match(line)) and not NOTICE.search(match[6]):
                at = hour_of(int(match[2]), match[1] or match[4] or "") * 60 + int(match[3])
                word = match[6].split(" ")[0]
                if word not in once:
                    found |= {name for when, name in held if when <= at}
                    last, held = at, []
                elif at >= (held[-1][0] if held else last):
                    held.append((at, word))
    return found | {word for _, word in held}
