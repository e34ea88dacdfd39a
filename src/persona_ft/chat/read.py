"""Which format is it? One call for all of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from persona_ft.chat.exports import read_discord, read_discord_package, read_slack, read_table, read_telegram
from persona_ft.chat.line import looks_like_line, read_line
from persona_ft.chat.messages import BOMS, ChatMessage, open_zip
from persona_ft.chat.whatsapp import looks_like_whatsapp, read_whatsapp
from persona_ft.errors import PersonaError

READERS: dict[str, Callable[[Path], Iterator[ChatMessage]]] = {
    "line": read_line,
    "whatsapp": read_whatsapp,
    "telegram": read_telegram,
    "discord": read_discord,
    "discord package": read_discord_package,
    "slack": read_slack,
    "table": read_table,
}


def detect(path: Path) -> str:
    """The format of an export, from its name and its first bytes.

    Raises
    ------
    PersonaError
        It is none that is known, or cannot be read.
    """
    known = f"it is none of {', '.join(READERS)}"
    try:
        with path.open("rb") as stream:
            raw = stream.read(8192)
    except OSError as error:
        raise PersonaError(f"the file cannot be read ({error.strerror})", "check the path", path.name) from error
    if not raw:
        raise PersonaError("the file is empty", "export the chat again", path.name)
    if raw.startswith(b"PK"):
        with open_zip(path) as archive:
            names = archive.namelist()
        if any(re.search(r"(?:^|/)messages\.(?:json|csv)$", name) for name in names):
            return "discord package"
        if any(re.search(r"/\d{4}-\d{2}-\d{2}\.json$", name) for name in names):
            return "slack"
        if any(name.lower().endswith(".txt") for name in names):
            return "whatsapp"
        raise PersonaError("the zip holds no chat that is known", known, path.name)
    if path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".ndjson"):
        return "table"
    encoding = next((name for bom, name in BOMS if raw.startswith(bom)), None)
    head = raw.decode(encoding or "utf-8", errors="replace").lstrip("\ufeff")
    if "\ufffd" in head[:-8] and not encoding:
        head = raw.decode("cp932", errors="replace")
    if head.lstrip().startswith("{"):
        if re.search(r'"(?:guild|channel)"\s*:', head):
            return "discord"
        if re.search(r'"(?:chats|personal_information|about)"\s*:|"type"\s*:\s*"[a-z_]+"|"messages"\s*:', head):
            return "telegram"
    if looks_like_whatsapp(head):
        return "whatsapp"
    if looks_like_line(head):
        return "line"
    raise PersonaError("the format is not known", f"{known}; or make a CSV of it", path.name)


def read_chat(path: Path | str, fmt: str = "auto", columns: dict[str, str] | None = None) -> Iterator[ChatMessage]:
    """Messages of an export, in its order, one at a time: memory does not grow with the file.

    Parameters
    ----------
    path : a file or zip as the app exported it.
    fmt : one of :data:`READERS`, or ``auto``.
    columns : for a table whose columns have other names: which is ``time``, ``speaker``, ``text``.

    Raises
    ------
    PersonaError
        Names the file, the line where there is one, and what to do.
    """
    path = Path(path).expanduser()
    if fmt != "auto" and fmt not in READERS:
        raise PersonaError(f"the format {fmt!r} is not known", f"use auto or one of {', '.join(READERS)}")
    if path.is_dir():
        raise PersonaError("this is a folder", "give one exported file, or zip the folder", path.name)
    if not path.is_file():
        raise PersonaError("there is no such file", "give the path of an exported chat", path.name)
    found = detect(path) if fmt == "auto" else fmt
    messages = read_table(path, columns) if found == "table" else READERS[found](path)
    first = next(messages, None)
    if first is None:
        raise PersonaError(
            "no message was found in it", "export the chat again, as text, in Japanese or English", path.name
        )
    yield first
    yield from messages


def speakers(messages: Iterator[ChatMessage]) -> list[tuple[str, int]]:
    """Who wrote how many messages, most first: to choose who you are."""
    return Counter(message.speaker for message in messages if message.kind == "text").most_common()
