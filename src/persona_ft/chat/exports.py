"""Exports as data: Telegram, Discord, Slack, and tables of one's own. JSON is read as a stream (ijson)."""

from __future__ import annotations

import codecs
import csv
import html
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any
from zipfile import ZipFile

from persona_ft.chat.messages import MAX_LINE, ChatMessage, Source, Speakers, lines_of, open_text, open_zip
from persona_ft.errors import PersonaError

# Column names that a table of one's own may use without a map.
COLUMNS = {
    "time": ("time", "date", "datetime", "timestamp", "at", "日時", "時刻"),
    "speaker": ("speaker", "author", "sender", "from", "name", "user", "発言者", "名前"),
    "text": ("text", "message", "content", "body", "本文", "メッセージ"),
}
# A column with the number of who speaks: two people may have one name.
PERSON = ("authorid", "author_id", "userid", "user_id", "senderid", "sender_id")


OPENING = bytes.maketrans(b"{}", b"[]")


class _Sane:
    """A JSON file for ijson, which ends the process at a number of thousands of digits, and whose time grows with the
    square of the depth. Strings are skipped: what is counted stands outside of them."""

    STRING = re.compile(rb'"(?:[^"\\\0]++|\\[^\0])*+\\?["\0]', re.S)
    NO_BRACKET = bytes(set(range(256)) - set(b"[{]}"))

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.depth, self.open, self.digits = stream, 0, b"", b""
        if stream.read(3) != codecs.BOM_UTF8:
            stream.seek(0)

    def read(self, size: int = -1) -> bytes:
        piece = self.stream.read(size)
        if not piece:
            return piece
        # The string that goes on from the piece before is opened again; the \0 at the end closes one that goes on.
        text = self.open + piece
        outside = self.STRING.sub(b"", text + b"\0")
        backslashes = len(text) - len(text.rstrip(b"\\"))
        self.open = b"" if outside.endswith(b"\0") else b'"' + b"\\" * (backslashes % 2)
        # Pairs of brackets are taken away from the inside, a level at a time.
        brackets, level = outside.translate(OPENING, self.NO_BRACKET), self.depth
        while b"[]" in brackets and level <= MAX_DEPTH:
            brackets, level = brackets.replace(b"[]", b""), level + 1
        if level + brackets.count(b"[") > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        self.depth += 2 * brackets.count(b"[") - len(brackets)
        outside = self.digits + outside
        if re.search(rb"\d{%d}" % MAX_DIGITS, outside):
            raise ValueError("a number has too many digits")
        self.digits = outside[-MAX_DIGITS:].rstrip(b"\0")
        return piece


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Whatever a JSON reader raises, as one sentence."""
    import ijson

    try:
        yield
    except (ijson.JSONError, ValueError, RecursionError) as error:
        told = isinstance(error, ijson.IncompleteJSONError) or type(error) is ValueError
        reason = str(error).splitlines()[0][:80] if told and str(error) else "it is not JSON"
        raise PersonaError(f"the JSON cannot be read ({reason})", "download or export it again", name) from error


def items_of(stream: IO[bytes], prefix: str, name: str) -> Iterator[Any]:
    """The objects under a prefix of a JSON file, one at a time; a file that is cut off or no JSON is an error."""
    import ijson

    with _readable(name):
        yield from ijson.items(_Sane(stream), prefix, use_float=True)


def _json(text: str | bytes, name: str, number: int | None = None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "file" if number is None else "line"
        raise PersonaError(
            f"the {what} is not JSON", "export it again, one object or list whole", name, number
        ) from error


# How deep a chat's JSON may be, and how long its numbers.
MAX_DEPTH, MAX_DIGITS = 100, 400
# What may be shown of a time that cannot be read: anything else might be somebody's words in the wrong column.
TIME_LIKE = re.compile(r"\d{1,4}[/.年-]\d{1,2}[/.月-]\d{1,4}[\d\s:.日時分秒TZ+-]{0,30}")
KANJI_TIME = str.maketrans({"年": "-", "月": "-", "日": " ", "時": ":", "分": ":", "秒": " ", "/": "-"})
NUMBERS = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})(?!\d)")
WRITTEN = re.compile(r"\d{1,4}\s?[/.年 -]\s?(?:\d{1,2}|[A-Za-z]{3,9})[\s/.月, -]|[A-Z][a-z]{2,8}\.? \d{1,2},? \d{4}")
# How a date of numbers may be meant: the places of year, month and day.
ORDERS = {"dmy": (2, 1, 0), "mdy": (2, 0, 1), "ymd": (0, 1, 2)}


def time_of(value: Any, name: str, what: str = "message", order: str = "") -> datetime:
    """A time from an ISO text, a Unix time in seconds or milliseconds, or a written form; without its zone.

    Parameters
    ----------
    order : how 3/4/2024 or 24/3/4 is meant, one of :data:`ORDERS`, where that is known.

    Raises
    ------
    PersonaError
        It is none of these, or can be read in several ways; what does not look like a time is not repeated.
    """
    from dateutil import parser

    text = str(value).strip()
    possible = orders_of(text)
    given, order = order in possible, order if order in possible else next(iter(possible), "")
    # 3/3/2024 is one day in either order.
    if len(possible) > 1 and not given and ("ymd" in possible or len(set(NUMBERS.match(text).groups()[:2])) > 1):
        raise PersonaError(
            f"the time of {what} is {text!r}, which can be read in several ways",
            'say how dates are written: COLUMNS = "dates=d/m/y", or m/d/y, or y/m/d',
            name,
        )
    try:
        if re.fullmatch(r"\d{9,11}(?:\.\d{1,9})?|\d{12,14}", text):
            seconds = float(text) / (1000 if len(text.split(".")[0]) > 11 else 1)
            return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
        with suppress(ValueError):
            return datetime.fromisoformat(text).replace(tzinfo=None)
        # dateutil would take a word or a number alone for a day, and what is missing from today.
        if not WRITTEN.match(text + " ") or len(text) > 60:
            raise ValueError
        plain = text.translate(KANJI_TIME).strip(" :")
        year_first = order == "ymd" if order else re.match(r"\d{4}", text) is not None
        return parser.parse(plain, dayfirst=order == "dmy", yearfirst=year_first, ignoretz=True)
    except (ValueError, ArithmeticError, OSError, TypeError, AttributeError, IndexError) as error:
        shown = f"is {text!r}" if TIME_LIKE.fullmatch(text) else "cannot be read"
        raise PersonaError(f"the time of {what} {shown}", "write times like 2024-01-31 09:15", name) from error


def orders_of(text: str) -> set[str]:
    """The orders in which a date of numbers is possible; empty where it is none."""
    match = NUMBERS.match(text)
    if not match:
        return set()
    parts = [int(part) for part in match.groups()]
    allowed = ORDERS if len(match[3]) == 2 else ("dmy", "mdy")
    return {o for o in allowed if 1 <= parts[ORDERS[o][1]] <= 12 and 1 <= parts[ORDERS[o][2]] <= 31}


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PersonaError(f"a message is {type(value).__name__} and no object", "export the chat again", name)
    return value


# Telegram -----------------------------------------------------------------------------------------------------------


def read_telegram(path: Source) -> Iterator[ChatMessage]:
    """``result.json`` of Telegram Desktop: one chat, or the full export of all chats.

    https://core.telegram.org/import-export describes the machine-readable form.
    """
    with path.open("rb") as stream:
        head = stream.read(4096)
    speakers = Speakers()
    if not re.search(rb'"(?:chats|about|personal_information)"\s*:', head):
        bot = re.search(rb'"type"\s*:\s*"bot_chat"', head.partition(b'"messages"')[0]) is not None
        with path.open("rb") as stream:
            for message in items_of(stream, "messages.item", path.name):
                yield _telegram(_object(message, path.name), "", bot, speakers, path.name)
        return
    with path.open("rb") as stream, _readable(path.name):
        chats = list(_names_of_chats(stream))
    with path.open("rb") as stream:
        for n, message in _telegram_all(stream, path.name):
            yield _telegram(message, *chats[n], speakers, path.name)


# Chats that the user is in, and has left.
CHATS = ("chats.list.item", "left_chats.list.item")


def _names_of_chats(stream: IO[bytes]) -> Iterator[tuple[str, bool]]:
    """Name and number of each chat, since two people may be called the same, and whether it is with a bot."""
    import ijson

    title, bot = "", False
    for prefix, event, value in ijson.parse(_Sane(stream)):
        if prefix in CHATS and event == "start_map":
            title, bot = "", False
        elif prefix.removesuffix(".name").removesuffix(".id") in CHATS and event in ("string", "number"):
            title = f"{title} {value}".strip()
        elif prefix.removesuffix(".type") in CHATS and value == "bot_chat":
            bot = True
        elif prefix in CHATS and event == "end_map":
            yield title, bot


def _telegram_all(stream: IO[bytes], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the chat, message) for all chats, a message at a time."""
    import ijson

    n, builder = -1, None
    with _readable(name):
        # The names were read before this, and the whole file with them: it is sane.
        for prefix, event, value in ijson.parse(_Sane(stream).stream, use_float=True):
            is_message = prefix.endswith(".messages.item") and prefix.removesuffix(".messages.item") in CHATS
            if prefix in CHATS and event == "start_map":
                n += 1
            elif is_message and event == "start_map":
                builder = ijson.ObjectBuilder()
            if builder is not None:
                builder.event(event, value)
                if is_message and event == "end_map":
                    yield n, builder.value
                    builder = None


def _telegram(message: dict[str, Any], chat: str, bot: bool, speakers: Speakers, name: str) -> ChatMessage:
    parts = message.get("text") or ""
    if isinstance(parts, list):
        parts = "".join(str(p.get("text", "") if isinstance(p, dict) else p) for p in parts)
    at = message.get("date") or message.get("date_unixtime") or ""
    if not at and message.get("type") == "unsupported":  # too new for the Telegram that wrote it: it has a number alone
        at = "1970-01-01"
    at = time_of(at, name, f"message {message.get('id', '?')}")
    who = message.get("from_id") or message.get("actor_id")
    speaker = str(message.get("from") or message.get("actor") or "deleted account")
    kind = "text"
    if message.get("type") != "message":
        kind = "system"
    elif "forwarded_from" in message:
        kind = "forwarded"
    elif bot or message.get("via_bot") or message.get("inline_bot_buttons") or re.search(r"[a-z ]Bot$|_bot$", speaker):
        kind = "bot"
    elif not parts:
        kind = "sticker" if message.get("media_type") == "sticker" else "media"
    return ChatMessage(
        at,
        speakers(speaker, who),
        str(parts).strip(),
        kind,
        chat,
        str(message.get("id", "")),
        str(message.get("reply_to_message_id") or ""),
    )


# Messenger and Instagram --------------------------------------------------------------------------------------------


def read_meta(path: Source) -> Iterator[ChatMessage]:
    """``message_1.json`` of Instagram or Messenger, with the newest message first; those of an encrypted chat have
    other keys. A file holds ten thousand messages at most."""
    with path.open("rb") as stream:
        messages = [_object(message, path.name) for message in items_of(stream, "messages.item", path.name)]
    rows = [
        (time_of(m.get("timestamp_ms") or m.get("timestamp") or "", path.name), n, m) for n, m in enumerate(messages)
    ]
    # Newest first: of one time the later in the file is the earlier.
    for at, _, message in sorted(rows, key=lambda row: (row[0], -row[1])):
        speaker = _mended(message.get("sender_name") or message.get("senderName") or "unknown")
        text = _mended(message.get("content") or message.get("text") or "").strip()
        kind = "text"
        if message.get("is_unsent") or message.get("isUnsent"):
            kind = "deleted"
        elif message.get("type") in ("Subscribe", "Unsubscribe", "Call") or "call_duration" in message:
            kind = "system"
        elif not text or META_SAYS.search(text):
            kind = "sticker" if "sticker" in message else "media"
        yield ChatMessage(at, speaker, text, kind)


# What stands where somebody sent a photo, or pressed a heart.
META_SAYS = re.compile(
    r"^.{1,60} sent (?:an attachment|a photo|a video|a sticker|a location)\.$|^(?:Reacted .{1,20} to your |L)"
    r"(?:message|iked a message) ?$"
)


def _mended(value: Any) -> str:
    """Meta writes the bytes of UTF-8 as if each were a letter."""
    text = str(value)
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


# Discord ------------------------------------------------------------------------------------------------------------


def read_discord(path: Source) -> Iterator[ChatMessage]:
    """JSON of DiscordChatExporter (https://github.com/Tyrrrz/DiscordChatExporter), one channel a file."""
    with path.open("rb") as stream:
        channel = next(items_of(stream, "channel.name", path.name), "")
    speakers = Speakers()
    with path.open("rb") as stream:
        for message in items_of(stream, "messages.item", path.name):
            author = _object(_object(message, path.name).get("author") or {}, path.name)
            reference = _object(message.get("reference") or {}, path.name)
            text = str(message.get("content") or "").strip()
            kind = "text"
            if author.get("isBot"):
                kind = "bot"
            elif message.get("type") not in ("Default", "Reply", None):
                kind = "system"
            elif reference.get("type") == "Forward":
                kind = "forwarded"
            elif not text:
                kind = "sticker" if message.get("stickers") else "media"
            yield ChatMessage(
                time_of(message.get("timestamp", ""), path.name, f"message {message.get('id', '?')}"),
                speakers(str(author.get("nickname") or author.get("name") or "unknown"), author.get("id")),
                text,
                kind,
                str(channel),
                str(message.get("id", "")),
                str(reference.get("messageId") or ""),
            )


def read_discord_package(path: Path) -> Iterator[ChatMessage]:
    """Discord's own data package (zip): only what *you* wrote, without the messages that you answered.

    It has no questions, so no pairs can be made of it; it is read so that the funnel can say so.
    """
    with open_zip(path) as archive:
        for member in archive.infolist():
            where = PurePosixPath(member.filename)
            if where.name not in ("messages.json", "messages.csv"):
                continue
            with archive.open(member) as raw:
                if where.suffix == ".json":
                    rows: Iterator[dict[str, Any]] = items_of(raw, "item", member.filename)
                else:
                    text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
                    rows = (row for _, row in _csv_rows(text, ",", member.filename))
                for row in rows:
                    text = str(_object(row, member.filename).get("Contents") or "").strip()
                    kind = "text" if text else "media"
                    at = time_of(row.get("Timestamp") or "1970-01-01", member.filename)
                    yield ChatMessage(at, "me", text, kind, where.parent.name, str(row.get("ID", "")))


# Slack --------------------------------------------------------------------------------------------------------------


def read_slack(path: Path) -> Iterator[ChatMessage]:
    """Slack's export zip: users.json, and one JSON file a day in each channel's folder.

    https://slack.com/help/articles/220556107 describes the form.
    """
    with open_zip(path) as archive:
        speakers = Speakers()
        names = {
            str(user.get("id")): speakers(_slack_name(user), user.get("id"))
            for member in archive.namelist()
            # One folder down where the export was unpacked and zipped again; org_users.json on an Enterprise plan.
            if re.fullmatch(r"(?:[^/]+/)?(?:org_)?users\.json", member)
            for user in _slack_list(archive, member)
            if isinstance(user, dict)
        }
        days = sorted(
            (m for m in archive.infolist() if re.fullmatch(r".+/\d{4}-\d{2}-\d{2}\.json", m.filename)),
            key=lambda m: m.filename,
        )
        if not days:
            raise PersonaError("the zip holds no channel with days", "export the workspace again", path.name)
        for member in days:
            channel = PurePosixPath(member.filename).parent.name
            for message in _slack_list(archive, member.filename):
                yield _slack(message, names, channel, member.filename)


def read_slackdump(path: Source) -> Iterator[ChatMessage]:
    """A channel as slackdump writes it: people have numbers, unless a message says their names."""
    with path.open("rb") as stream:
        channel = next(items_of(stream, "name", path.name), "") or next(iter(path.name.split(".")), "")
    with path.open("rb") as stream:
        for message in items_of(stream, "messages.item", path.name):
            yield _slack(message, {}, str(channel), path.name)
            for reply in _object(message, path.name).get("slackdump_thread_replies") or []:
                yield _slack(reply, {}, str(channel), path.name)


def _slack_list(archive: ZipFile, name: str) -> list[Any]:
    try:
        found = _json(archive.read(name), name)
    except KeyError:
        return []
    if not isinstance(found, list):
        raise PersonaError("the file is no list", "export the workspace again", name)
    return found


def _slack_name(user: dict[str, Any]) -> str:
    profile = user.get("profile") if isinstance(user.get("profile"), dict) else {}
    known = profile.get("display_name") or user.get("real_name") or profile.get("real_name") or user.get("name")
    return str(known or user.get("id"))


def _slack(message: Any, names: dict[str, str], channel: str, name: str) -> ChatMessage:
    if not isinstance(message, dict) or "ts" not in message:
        raise PersonaError("a message has no time", "export the workspace again", name)
    user = str(message.get("user") or message.get("bot_id") or "")
    text = str(message.get("text") or "")
    text = re.sub(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>", lambda m: "@" + names.get(m[1], m[1]), text)
    text = re.sub(r"<#([A-Z0-9]+)(?:\|([^<>]*))?>", lambda m: "#" + (m[2] or m[1]), text)
    text = re.sub(r"<!(?:subteam\^[A-Z0-9]+\|)?@?([^|<>^]+)(?:\|[^<>]*)?>", r"@\1", text)
    text = re.sub(r"<((?:https?|mailto):[^|<>]+)(?:\|[^<>]*)?>", r"\1", text)
    text = html.unescape(text).strip()
    subtype = message.get("subtype")
    kind = "text"
    if message.get("bot_id") or subtype == "bot_message":
        kind = "bot"
    elif subtype == "tombstone":
        kind = "deleted"
    elif subtype not in (None, "thread_broadcast", "me_message", "file_share"):
        kind = "system"
    elif not text:
        kind = "media"
    thread = str(message.get("thread_ts") or "")
    return ChatMessage(
        time_of(message["ts"], name),
        names.get(user) or _slack_name({"id": user or "unknown", "profile": message.get("user_profile")}),
        text,
        kind,
        # A thread is a talk of its own: what answers it stands in it.
        f"{channel}/{thread}" if thread else channel,
        str(message["ts"]),
    )


# A table of one's own -----------------------------------------------------------------------------------------------


def read_table(path: Source, columns: dict[str, str] | None = None) -> Iterator[ChatMessage]:
    """A CSV (comma or tab) or JSONL file with a time, a speaker and a text in each row.

    Parameters
    ----------
    columns : which of the file's columns is ``time``, ``speaker`` and ``text``; the usual names are known. ``dates``
        says how dates of numbers are meant, such as ``dmy``.

    Raises
    ------
    PersonaError
        A column is missing (the message lists those that are there), a row cannot be used, or 3/4/2024 may be April or
        March: file and line are named.
    """
    columns = columns or {}
    order: str | None = columns.get("dates")
    where: dict[str, str] | None = None
    speakers = Speakers()
    for number, row in _rows(path):
        where = where or _map_columns(row, columns, path.name)
        missing = [key for key, column in where.items() if row.get(column) is None and key != "person"]
        if missing:
            raise PersonaError(f"the row has no {missing[0]}", "fill it in or remove the row", path.name, number)
        if order is None and orders_of(str(row[where["time"]]).strip()):
            order = _order(path, where["time"])
        try:
            at = time_of(row[where["time"]], path.name, order=order or "")
        except PersonaError as error:
            raise PersonaError(error.reason, error.remedy, path.name, number) from error
        text = str(row[where["text"]]).strip()
        speaker = speakers(str(row[where["speaker"]]).strip(), row.get(where.get("person")))
        yield ChatMessage(at, speaker, text, "text" if text else "media")


def _order(path: Source, column: str) -> str:
    """How a table's 3/4/2024 are meant, if all its dates together leave one way."""
    left = set(ORDERS)
    for _, row in _rows(path):
        left &= orders_of(str(row.get(column)).strip()) or left
    return left.pop() if len(left) == 1 else ""


def _rows(path: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row) for each row that is not empty."""
    with open_text(path) as stream:
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            rows = _json_rows(stream, path.name)
        else:
            head = stream.readline(MAX_LINE)
            if re.fullmatch(r"sep=.\s*", head):  # for Excel
                head = stream.readline(MAX_LINE)
            delimiter = max("\t;,", key=head.count)
            rows = _csv_rows(itertools.chain([head], stream), delimiter, path.name)
        yield from ((n, row) for n, row in rows if any(str(value or "").strip() for value in row.values()))


def _json_rows(stream: IO[str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines_of(stream, name):
        if not line.strip():
            continue
        row = _json(line, name, number)
        if not isinstance(row, dict):
            raise PersonaError("the line is no object", 'write {"time": …, "speaker": …, "text": …}', name, number)
        yield number, row


def _csv_rows(stream: Iterable[str], delimiter: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Strict: a quote that is opened and never closed would swallow every row after it.
    reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise PersonaError(f"the row cannot be read ({why})", "save it as CSV again", name, reader.line_num) from error


def _map_columns(row: dict[str, Any], given: dict[str, str], name: str) -> dict[str, str]:
    there = {str(column).strip().lower(): str(column) for column in row if column is not None}
    found = {}
    for key, usual in COLUMNS.items():
        wanted = [given[key].lower()] if key in given else usual
        column = next((there[w] for w in wanted if w in there), None)
        if column is None:
            # Without a header the first row is somebody's words: it is not repeated.
            header = all(len(name) <= 24 and not re.search(r"\d|\s", name) for name in there.values())
            listed = f"there are {', '.join(there.values())}" if header else "its first line names no columns"
            raise PersonaError(
                f"no column is the {key}; {listed if there else 'there are none'}",
                f'say which one it is: COLUMNS = "{key}=…"',
                name,
            )
        found[key] = column
    if person := next((there[name] for name in PERSON if name in there), None):
        found["person"] = person
    return found
