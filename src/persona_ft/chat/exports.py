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
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any
from zipfile import ZipFile

from persona_ft.chat.messages import MAX_LINE, ChatMessage, lines_of, open_text, open_zip
from persona_ft.errors import PersonaError

# Column names that a table of one's own may use without a map.
COLUMNS = {
    "time": ("time", "date", "datetime", "timestamp", "at", "日時", "時刻"),
    "speaker": ("speaker", "author", "sender", "from", "name", "user", "発言者", "名前"),
    "text": ("text", "message", "content", "body", "本文", "メッセージ"),
}


def items_of(stream: IO[bytes], prefix: str, name: str) -> Iterator[Any]:
    """The objects under a prefix of a JSON file, one at a time.

    Raises
    ------
    PersonaError
        The file is not JSON, or is cut off.
    """
    import ijson

    try:
        if stream.read(3) != codecs.BOM_UTF8:
            stream.seek(0)
        yield from ijson.items(stream, prefix, use_float=True)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0][:80] if isinstance(error, ijson.IncompleteJSONError) else "it is not JSON"
        raise PersonaError(f"the JSON cannot be read ({reason})", "download or export it again", name) from error


# What may be shown of a time that cannot be read: anything else might be somebody's words in the wrong column.
TIME_LIKE = re.compile(r"\d{1,4}[/.年-]\d{1,2}[/.月-]\d{1,4}[\d\s:.日時分秒TZ+-]{0,30}")
KANJI_TIME = str.maketrans({"年": "-", "月": "-", "日": " ", "時": ":", "分": ":", "秒": " ", "/": "-"})
NUMBERS_FIRST = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-]\d{4}")


def time_of(value: Any, name: str, what: str = "message", day_first: bool | None = None) -> datetime:
    """A time from an ISO text, a Unix time in seconds or milliseconds, or a written form; without its zone.

    Parameters
    ----------
    day_first : how 3/4/2024 is meant, where that is known.

    Raises
    ------
    PersonaError
        It is none of these; what does not look like a time is not repeated.
    """
    text = str(value).strip()
    try:
        if re.fullmatch(r"\d{9,11}(?:\.\d+)?|\d{12,14}", text):
            seconds = float(text) / (1000 if len(text.split(".")[0]) > 11 else 1)
            return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
        try:
            return datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            return _written_time(text, day_first)
    except (ValueError, OverflowError, OSError) as error:
        shown = f"is {text!r}" if TIME_LIKE.fullmatch(text) else "cannot be read"
        raise PersonaError(f"the time of {what} {shown}", "write times like 2024-01-31 09:15", name) from error


def _written_time(text: str, day_first: bool | None) -> datetime:
    from dateutil import parser

    if not re.match(r"\d", text):  # it would take a word alone for a day
        raise ValueError
    if (numbers := NUMBERS_FIRST.match(text)) and day_first is None:
        a, b = int(numbers[1]), int(numbers[2])
        if max(a, b) <= 12 and a != b:
            raise ValueError
        day_first = a > 12
    plain = text.translate(KANJI_TIME).strip(" :")
    found = parser.parse(plain, dayfirst=bool(day_first), yearfirst=not numbers)
    return found.replace(tzinfo=None)


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PersonaError(f"a message is {type(value).__name__} and no object", "export the chat again", name)
    return value


# Telegram -----------------------------------------------------------------------------------------------------------


def read_telegram(path: Path) -> Iterator[ChatMessage]:
    """``result.json`` of Telegram Desktop: one chat, or the full export of all chats.

    https://core.telegram.org/import-export describes the machine-readable form.
    """
    with path.open("rb") as stream:
        is_full = re.search(rb'"(?:chats|about|personal_information)"\s*:', stream.read(4096))
    if not is_full:
        with path.open("rb") as stream:
            for message in items_of(stream, "messages.item", path.name):
                yield _telegram(_object(message, path.name), "", path.name)
        return
    with path.open("rb") as stream:
        chats = list(_names_of_chats(stream, path.name))
    with path.open("rb") as stream:
        for n, message in _telegram_all(stream, path.name):
            yield _telegram(message, chats[n], path.name)


# Chats that the user is in, and has left.
CHATS = ("chats.list.item", "left_chats.list.item")


def _names_of_chats(stream: IO[bytes], name: str) -> Iterator[str]:
    """Name and number of each chat: two people may be called the same."""
    import ijson

    try:
        for prefix, event, value in ijson.parse(stream):
            if prefix in CHATS and event == "start_map":
                title = ""
            elif prefix.removesuffix(".name").removesuffix(".id") in CHATS and event in ("string", "number"):
                title = f"{title} {value}".strip()
            elif prefix in CHATS and event == "end_map":
                yield title
    except ijson.JSONError as error:
        raise PersonaError("the JSON cannot be read", "export it again", name) from error


def _telegram_all(stream: IO[bytes], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the chat, message) for all chats, a message at a time."""
    import ijson

    n, builder = -1, None
    try:
        for prefix, event, value in ijson.parse(stream, use_float=True):
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
    except ijson.JSONError as error:
        raise PersonaError("the JSON cannot be read", "export it again", name) from error


def _telegram(message: dict[str, Any], chat: str, name: str) -> ChatMessage:
    parts = message.get("text", "")
    if isinstance(parts, list):
        parts = "".join(p if isinstance(p, str) else str(p.get("text", "")) for p in parts)
    at = message.get("date") or message.get("date_unixtime") or ""
    if not at and message.get("type") == "unsupported":  # too new for the Telegram that wrote it: it has a number alone
        at = "1970-01-01"
    at = time_of(at, name, f"message {message.get('id', '?')}")
    kind = "text"
    if message.get("type") != "message":
        kind = "system"
    elif "forwarded_from" in message:
        kind = "forwarded"
    elif message.get("via_bot"):
        kind = "bot"
    elif not parts:
        kind = "sticker" if message.get("media_type") == "sticker" else "media"
    return ChatMessage(
        at,
        str(message.get("from") or message.get("actor") or message.get("from_id") or "deleted account"),
        str(parts).strip(),
        kind,
        chat,
        str(message.get("id", "")),
        str(message.get("reply_to_message_id") or ""),
    )


# Discord ------------------------------------------------------------------------------------------------------------


def read_discord(path: Path) -> Iterator[ChatMessage]:
    """JSON of DiscordChatExporter (https://github.com/Tyrrrz/DiscordChatExporter), one channel a file."""
    with path.open("rb") as stream:
        channel = next(items_of(stream, "channel.name", path.name), "")
    with path.open("rb") as stream:
        for message in items_of(stream, "messages.item", path.name):
            author = _object(_object(message, path.name).get("author") or {}, path.name)
            text = str(message.get("content") or "").strip()
            kind = "text"
            if author.get("isBot"):
                kind = "bot"
            elif message.get("type") not in ("Default", "Reply", None):
                kind = "system"
            elif (message.get("reference") or {}).get("type") == "Forward":
                kind = "forwarded"
            elif not text:
                kind = "sticker" if message.get("stickers") else "media"
            yield ChatMessage(
                time_of(message.get("timestamp", ""), path.name, f"message {message.get('id', '?')}"),
                str(author.get("nickname") or author.get("name") or "unknown"),
                text,
                kind,
                str(channel),
                str(message.get("id", "")),
                str((message.get("reference") or {}).get("messageId") or ""),
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
                    rows = csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""))
                for row in rows:
                    text = str(row.get("Contents") or "").strip()
                    kind = "text" if text else "media"
                    at = time_of(row.get("Timestamp") or "1970-01-01", member.filename)
                    yield ChatMessage(at, "me", text, kind, where.parent.name, str(row.get("ID", "")))


# Slack --------------------------------------------------------------------------------------------------------------


def read_slack(path: Path) -> Iterator[ChatMessage]:
    """Slack's export zip: users.json, and one JSON file a day in each channel's folder.

    https://slack.com/help/articles/220556107 describes the form.
    """
    with open_zip(path) as archive:
        names = {
            str(user.get("id")): _slack_name(user)
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


def _slack_list(archive: ZipFile, name: str) -> list[Any]:
    try:
        found = json.loads(archive.read(name).decode("utf-8"))
    except KeyError:
        return []
    except ValueError as error:
        raise PersonaError("the file is not JSON", "export the workspace again", name) from error
    if not isinstance(found, list):
        raise PersonaError("the file is no list", "export the workspace again", name)
    return found


def _slack_name(user: dict[str, Any]) -> str:
    profile = user.get("profile") or {}
    known = profile.get("display_name") or user.get("real_name") or profile.get("real_name") or user.get("name")
    return str(known or user.get("id"))


def _slack(message: Any, names: dict[str, str], channel: str, name: str) -> ChatMessage:
    if not isinstance(message, dict) or "ts" not in message:
        raise PersonaError("a message has no time", "export the workspace again", name)
    user = str(message.get("user") or message.get("bot_id") or "")
    text = str(message.get("text") or "")
    text = re.sub(r"<@([A-Z0-9]+)(?:\|[^>]*)?>", lambda m: "@" + names.get(m[1], m[1]), text)
    text = re.sub(r"<#([A-Z0-9]+)(?:\|([^>]*))?>", lambda m: "#" + (m[2] or m[1]), text)
    text = re.sub(r"<!(?:subteam\^[A-Z0-9]+\|)?@?([^|>^]+)(?:\|[^>]*)?>", r"@\1", text)
    text = re.sub(r"<((?:https?|mailto):[^|>]+)(?:\|[^>]*)?>", r"\1", text)
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


def read_table(path: Path, columns: dict[str, str] | None = None) -> Iterator[ChatMessage]:
    """A CSV (comma or tab) or JSONL file with a time, a speaker and a text in each row.

    Parameters
    ----------
    columns : which of the file's columns is ``time``, ``speaker`` and ``text``; the usual names are known.

    Raises
    ------
    PersonaError
        A column is missing (the message lists those that are there), or a row cannot be used: file and line are named.
    """
    with open_text(path) as stream:
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            rows: Iterator[tuple[int, dict[str, Any]]] = _json_rows(stream, path.name)
        else:
            head = stream.readline(MAX_LINE)
            if re.fullmatch(r"sep=.\s*", head):  # for Excel
                head = stream.readline(MAX_LINE)
            delimiter = max("\t;,", key=head.count)
            rows = _csv_rows(itertools.chain([head], stream), delimiter, path.name)
        where: dict[str, str] | None = None
        day_first: bool | None = None
        for number, row in rows:
            if not any(str(value or "").strip() for value in row.values()):
                continue
            where = where or _map_columns(row, columns or {}, path.name)
            missing = [key for key, column in where.items() if row.get(column) is None]
            if missing:
                raise PersonaError(f"the row has no {missing[0]}", "fill it in or remove the row", path.name, number)
            try:
                if day_first is None and NUMBERS_FIRST.match(str(row[where["time"]])):
                    day_first = _day_first(path)
                at = time_of(row[where["time"]], path.name, day_first=day_first)
            except PersonaError as error:
                raise PersonaError(error.reason, error.remedy, path.name, number) from error
            text = str(row[where["text"]]).strip()
            yield ChatMessage(at, str(row[where["speaker"]]).strip(), text, "text" if text else "media")


def _day_first(path: Path) -> bool | None:
    """How a table's 3/4/2024 are meant: a number above 12 in any of its dates can only be a day."""
    with open_text(path) as stream:
        for match in NUMBERS_FIRST.finditer(stream.read(50_000_000)):
            if max(int(match[1]), int(match[2])) > 12:
                return int(match[1]) > 12
    return None


def _json_rows(stream: IO[str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines_of(stream, name):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PersonaError("the line is not JSON", "keep one object on each line", name, number) from error
        if not isinstance(row, dict):
            raise PersonaError("the line is no object", 'write {"time": …, "speaker": …, "text": …}', name, number)
        yield number, row


def _csv_rows(stream: Iterable[str], delimiter: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Strict: a quote that is opened and never closed would swallow every row after it.
    reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise PersonaError(
            f"the row cannot be read ({error})", "save it as CSV again", name, reader.line_num
        ) from error


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
    return found
