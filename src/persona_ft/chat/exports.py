"""Exports as JSON: Telegram, Discord, Slack, Google Chat, Messenger and Instagram, by where each keeps what
(``exports.yaml``). Messages are read one at a time."""

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from persona_ft.chat.json_stream import items_of, loaded, open_json
from persona_ft.chat.messages import ChatMessage, Source, Speakers, head_of, open_zip
from persona_ft.chat.patterns import read_yaml
from persona_ft.chat.times import time_of
from persona_ft.errors import PersonaError


def _applies(rule: dict[str, Any], message: dict[str, Any]) -> bool:
    """Whether the value at a rule's path is what it should be."""
    if "present" in rule:
        return rule["path"] in message
    text = str(value_at(message, rule["path"]) or "")
    if "unless" in rule:
        return re.fullmatch(rule["unless"], text) is None
    return re.fullmatch(rule["is"], text) is not None if "is" in rule else text != ""


def message_of(app: str, raw: Any, speakers: Speakers, name: str, chat: str = "") -> ChatMessage:
    """One message of an app's. ``name``: the file, for errors."""
    form = read_yaml("exports")[app]
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


def value_at(message: Any, path: str) -> Any:
    """What stands at a path such as ``author.name``; None where nothing does, a ``TypeError`` where nothing can."""
    if "." not in path and isinstance(message, dict):  # as most are: it is asked a dozen times for each message
        return message.get(path)
    value = message
    for key in path.split("."):
        if not isinstance(value, dict) and (value is not None or message is None):
            what = "a message" if value is message else "a part of a message"
            raise TypeError(f"{what} is {type(value).__name__} and no object")
        value = value.get(key) if value else None
    return value


def first(message: Any, paths: Sequence[str]) -> Any:
    """The first value that is there; None where none is."""
    for path in paths:
        if value := value_at(message, path):
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
    form, speakers = read_yaml("exports")[app], Speakers()
    chat = str(next(items_of(path, form["title"]), "")) if "title" in form else ""
    messages = (message_of(app, raw, speakers, path.name, chat) for raw in items_of(path, form["messages"]))
    if "newest_first" in form:
        # Of one time the later in the file is the earlier. A file of Meta's holds ten thousand messages at most.
        messages = iter(sorted(list(messages)[::-1], key=lambda message: message.at))
    yield from messages


# The chats that the user is in, and has left.
CHATS = ("chats.list.item", "left_chats.list.item")


def read_telegram(path: Source) -> Iterator[ChatMessage]:
    """``result.json`` of Telegram Desktop (https://core.telegram.org/import-export): one chat, or all chats."""
    speakers, head = Speakers(), head_of(path)[:4096]
    if re.search(rb'"(?:chats|about|personal_information)"\s*:', head):
        found = _all_chats(path)
    else:
        of_bot = re.search(rb'"type"\s*:\s*"bot_chat"', head.partition(b'"messages"')[0]) is not None
        found = (("", of_bot, raw) for raw in items_of(path, "messages.item"))
    for title, of_bot, raw in found:
        message = message_of("telegram", raw, speakers, path.name, title)
        if of_bot and message.kind == "text":
            message.kind = "bot"
        yield message


def _all_chats(path: Source) -> Iterator[tuple[str, bool, Any]]:
    """(chat, whether with a bot, message); a chat has its number in its name: two people may be called the same."""
    import ijson

    title, of_bot, builder = "", False, None
    with open_json(path) as stream:
        for prefix, event, value in ijson.parse(stream, use_float=True):
            chat, _, key = prefix.rpartition(".")
            if prefix in CHATS and event == "start_map":
                title, of_bot = "", False
            elif chat in CHATS and key in ("name", "id") and event in ("string", "number"):
                title = f"{title} {value}".strip()
            elif chat in CHATS and key == "type":
                of_bot = value == "bot_chat"
            is_message = prefix.endswith(".messages.item") and prefix.removesuffix(".messages.item") in CHATS
            if is_message and builder is None:
                builder = ijson.ObjectBuilder()
            if builder is not None:
                builder.event(event, value)
                if is_message and event not in ("start_map", "map_key", "start_array"):
                    yield title, of_bot, builder.value
                    builder = None


# What Slack writes in angles, beside a person: a channel, everybody, an address.
ANGLED = (
    (r"<#([A-Z0-9]+)(?:\|([^<>]*))?>", lambda m: "#" + (m[2] or m[1])),
    (r"<!(?:subteam\^[A-Z0-9]+\|)?@?([^|<>^]+)(?:\|[^<>]*)?>", r"@\1"),
    (r"<((?:https?|mailto):[^|<>]+)(?:\|[^<>]*)?>", r"\1"),
)


def _slack_name(user: dict[str, Any]) -> str:
    profile = user.get("profile") if isinstance(user.get("profile"), dict) else {}
    known = ("profile.display_name", "real_name", "profile.real_name", "name", "id")
    return str(first(user | {"profile": profile}, known))


def _slack(raw: Any, names: dict[str, str], channel: str, name: str) -> ChatMessage:
    """One message; a thread is a talk of its own, since what answers it stands in it."""
    if not isinstance(raw, dict) or "ts" not in raw:
        raise PersonaError("a message has no time", "export the workspace again", name)
    user = str(first(raw, ("user", "bot_id")) or "unknown")
    text = str(raw.get("text") or "")
    if "<" in text:
        text = re.sub(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>", lambda m: "@" + names.get(m[1], m[1]), text)
        for pattern, written in ANGLED:
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
