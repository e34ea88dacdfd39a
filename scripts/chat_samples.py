"""The same made-up chat as every app would export it (``data/chats``), to try notebook 02 with and to hold the parsers
against.

    python scripts/chat_samples.py

The chat is the invented persona's questions and answers, asked by 花子 over some weeks, with a telephone number in
every tenth question. What each form looks like follows the apps' documentation and exports that people have published.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from persona_ft.conversation import Conversation, read_jsonl
from persona_ft.paths import resolve

ME, OTHER = "まさき", "花子"


class Said(NamedTuple):
    """Who said what when."""

    at: datetime
    speaker: str
    text: str


def talk_of(pairs: Sequence[Conversation], talk: int = 6) -> list[Said]:
    """Questions and answers as messages: ``talk`` pairs an evening, a minute between a question and its answer."""
    said, start = [], datetime(2024, 4, 1, 20)
    for i, pair in enumerate(pairs):
        at = start + timedelta(days=i // talk, minutes=10 * (i % talk))
        number = f"\n090-1234-{i:04d}にかけて" if i % 10 == 0 else ""
        said += [Said(at, OTHER, pair.question + number), Said(at + timedelta(minutes=1), ME, pair.answer)]
    return said


def line_phone(said: Sequence[Said]) -> str:
    """LINE on a phone: tabs, a date above each day, texts of several lines in quotes."""
    lines, day = [f"[LINE] {OTHER}とのトーク履歴", "保存日時：2024/06/01 10:00"], None
    for at, speaker, text in said:
        if at.date() != day:
            day = at.date()
            lines += ["", f"{at:%Y/%m/%d}({'月火水木金土日'[at.weekday()]})"]
        quoted = f'"{text.replace(chr(34), chr(34) * 2)}"' if "\n" in text else text
        lines.append(f"{at:%H:%M}\t{speaker}\t{quoted}")
    return "\n".join(lines) + "\n"


def line_desktop(said: Sequence[Said]) -> str:
    """LINE on a desktop: spaces."""
    lines, day = [], None
    for at, speaker, text in said:
        if at.date() != day:
            day = at.date()
            lines.append(f"{at:%Y.%m.%d} {'月火水木金土日'[at.weekday()]}曜日")
        lines.append(f"{at:%H:%M} {speaker} {text}")
    return "\n".join(lines) + "\n"


def whatsapp_ios(said: Sequence[Said]) -> bytes:
    """WhatsApp on iOS: a zip, dates in brackets, a mark before what the phone itself says."""
    notice = f"[{said[0].at:%d.%m.%y, %H:%M:%S}] {OTHER}: \u200eMessages and calls are end-to-end encrypted.\n"
    text = "".join(f"[{at:%d.%m.%y, %H:%M:%S}] {speaker}: {words}\n" for at, speaker, words in said)
    return zipped({"_chat.txt": notice + text})


def whatsapp_android(said: Sequence[Said]) -> str:
    """WhatsApp on Android in Japanese."""
    notice = f"{said[0].at:%Y/%m/%d %H:%M} - メッセージと通話はエンドツーエンドで暗号化されています。\n"
    return notice + "".join(f"{at:%Y/%m/%d %H:%M} - {speaker}: {words}\n" for at, speaker, words in said)


def telegram(said: Sequence[Said]) -> str:
    """Telegram Desktop's result.json of one chat."""
    rows = [
        {
            "id": n,
            "type": "message",
            "date": at.isoformat(),
            "date_unixtime": f"{at.replace(tzinfo=UTC).timestamp():.0f}",
        }
        | {"from": speaker, "text": words}
        for n, (at, speaker, words) in enumerate(said, start=1)
    ]
    return _json({"name": OTHER, "type": "personal_chat", "id": 1, "messages": rows})


def discord(said: Sequence[Said]) -> str:
    """DiscordChatExporter's JSON."""
    rows = [
        {
            "id": str(n),
            "type": "Default",
            "timestamp": f"{at.isoformat()}+09:00",
            "content": words,
            "author": {"id": str(len(speaker)), "name": speaker, "nickname": speaker, "isBot": False},
            "attachments": [],
        }
        for n, (at, speaker, words) in enumerate(said, start=1)
    ]
    return _json({"guild": {"name": "Direct Messages"}, "channel": {"name": OTHER}, "messages": rows})


def slack(said: Sequence[Said]) -> bytes:
    """Slack's zip: users, and a file a day."""
    ids = {OTHER: "U1", ME: "U2"}
    days: dict[str, list[dict[str, str]]] = {}
    for at, speaker, words in said:
        row = {
            "type": "message",
            "user": ids[speaker],
            "ts": f"{at.replace(tzinfo=UTC).timestamp():.6f}",
            "text": words,
        }
        days.setdefault(f"general/{at:%Y-%m-%d}.json", []).append(row)
    users = [{"id": user, "profile": {"display_name": name}} for name, user in ids.items()]
    return zipped({"users.json": _json(users), **{name: _json(rows) for name, rows in days.items()}})


def table(said: Sequence[Said]) -> str:
    """A table of one's own."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([("time", "speaker", "text"), *((at.isoformat(" "), *rest) for at, *rest in said)])
    return out.getvalue()


SAMPLES: dict[str, Callable[[Sequence[Said]], str | bytes]] = {
    "line_phone.txt": line_phone,
    "line_desktop.txt": line_desktop,
    "whatsapp_ios.zip": whatsapp_ios,
    "whatsapp_android.txt": whatsapp_android,
    "telegram.json": telegram,
    "discord.json": discord,
    "slack.zip": slack,
    "table.csv": table,
}


def write_samples(folder: Path) -> list[Path]:
    """Write every sample into a folder."""
    said = talk_of(read_jsonl(resolve("data/masaki") / "train.jsonl"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, form in SAMPLES.items():
        content = form(said)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return [folder / name for name in SAMPLES]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)  # ZipInfo's date is fixed: the same bytes each time
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/chats"))
    for path in write_samples(resolve(parser.parse_args().out)):
        print(path.name)


if __name__ == "__main__":
    main()
