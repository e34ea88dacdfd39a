"""Exports as JSON: Telegram, Discord, Slack, Google Chat, Messenger and Instagram, by where each keeps what
(``exports.yaml``). Messages are read one at a time (ijson), and whatever a file holds is read or is one clear error."""

import codecs
import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from persona_ft.chat.messages import MAX_LINE, ChatMessage, Source, Speakers, head_of, open_zip
from persona_ft.chat.times import time_of
from persona_ft.errors import PersonaError
from persona_ft.io import packaged

# How deep a chat's JSON may be, and how long its numbers.
MAX_DEPTH, MAX_DIGITS = 100, 400
OPENING = bytes.maketrans(b"{}", b"[]")


class Sane:
    """A JSON file for ijson, which ends the process at a number of thousands of digits, and whose time grows with the
    square of the depth and of a string's length. Strings are skipped but for that: the rest stands outside of them."""

    STRING = re.compile(rb'"(?:[^"\\\0]++|\\[^\0])*+\\?["\0]', re.S)
    NO_BRACKET = bytes(set(range(256)) - set(b"[{]}"))

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.depth, self.open, self.digits, self.long = stream, 0, b"", b"", 0
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
        self.long = self.long + len(piece) if self.open and not outside else 0
        if self.long > MAX_LINE:
            raise ValueError(f"a text has more than {MAX_LINE:,} bytes")
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
def open_json(path: Source) -> Iterator[Sane]:
    """A JSON file for ijson; whatever a reader raises becomes one sentence."""
    import ijson

    try:
        with path.open("rb") as stream:
            yield Sane(stream)
    except (ijson.JSONError, ValueError, RecursionError) as error:
        told = isinstance(error, ijson.IncompleteJSONError) or type(error) is ValueError
        reason = str(error).splitlines()[0][:80] if told and str(error) else "it is not JSON"
        raise PersonaError(f"the JSON cannot be read ({reason})", "download or export it again", path.name) from error


def items_of(path: Source, prefix: str) -> Iterator[Any]:
    """The objects under a prefix of a JSON file, one at a time; a file that is cut off or no JSON is an error."""
    import ijson

    with open_json(path) as stream:
        yield from ijson.items(stream, prefix, use_float=True)


def loaded(text: str | bytes, name: str, number: int | None = None) -> Any:
    """A whole file, or its line ``number``, as JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f"the {'file' if number is None else 'line'} is not JSON"
        raise PersonaError(reason, "export it again, one object or list whole", name, number) from error


def _applies(rule: dict[str, Any], message: dict[str, Any]) -> bool:
    """Whether the value at a rule's path is what it should be."""
    if "present" in rule:
        return rule["path"] in message
    text = str(first(message, [rule["path"]]) or "")
    if "unless" in rule:
        return re.fullmatch(rule["unless"], text) is None
    return re.fullmatch(rule["is"], text) is not None if "is" in rule else text != ""


def message_of(app: str, raw: Any, speakers: Speakers, name: str, chat: str = "") -> ChatMessage:
    """One message of an app's. ``name``: the file, for errors."""
    form = packaged("chat/exports")[app]
    mended = _mended if form.get("mend") else str
    try:
        text = mended(_text(first(raw, form["text"]))).strip()
        speaker = mended(str(first(raw, form["speaker"]) or form.get("unknown", "unknown")))
        kind = next((rule["kind"] for rule in form.get("kinds", ()) if _applies(rule, raw)), "text")
        if kind == "text" and (not text or re.fullmatch(form.get("instead", "(?!)"), text)):
            kind = "sticker" if "sticker" in form and _applies(form["sticker"], raw) else "media"
        # What is too new for the Telegram that wrote the file has no time.
        at = first(raw, form["at"]) or ("1970-01-01" if kind == "system" else "")
        at = time_of(at, name, f"message {raw['id']}" if raw.get("id") else "message")
        number, answered = (str(first(raw, form.get(key, ())) or "") for key in ("id", "reply_to"))
        person = first(raw, form.get("person", ()))
        return ChatMessage(at, speakers(speaker, person), text, kind, chat, number, answered)
    except TypeError as error:
        raise PersonaError(str(error), "export the chat again", name) from error


def first(message: Any, paths: Iterable[str]) -> Any:
    """The first value that stands at one of some paths, such as ``author.name``: None where none does, a ``TypeError``
    where none can."""
    for path in paths:
        value = message
        if "." not in path and isinstance(message, dict):  # as most are: it is asked a dozen times for each message
            value = message.get(path)
        else:
            for key in path.split("."):
                if not isinstance(value, dict) and (value is not None or message is None):
                    what = "a message" if value is message else "a part of a message"
                    raise TypeError(f"{what} is {type(value).__name__} and no object")
                value = value.get(key) if value else None
        if value:
            return value
    return None


def _text(value: Any) -> str:
    """A text, which may come in pieces: plain, and of some kind such as bold."""
    if isinstance(value, list):
        return "".join(str(part.get("text", "") if isinstance(part, dict) else part) for part in value)
    return str(value or "")


def _mended(text: str) -> str:
    """Meta writes the bytes of UTF-8 as if each were a letter."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def read_json(path: Source, app: str) -> Iterator[ChatMessage]:
    """The messages of one chat in an app's JSON file, oldest first."""
    form, speakers = packaged("chat/exports")[app], Speakers()
    chat = str(next(items_of(path, form["title"]), "")) if "title" in form else ""
    messages = (message_of(app, raw, speakers, path.name, chat) for raw in items_of(path, form["messages"]))
    if "newest_first" in form:
        # Of one time the later in the file is the earlier. A file of Meta's holds ten thousand messages at most.
        messages = sorted(list(messages)[::-1], key=lambda message: message.at)
    yield from messages


# The path of a chat in an export of all of them.
CHAT = "chats.list.item"


def read_telegram(path: Source) -> Iterator[ChatMessage]:
    """``result.json`` of Telegram Desktop (https://core.telegram.org/import-export): one chat, or all chats."""
    speakers, head, chat = Speakers(), head_of(path)[:4096], {}
    if re.search(rb'"(?:chats|about|personal_information)"\s*:', head):
        found = _all_chats(path, chat)
    else:
        found = items_of(path, "messages.item")
        if re.search(rb'"type"\s*:\s*"bot_chat"', head.partition(b'"messages"')[0]):
            chat["type"] = "bot_chat"
    for raw in found:
        # A chat has its number in its name: two people may be called the same.
        title = f"{chat.get('name', '')} {chat.get('id', '')}".strip()
        message = message_of("telegram", raw, speakers, path.name, title)
        if chat.get("type") == "bot_chat" and message.kind == "text":
            message.kind = "bot"
        yield message


def _all_chats(path: Source, chat: dict[str, Any]) -> Iterator[Any]:
    """The messages of all chats, one at a time; ``chat`` is filled with what is said of the one that they are in."""
    import ijson

    def noted(stream: Sane) -> Iterator[tuple[str, str, Any]]:
        for prefix, event, value in ijson.parse(stream, use_float=True):
            place = prefix.removeprefix("left_")  # of a chat that the user has left
            parent, _, key = place.rpartition(".")
            if place == CHAT and event == "start_map":
                chat.clear()
            elif parent == CHAT and event in ("string", "number"):
                chat[key] = value
            yield place, event, value

    with open_json(path) as stream:
        yield from ijson.items(noted(stream), f"{CHAT}.messages.item")


def _slack_name(user: dict[str, Any]) -> str:
    profile = user.get("profile") if isinstance(user.get("profile"), dict) else {}
    return str(first(user | {"profile": profile}, packaged("chat/exports")["slackdump"]["names"]))


def _slack(raw: Any, names: dict[str, str], channel: str, name: str) -> ChatMessage:
    """One message; a thread is a talk of its own, since what answers it stands in it."""
    if not isinstance(raw, dict) or "ts" not in raw:
        raise PersonaError("a message has no time", "export the workspace again", name)
    user = str(first(raw, ("user", "bot_id")) or "unknown")
    text = str(raw.get("text") or "")
    if "<" in text:
        text = re.sub(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>", lambda m: "@" + names.get(m[1], m[1]), text)
        for pattern, written in packaged("chat/exports")["slackdump"]["angled"]:
            text = re.sub(pattern, written, text)
    speaker = names.get(user) or _slack_name({"id": user, "profile": raw.get("user_profile")})
    raw = raw | {"text": html.unescape(text), "speaker": speaker, "id": None}
    thread = str(raw.get("thread_ts") or "")
    return message_of("slackdump", raw, Speakers(), name, f"{channel}/{thread}" if thread else channel)


def read_slack(path: Path) -> Iterator[ChatMessage]:
    """Slack's export zip (https://slack.com/help/articles/220556107): users.json, and one JSON file a day in each
    channel's folder."""
    speakers = Speakers()
    with open_zip(path) as archive:

        def rows(member: str) -> list[Any]:
            found = loaded(archive.read(member), member)
            if not isinstance(found, list):
                raise PersonaError("the file is no list", "export the workspace again", member)
            return found

        names = {
            str(user.get("id")): speakers(_slack_name(user), user.get("id"))
            for member in archive.namelist()
            # One folder down where the export was unpacked and zipped again; org_users.json on an Enterprise plan.
            if re.fullmatch(r"(?:[^/]+/)?(?:org_)?users\.json", member)
            for user in rows(member)
            if isinstance(user, dict)
        }
        days = sorted(name for name in archive.namelist() if re.fullmatch(r".+/\d{4}-\d{2}-\d{2}\.json", name))
        if not days:
            raise PersonaError("the zip holds no channel with days", "export the workspace again", path.name)
        for member in days:
            for raw in rows(member):
                yield _slack(raw, names, PurePosixPath(member).parent.name, member)


def read_slackdump(path: Source) -> Iterator[ChatMessage]:
    """A channel as slackdump writes it: people have numbers, unless a message says their names."""
    channel = str(next(items_of(path, "name"), ""))
    for raw in items_of(path, "messages.item"):
        yield _slack(raw, {}, channel, path.name)
        replies = raw.get("slackdump_thread_replies")
        for reply in replies if isinstance(replies, list) else ():
            yield _slack(reply, {}, channel, path.name)
