"""Which format is it? One call for all of them."""

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from persona_ft.chat.exports import read_json, read_slack, read_slackdump, read_telegram
from persona_ft.chat.line import looks_like_line, read_line
from persona_ft.chat.messages import ChatMessage, Source, head_of, marked_encoding, open_zip, readable
from persona_ft.chat.patterns import joined
from persona_ft.chat.table import read_table
from persona_ft.chat.whatsapp import looks_like_whatsapp, read_whatsapp
from persona_ft.errors import PersonaError
from persona_ft.io import packaged

READERS: dict[str, Callable[..., Iterator[ChatMessage]]] = {
    "line": read_line,
    "whatsapp": read_whatsapp,
    "telegram": read_telegram,
    "slack": read_slack,
    "slackdump": read_slackdump,
    "table": read_table,
} | {app: partial(read_json, app=app) for app in ("discord", "instagram or messenger", "google chat")}
KNOWN = ", ".join(READERS)
CSV = "make a CSV of it with the columns time, speaker, text"
# What is read inside of a zip; a zip of Slack or of Discord's own package is one export as a whole.
INSIDE = (".txt", ".json", ".html", ".htm", ".js")


@contextmanager
def chats_in(path: Path, fmt: str = "auto") -> Iterator[list[tuple[Source, str]]]:
    """The chats in a file with their formats, from the names in a zip, a JSON's keys, a text's first lines."""
    with readable(path.name):
        head = head_of(path)
        if not head.startswith(b"PK"):
            yield [(path, _format(path, head) if fmt == "auto" else fmt)]
            return
        with open_zip(path) as archive:
            names = "\n".join(archive.namelist())
            if fmt == "auto" and re.search(r"(?m)(?:^|/)messages/c?\d+/messages\.(?:json|csv)$", names):
                reason = "this is Discord's own data package, which has your messages without those that you answered"
                raise PersonaError(reason, "export the chats with DiscordChatExporter, as JSON", path.name)
            if fmt == "auto" and re.search(r"(?m)/\d{4}-\d{2}-\d{2}\.json$", names):
                fmt = "slack"
            yield [(path, fmt)] if fmt == "slack" else _members(path, archive, fmt)


def _members(path: Path, archive: zipfile.ZipFile, fmt: str) -> list[tuple[Source, str]]:
    """The chats in a zip, oldest first; attached texts that are no chats are passed over."""
    found, refused = [], []
    # Of Meta's files message_2.json is older than message_1.json.
    age = re.compile(r"message_(\d{1,9})\.json$")
    for member in sorted(archive.namelist(), key=lambda name: -max(map(int, age.findall(name)), default=0)):
        source = zipfile.Path(archive, member)
        if not member.lower().endswith(INSIDE) or "__MACOSX/" in member:
            continue
        try:
            found.append((source, fmt if fmt != "auto" else _format(source, head_of(source))))
        except PersonaError as error:
            refused += [error] * error.reason.startswith("this is")
    if not found:
        unknown = PersonaError("the zip holds no chat that is known", f"give one of {KNOWN}", path.name)
        raise [*refused, unknown][0]
    # Beside the chat itself an iPhone packs what was sent in it, other chats' texts among it.
    return [item for item in found if item[0].name == "_chat.txt"] or found


def _format(path: Source, raw: bytes) -> str:
    """By the file's name and how it begins, the surest marks first."""
    suffix, told, marked = path.suffix.lower(), packaged("chat/formats"), marked_encoding(raw)
    if re.search(r"\.(?:backup|crypt\d*)$", path.name, re.I):
        raise PersonaError("this is an encrypted backup", "use Export chat in the app, without media", path.name)
    if suffix in (".csv", ".tsv"):
        return "table"
    head = raw.decode(marked or "utf-8", errors="replace").lstrip("\ufeff")
    if "\ufffd" in head[:-8] and not marked:
        head = raw.decode("cp932", errors="replace")
    is_json, of_lines = head.lstrip().startswith("{"), suffix in (".jsonl", ".ndjson")
    if is_json and not of_lines:
        if found := next((fmt for fmt, keys in told["keys"].items() if re.search(keys, head, re.S)), None):
            return found
    elif looks_like_whatsapp(head):
        return "whatsapp"
    elif head.lstrip().startswith("[LINE]"):
        return "line"
    for other in told["others"]:
        if re.search(joined(other["pattern"], {}), head, re.S | re.M | re.I):
            raise PersonaError(f"this is {other['name']}, which is not read", other.get("remedy", CSV), path.name)
    if of_lines:
        return "table"
    if is_json and re.search(told["telegram"], head):
        return "telegram"
    if looks_like_line(head):
        return "line"
    raise PersonaError("the format is not known", f"it is none of {KNOWN}; or {CSV}", path.name)


def read_chat(path: Path | str, fmt: str = "auto", columns: dict[str, str] | None = None) -> Iterator[ChatMessage]:
    """Messages of an export, in its order, one at a time: memory does not grow with the file. ``path``: a file or zip
    as the app exported it. ``fmt``: one of :data:`READERS`, or ``auto``. ``columns``: which of a table's columns is
    ``time``, ``speaker`` and ``text``, where they have other names, and how ``dates`` are meant there or in a chat of
    WhatsApp's: ``dmy``, ``mdy`` or ``ymd``. PersonaError names the file and, if known, the line."""
    path, columns = Path(path).expanduser(), columns or {}
    if fmt != "auto" and fmt not in READERS:
        raise PersonaError(f"the format {fmt!r} is not known", f"use auto or one of {KNOWN}")
    with readable(path.name[:60]):  # the system refuses a path that is too long
        if path.is_dir():
            raise PersonaError("this is a folder", "give one exported file, or zip the folder", path.name)
        if not path.is_file():
            raise PersonaError("there is no such file", "give the path of an exported chat", path.name)
    settings = {"table": (columns,), "whatsapp": (columns.get("dates", ""),)}
    empty = True
    with chats_in(path, fmt) as chats:
        for source, found in chats:
            place = PurePosixPath(getattr(source, "at", source.name))
            in_folder = found in ("instagram or messenger", "google chat")
            where = place.parent if in_folder else place.with_suffix("")
            for message in READERS[found](source, *settings.get(found, ())):
                empty = False
                if len(chats) > 1:
                    message.chat = f"{where}/{message.chat}".rstrip("/")
                yield message
    if empty:
        remedy = "export the chat again, as text, in Japanese or English"
        raise PersonaError("no message was found in it", remedy, path.name)


def hear(messages: Iterator[ChatMessage], heard: Counter[str]) -> Iterator[ChatMessage]:
    """Messages as they come, while it is counted who wrote how many."""
    for message in messages:
        if message.kind == "text":
            heard[message.speaker] += 1
        yield message


def speakers(messages: Iterator[ChatMessage]) -> list[tuple[str, int]]:
    """Who wrote how many messages, most first: to choose who you are."""
    return Counter(message.speaker for message in messages if message.kind == "text").most_common()
