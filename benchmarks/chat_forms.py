"""The same chat in every form that is read: those of ``scripts/chat_samples.py``, and those that have no sample.

Imported by ``chat_robust.py`` and ``chat_scale.py``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from chat_samples import ME, OTHER, SAMPLES, Said, line_phone, telegram, zipped


def meta(said: Sequence[Said]) -> str:
    """Instagram's and Messenger's message_1.json, which begins with the newest message."""

    def written(text: str) -> str:  # each byte of UTF-8 as a letter, as Meta writes it
        return text.encode().decode("latin-1")

    rows = [
        {"sender_name": written(who), "timestamp_ms": int(at.replace(tzinfo=UTC).timestamp() * 1000)}
        | {"content": written(text)}
        for at, who, text in reversed(said)
    ]
    return json.dumps({"participants": [{"name": written(OTHER)}, {"name": written(ME)}], "messages": rows}, indent=1)


def instagram(said: Sequence[Said]) -> bytes:
    """Instagram's download: ten thousand messages a file, the newest in message_1.json."""
    files = [meta(said[max(0, end - 10_000) : end]) for end in range(len(said), 0, -10_000)]
    return zipped({f"messages/inbox/hanako_1/message_{n}.json": text for n, text in enumerate(files, start=1)})


def telegram_all(said: Sequence[Said]) -> str:
    """Telegram Desktop's result.json of a whole account."""
    chats = {"list": [json.loads(telegram(said))]}
    return json.dumps({"about": "Here is the data you requested.", "chats": chats}, ensure_ascii=False, indent=1)


def google_chat(said: Sequence[Said]) -> str:
    """messages.json of a Takeout of Google Chat."""
    rows = [
        {"creator": {"name": who, "email": f"{len(who)}@example.org", "user_type": "Human"}}
        | {"created_date": f"{at:%A, %B %d, %Y at %I:%M:%S\u202f%p} UTC", "text": text, "message_id": str(n)}
        for n, (at, who, text) in enumerate(said)
    ]
    return json.dumps({"messages": rows}, ensure_ascii=False, indent=1)


def slackdump(said: Sequence[Said]) -> str:
    """A channel as slackdump writes it: its people are known by their numbers alone."""
    rows = [
        {"type": "message", "user": who, "ts": f"{at.replace(tzinfo=UTC).timestamp():.6f}", "text": text}
        for at, who, text in said
    ]
    return json.dumps({"channel_id": "D1", "name": "talk", "messages": rows}, ensure_ascii=False, indent=1)


def jsonl(said: Sequence[Said]) -> str:
    """A table of one's own, an object a line."""
    rows = ({"time": at.isoformat(" "), "speaker": who, "text": text} for at, who, text in said)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


FORMS: dict[str, Callable[[Sequence[Said]], str | bytes]] = SAMPLES | {
    "line_shift_jis.txt": lambda said: line_phone(said).encode("cp932"),
    "telegram_all.json": telegram_all,
    "instagram.zip": instagram,
    "messenger.json": meta,
    "google_chat.json": google_chat,
    "slackdump.json": slackdump,
    "table.jsonl": jsonl,
}


def write_form(name: str, said: Sequence[Said], folder: Path) -> Path:
    """Write a chat in one of the forms."""
    content = FORMS[name](said)
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
