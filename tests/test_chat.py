"""Chat exports: the same talk in every format, broken files, pairs with their funnel, and private data taken out."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
import time
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from conftest import ROOT

from persona_ft.chat.importing import columns_in, import_chat, names_in, preview
from persona_ft.chat.messages import ChatMessage, Funnel
from persona_ft.chat.pairing import Pairing, advice, pairs_of
from persona_ft.chat.privacy import Finding, Privacy
from persona_ft.chat.read import chats_in, read_chat, speakers
from persona_ft.chat.review import CHOICES, review_form
from persona_ft.data.persona import read_test
from persona_ft.errors import PersonaError
from persona_ft.notebook.run import FROM_CHATS, execute

LINE_PHONE = """[LINE] たろうとのトーク履歴
保存日時：2024/02/01 10:00

2024/01/31(水)
21:05\tたろう\tひま？
21:06\tまさき\tひまひまw
21:07\tまさき\tアニメみてた
21:08\tたろう\t[スタンプ]
21:10\tたろう\t"明日
ラーメン行く？"
21:12\tまさき\t行く！
21:13\t\tたろうがメッセージの送信を取り消しました

2024/02/01(木)
09:00\tまさき\tおはよ
"""
LINE_PHONE_EN = """[LINE] Chat history with たろう
Saved on: 2/1/2024, 10:00 AM

Wed, 1/31/2024
9:05 PM\tたろう\tひま？
9:06 PM\tまさき\tひまひまw
9:07 PM\tまさき\tアニメみてた
9:08 PM\tたろう\t[Sticker]
9:10 PM\tたろう\t"明日
ラーメン行く？"
9:12 PM\tまさき\t行く！
9:13 PM\tたろう unsent a message.

Thu, 2/1/2024
9:00 AM\tまさき\tおはよ
"""
LINE_PHONE_12H = LINE_PHONE.replace("21:", "午後9:").replace("09:00", "午前9:00")
LINE_DESKTOP = """2024.01.31 水曜日
21:05 たろう ひま？
21:06 まさき ひまひまw
21:07 まさき アニメみてた
21:08 たろう スタンプ
21:10 たろう 明日
ラーメン行く？
21:12 まさき 行く！
21:13 たろうがメッセージの送信を取り消しました

2024.02.01 木曜日
09:00 まさき おはよ
"""
LINE_DESKTOP_EN = (
    LINE_DESKTOP.replace("水曜日", "Wednesday").replace("木曜日", "Thursday").replace("スタンプ", "Stickers")
)
WHATSAPP_IOS = """\u200e[31.01.24, 21:04:00] たろう: \u200eMessages and calls are end-to-end encrypted.
[31.01.24, 21:05:01] たろう: ひま？
[31.01.24, 21:06:02] まさき: ひまひまw
[31.01.24, 21:07:03] まさき: アニメみてた \u200e<This message was edited>
\u200e[31.01.24, 21:08:04] たろう: \u200esticker omitted
[31.01.24, 21:10:05] たろう: 明日
ラーメン行く？
[31.01.24, 21:12:06] まさき: 行く！
[31.01.24, 21:13:06] たろう: \u200eThis message was deleted.
[01.02.24, 09:00:07] まさき: おはよ
"""
WHATSAPP_ANDROID_US = """1/31/24, 9:04\u202fPM - Messages and calls are end-to-end encrypted.
1/31/24, 9:05\u202fPM - たろう: ひま？
1/31/24, 9:06\u202fPM - まさき: ひまひまw
1/31/24, 9:07\u202fPM - まさき: アニメみてた
1/31/24, 9:08\u202fPM - たろう: <Media omitted>
1/31/24, 9:10\u202fPM - たろう: 明日
ラーメン行く？
1/31/24, 9:12\u202fPM - まさき: 行く！
1/31/24, 9:13\u202fPM - たろう: This message was deleted
2/1/24, 9:00\u202fAM - まさき: おはよ
"""
WHATSAPP_ANDROID_JA = """2024/01/31 21:04 - メッセージと通話はエンドツーエンドで暗号化されています。
2024/01/31 21:05 - たろう: ひま？
2024/01/31 21:06 - まさき: ひまひまw
2024/01/31 21:07 - まさき: アニメみてた
2024/01/31 21:08 - たろう: <メディアは含まれていません>
2024/01/31 21:10 - たろう: 明日
ラーメン行く？
2024/01/31 21:12 - まさき: 行く！
2024/01/31 21:13 - たろう: このメッセージは削除されました
2024/02/01 09:00 - まさき: おはよ
"""
TALK = [
    ("たろう", "2024-01-31 21:05", "ひま？"),
    ("まさき", "2024-01-31 21:06", "ひまひまw"),
    ("まさき", "2024-01-31 21:07", "アニメみてた"),
    ("たろう", "2024-01-31 21:10", "明日\nラーメン行く？"),
    ("まさき", "2024-01-31 21:12", "行く！"),
    ("まさき", "2024-02-01 09:00", "おはよ"),
]


def zipped(**files: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def locked(archive: bytes) -> bytes:
    """The zip with the flag of a password on each of its files, as zipfile cannot write one."""
    broken = bytearray(archive)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := broken.find(mark, at + 1)) >= 0:
            broken[at + offset] |= 1
    return bytes(broken)


def telegram(full: bool) -> str:
    rows = [
        {"id": n, "type": "message", "date": at.replace(" ", "T") + ":00", "from": who, "text": text}
        for n, (who, at, text) in enumerate(TALK, start=1)
    ]
    rows[1]["text"] = ["ひまひま", {"type": "bold", "text": "w"}]
    rows.insert(
        3,
        {
            "id": 90,
            "type": "message",
            "date": "2024-01-31T21:08:00",
            "from": "たろう",
            "text": "",
            "media_type": "sticker",
        },
    )
    rows.insert(0, {"id": 91, "type": "service", "date": "2024-01-31T21:00:00", "actor": "たろう", "text": ""})
    rows.append(
        {
            "id": 92,
            "type": "message",
            "date": "2024-02-01T10:00:00",
            "from": "たろう",
            "text": "news",
            "forwarded_from": "x",
        }
    )
    chat = {"name": "たろう", "type": "personal_chat", "id": 1, "messages": rows}
    return json.dumps({"about": "…", "chats": {"list": [chat]}} if full else chat, ensure_ascii=False)


def discord() -> str:
    rows = [
        {
            "id": str(n),
            "type": "Default",
            "timestamp": at.replace(" ", "T") + ":00+09:00",
            "content": text,
            "author": {"name": "x", "nickname": who, "isBot": False},
            "attachments": [],
        }
        for n, (who, at, text) in enumerate(TALK)
    ]
    rows.insert(3, rows[0] | {"id": "90", "content": "", "attachments": [{"url": "x"}]})
    rows.insert(0, rows[0] | {"id": "91", "type": "GuildMemberJoin", "content": "joined"})
    rows.append(rows[1] | {"id": "92", "author": {"name": "bot", "isBot": True}})
    return json.dumps({"guild": {"name": "g"}, "channel": {"name": "general"}, "messages": rows}, ensure_ascii=False)


def slack() -> bytes:
    users = [{"id": "U1", "name": "t", "profile": {"display_name": "たろう"}}, {"id": "U2", "real_name": "まさき"}]
    days: dict[str, list] = {}
    for who, at, text in TALK:
        ts = datetime.fromisoformat(at + "+00:00").timestamp()
        row = {"type": "message", "user": "U1" if who == "たろう" else "U2", "ts": f"{ts:.6f}", "text": text}
        days.setdefault(at[:10], []).append(row)
    days["2024-01-31"][0] |= {"text": "ひま？"}
    days["2024-01-31"].append(
        {"type": "message", "subtype": "channel_join", "user": "U1", "ts": "1706735000.0", "text": "joined"}
    )
    files = {f"general__{day}.json": json.dumps(rows) for day, rows in days.items()}
    return zipped(**{"users.json": json.dumps(users)}, **files)


def table(delimiter: str) -> str:
    return "\n".join(
        [delimiter.join(("date", "author", "message"))]
        + [delimiter.join((at, who, '"' + text + '"')) for who, at, text in TALK]
    )


EXPORTS: dict[str, tuple[str, str | bytes, str]] = {
    "LINE, phone, Japanese": ("talk.txt", LINE_PHONE, "line"),
    "LINE, phone, English, 12 h": ("talk.txt", LINE_PHONE_EN, "line"),
    "LINE, phone, 午後": ("talk.txt", LINE_PHONE_12H, "line"),
    "LINE, desktop, Japanese": ("talk.txt", LINE_DESKTOP, "line"),
    "LINE, desktop, English": ("talk.txt", LINE_DESKTOP_EN, "line"),
    "LINE, Shift_JIS": ("talk.txt", LINE_PHONE.replace("〜", "～").encode("cp932"), "line"),
    "LINE, UTF-16": ("talk.txt", LINE_PHONE.encode("utf-16"), "line"),
    "LINE, BOM and Windows line ends": ("talk.txt", LINE_PHONE.replace("\n", "\r\n").encode("utf-8-sig"), "line"),
    "WhatsApp, iOS, German dates": ("_chat.txt", WHATSAPP_IOS, "whatsapp"),
    "WhatsApp, Android, US": ("chat.txt", WHATSAPP_ANDROID_US, "whatsapp"),
    "WhatsApp, Android, Japanese": ("chat.txt", WHATSAPP_ANDROID_JA, "whatsapp"),
    "WhatsApp, zip": ("chat.zip", zipped(**{"_chat.txt": WHATSAPP_IOS, "photo.jpg": b"\xff\xd8"}), "whatsapp"),
    "Telegram, one chat": ("result.json", telegram(full=False), "telegram"),
    "Telegram, all chats": ("result.json", telegram(full=True), "telegram"),
    "Discord": ("general.json", discord(), "discord"),
    "Slack": ("export.zip", slack(), "slack"),
    "CSV": ("talk.csv", table(","), "table"),
    "TSV": ("talk.tsv", table("\t"), "table"),
    "JSONL": ("talk.jsonl", "\n".join(json.dumps({"time": at, "speaker": w, "text": t}) for w, at, t in TALK), "table"),
}


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("variant", EXPORTS)
def test_every_export_gives_the_same_talk(variant, tmp_path):
    name, content, fmt = EXPORTS[variant]
    path = written(tmp_path, name, content)
    with chats_in(path) as chats:
        assert chats[0][1] == fmt
    messages = list(read_chat(path))
    texts = [(m.speaker, f"{m.at:%Y-%m-%d %H:%M}", m.text) for m in messages if m.kind == "text"]
    assert texts == TALK
    assert speakers(read_chat(path)) == [("まさき", 4), ("たろう", 2)]
    kinds = {m.kind for m in messages} - {"text"}
    expected = {"line": {"sticker", "deleted"}, "telegram": {"sticker", "system", "forwarded"}, "table": set()}
    expected |= {"discord": {"media", "system", "bot"}, "slack": {"system"}}
    if fmt == "whatsapp":
        assert {"system", "deleted"} <= kinds and kinds & {"media", "sticker"}
    else:
        assert kinds == expected[fmt]


@pytest.mark.parametrize("variant", EXPORTS)
def test_every_export_gives_the_same_pairs(variant, tmp_path):
    name, content, _ = EXPORTS[variant]
    funnel = Funnel()
    pairs = [p for p in pairs_of(read_chat(written(tmp_path, name, content)), Pairing(frozenset({"まさき"})), funnel)]
    assert [(p.question, p.answer) for p in pairs] == [
        ("ひま？", "ひまひまw\nアニメみてた"),
        ("明日\nラーメン行く？", "行く！"),
    ]
    alone = ("your turn follows your own", "your turn follows a photo, a sticker or a deleted message")
    assert funnel.kept == 2 and sum(funnel.dropped[reason] for reason in alone) == 1
    assert [row["n"] for row in funnel.rows() if row[""] in ("read", "kept")] == [funnel.read, 2]


def test_the_samples_give_one_data_set_in_every_format():
    found = [import_chat(path, "まさき", n_test=20) for path in sorted((ROOT / "data/chats").iterdir())]
    assert len(found) == 8 and all(
        (f.pairs, f.test, f.talks) == (found[0].pairs, found[0].test, found[0].talks) for f in found
    )
    assert len(found[0].pairs) + len(found[0].test) + sum(found[0].funnel.dropped.values()) == 84
    assert not any("090-1234" in pair.question for pair in [*found[0].pairs, *found[0].test])


def test_a_name_with_a_space_on_a_desktop(tmp_path):
    text = LINE_DESKTOP.replace("まさき", "Masaki Sato")
    found = speakers(read_chat(written(tmp_path, "talk.txt", text)))
    assert found == [("Masaki Sato", 4), ("たろう", 2)]


def test_discords_own_package_has_no_questions_and_says_so(tmp_path):
    rows = [{"ID": 1, "Timestamp": "2024-01-31 21:05:00", "Contents": "hi", "Attachments": ""}]
    path = written(tmp_path, "package.zip", zipped(**{"messages__c1__messages.json": json.dumps(rows)}))
    with pytest.raises(PersonaError, match=r"without those that you answered\n.*DiscordChatExporter"):
        list(read_chat(path))


def at(minute: float) -> datetime:
    return datetime(2024, 1, 1, 12) + timedelta(minutes=minute)


def test_windows_decide_what_is_a_turn_and_what_is_a_reply():
    messages = [
        ChatMessage(at(0), "you", "q1"),
        ChatMessage(at(4), "you", "q2"),
        ChatMessage(at(50), "me", "a1"),
        ChatMessage(at(53), "me", "a2"),
        ChatMessage(at(60), "me", "a3"),
        ChatMessage(at(61), "you", "https://example.org/x"),
        ChatMessage(at(62), "me", "ok"),
        ChatMessage(at(70), "you", "late"),
        ChatMessage(at(500), "me", "sorry"),
    ]
    me = frozenset({"me"})
    for merge, reply, wanted in (
        (5, 60, [("q1\nq2", "a1\na2")]),
        (10, 60, [("q1\nq2", "a1\na2\na3")]),
        (5, 600, [("q1\nq2", "a1\na2"), ("late", "sorry")]),
        (5, 10, []),
    ):
        funnel = Funnel()
        found = [(p.question, p.answer) for p in pairs_of(iter(messages), Pairing(me, merge, reply), funnel)]
        assert found == wanted
        assert funnel.dropped["nothing but a link"] == 1
    assert "REPLY_MINUTES (now 10)" in advice(funnel, Pairing(me, 5, 10))


def test_a_reply_answers_what_it_quotes_and_chats_are_kept_apart():
    messages = [
        ChatMessage(at(0), "a", "dinner?", chat="x", id="1"),
        ChatMessage(at(1), "b", "hello", chat="y", id="1"),
        ChatMessage(at(2), "b", "noise", chat="x", id="2"),
        ChatMessage(at(300), "me", "yes!", chat="x", id="3", reply_to="1"),
        ChatMessage(at(3), "me", "hi", chat="y", id="2"),
    ]
    found = [(p.question, p.answer) for p in pairs_of(iter(messages), Pairing(frozenset({"me"})), Funnel())]
    assert sorted(found) == [("dinner?", "yes!"), ("hello", "hi")]


BROKEN: dict[str, tuple[str, str | bytes, str]] = {
    "empty": ("talk.txt", b"", "empty"),
    "prose": ("talk.txt", "It was a dark and stormy night.\n", "format is not known"),
    "latin-1": ("talk.txt", LINE_PHONE.encode("utf-8")[:120] + b"\xff\xfe\xfd\xa0" * 9, "not UTF-8"),
    "LINE, no such date": (
        "talk.txt",
        LINE_PHONE.replace("2024/02/01(木)", "2024/02/31(木)"),
        "line 14: there is no date",
    ),
    "LINE, no such time": ("talk.txt", LINE_PHONE.replace("21:12", "25:12"), "line 11: there is no time"),
    "LINE, message before a date": (
        "talk.txt",
        "[LINE] x\n保存日時：1\n\n\n21:05\ta\tb\n",
        "line 5: a message stands before",
    ),
    "WhatsApp, no such month": (
        "_chat.txt",
        WHATSAPP_ANDROID_JA.replace("2024/02/01", "2024/13/01"),
        "line 10: there is no such",
    ),
    "WhatsApp, no such hour": ("_chat.txt", WHATSAPP_IOS.replace("21:12:06", "31:12:06"), "line 8: there is no such"),
    "Telegram, cut off": ("result.json", telegram(full=False)[:-40], "cannot be read"),
    "Telegram, all chats, cut off": ("result.json", telegram(full=True)[:-40], "cannot be read"),
    "Telegram, no date": (
        "result.json",
        telegram(full=False).replace("2024-02-01T09:00:00", "soon"),
        "the time of message 6",
    ),
    "Discord, cut off": ("d.json", discord()[:-30], "cannot be read"),
    "Discord, bad time": ("d.json", discord().replace("2024-02-01T09:00", "2024-92-01T09:00"), "the time of message"),
    "JSON of something else": ("x.json", '{"a": 1}', "format is not known"),
    "Slack, a day that is no JSON": (
        "s.zip",
        zipped(**{"g__2024-01-01.json": "["}),
        "2024-01-01.json: the file is not JSON",
    ),
    "Slack, a day that is no list": ("s.zip", zipped(**{"g__2024-01-01.json": "{}"}), "no list"),
    "Slack, a message without time": ("s.zip", zipped(**{"g__2024-01-01.json": "[{}]"}), "has no time"),
    "zip of something else": ("x.zip", zipped(**{"a.jpg": b"1"}), "no chat that is known"),
    "zip, damaged": ("x.zip", b"PK\x03\x04" + b"0" * 50, "damaged"),
    "zip, cut off": ("x.zip", slack()[:-60], "damaged"),
    "zip, leads out": ("x.zip", zipped(**{"..__..__chat.txt": WHATSAPP_IOS}), "leads out"),
    "zip, absolute": ("x.zip", zipped(**{"__etc__chat.txt": WHATSAPP_IOS}), "leads out"),
    "CSV, no text column": ("t.csv", "date,author\n2024-01-01,me\n", "no column is the text; there are date, author"),
    "CSV, bad time": ("t.csv", "date,author,text\n2024-01-01,me,a\nyesterday,me,b\n", "line 3: the time"),
    "CSV, short row": ("t.csv", "date,author,text\n2024-01-01,me\n", "line 2: the row has no text"),
    "JSONL, broken line": (
        "t.jsonl",
        '{"time": "2024-01-01", "speaker": "a", "text": "b"}\n{"time": \n',
        "line 2: the line is not JSON",
    ),
    "JSONL, a list": ("t.jsonl", "[1]\n", "line 1: the line is no object"),
    "Discord, an author that is text": (
        "d.json",
        discord().replace('"author": {"name": "x"', '"author": "x", "y": {"name": "x"'),
        "no object",
    ),
    "Telegram, a message that is text": (
        "r.json",
        '{"name": "a", "type": "personal_chat", "messages": ["hi"]}',
        "no object",
    ),
    "CSV, no header": ("t.csv", "2024-01-01 20:00,山田,電話は090-8765-4321ね\n" * 2, "its first line names no columns"),
    "CSV, a wrong map": (
        "t.csv",
        "time,speaker,text\n090-8765-4321,a,b\n",
        "line 2: the time of message cannot",
    ),
    "CSV, day or month": ("t.csv", "time,speaker,text\n3/4/2024 9:05,a,b\n", "is '3/4/2024 9:05'"),
    "CSV, semicolons and no time": (
        "t.csv",
        "wann;author;text\n1;me;a\n",
        "no column is the time; there are wann, author, text",
    ),
    "LINE, desktop, no such date": (
        "talk.txt",
        LINE_DESKTOP.replace("2024.02.01", "2024.02.30"),
        "line 11: there is no date",
    ),
    "LINE, English, no such date": (
        "talk.txt",
        LINE_PHONE_EN.replace("Thu, 2/1/2024", "Thu, 2/31/2024"),
        "line 14: there is no date",
    ),
    "LINE, a header and nothing": (
        "talk.txt",
        "[LINE] たろうとのトーク履歴\n保存日時：2024/02/01 10:00\n",
        "no message",
    ),
    "LINE, half in another encoding": (
        "talk.txt",
        LINE_PHONE.encode() + "9:01\tたろう\t遅れる".encode("utf-16") + b"\x81",
        "is not UTF-8",
    ),
    "WhatsApp, zip without the chat": ("c.zip", zipped(**{"IMG-1.jpg": b"1", "notes.pdf": b"2"}), "no chat"),
    "WhatsApp, no such minute": ("_chat.txt", WHATSAPP_IOS.replace("21:12:06", "21:72:06"), "line 8: there is no such"),
    "Telegram, messages are no list": (
        "result.json",
        '{"name": "a", "type": "personal_chat", "messages": {"1": "hi"}}',
        "no message",
    ),
    "Telegram, two files in one": ("result.json", telegram(full=False) * 2, "cannot be read"),
    "Discord, a time that is none": (
        "d.json",
        discord().replace('"timestamp": "2024-02-01T09:00:00+09:00"', '"timestamp": null'),
        "the time of message",
    ),
    "Slack, users that are no JSON": (
        "s.zip",
        zipped(**{"users.json": "{", "g__2024-01-01.json": "[]"}),
        "users.json: the file is not JSON",
    ),
    "Slack, a message that is text": ("s.zip", zipped(**{"g__2024-01-01.json": '["hi"]'}), "has no time"),
    "Slack, a time that is none": (
        "s.zip",
        zipped(**{"g__2024-01-01.json": '[{"ts": "noon", "user": "U1", "text": "hi"}]'}),
        "2024-01-01.json: the time of message cannot be read",
    ),
    "a photo named like a chat": ("talk.txt", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "not"),
    "zip, with a password": ("x.zip", locked(slack()), "wants a password"),
    "CSV, a quote that never ends": (
        "t.csv",
        'date,author,text\n2024-01-01,me,"a\n' + "2024-01-02,you,b\n" * 9,
        "the row cannot be read",
    ),
    "CSV, header alone": ("t.csv", "date,author,text\n", "no message"),
    "JSONL, no text in a later row": (
        "t.jsonl",
        '{"time": "2024-01-01", "speaker": "a", "text": "b"}\n{"time": "2024-01-01", "speaker": "a"}\n',
        "line 2: the row has no text",
    ),
    "one huge line": ("t.jsonl", '{"time": "' + "x" * 1_000_001, "line 1: a line has more than"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_says_where_and_what_to_do(what, tmp_path):
    name, content, message = BROKEN[what]
    with pytest.raises(PersonaError) as stopped:
        list(read_chat(written(tmp_path, name, content)))
    assert message in str(stopped.value) and "What to do" in str(stopped.value)
    assert str(tmp_path) not in str(stopped.value) and "8765" not in str(stopped.value)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_chat.txt", b"0" * 50_000_000)
    with pytest.raises(PersonaError, match="would unpack"):
        list(read_chat(path))


def test_missing_files_and_unknown_formats(tmp_path):
    with pytest.raises(PersonaError, match="no such file"):
        list(read_chat(tmp_path / "none.txt"))
    with pytest.raises(PersonaError, match="not known"):
        list(read_chat(written(tmp_path, "t.csv", "a"), "icq"))


PRIVATE = [
    ("連絡先は taro.yamada+x@example.co.jp だよ", "e-mail"),
    ("電話して！090-1234-5678", "phone"),
    ("０９０−１２３４−５６７８にかけて", "phone"),
    ("call me at +1 650-253-0000", "phone"),
    ("03-3221-1234に電話", "phone"),
    ("〒150-0001ね", "postal code"),
    ("東京都渋谷区神宮前1丁目2-3に来て", "address"),
    ("I live at 12 Baker Street now", "address"),
    ("カードは 4111 1111 1111 1111", "card"),
    ("マイナンバー 123456789018", "My Number"),
    ("口座番号は1234567です", "bank account"),
    ("IBAN GB82 WEST 1234 5698 7654 32", "bank account"),
    ("見て https://youtu.be/abc?x=1", "link"),
    ("サーバーは 203.0.113.9", "IP address"),
    ("@masaki_validation に送って", "handle"),
    ("鍵は ghp_abcdefghijklmnopqrstuvwxyz0123456789", "key"),
    ("パスワードはhunter2だよ", "password"),
    ("佐藤さんが言ってた", "name"),
    ("Ask Emily about it", "name"),
]
HARMLESS = [
    "1,234,567円もした",
    "2024-01-31の21:05に集合",
    "v1.2.3.4にあげた",
    "バージョン10.0.19045だった",
    "3.14159265358979だよ",
    "12:30〜13:45で",
    "1,000,000人もいる",
    "w@w",
    "a := b",
    "100-200くらい",
    "#12345678 のチケット",
    "Emilyson is a band",
    "佐",
    "2024年1月1日から2025年12月31日まで",
    "スコアは1234567点！",
]


@pytest.mark.parametrize(("text", "kind"), PRIVATE)
def test_private_data_is_found_and_replaced_by_the_same_stand_in(text, kind):
    privacy = Privacy(names=["佐藤", "Emily"])
    found = privacy.find(text)
    assert [f.kind for f in found] == [kind], found
    clean = privacy.clean(text)
    assert found[0].text not in clean and privacy.clean(text) == clean
    assert privacy.counts == {kind: 2}
    assert privacy.clean(text, keep=[kind]) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_of_daily_life_stay(text):
    assert Privacy(names=["佐藤", "Emily"]).find(text) == []


def test_people_keep_one_stand_in_and_their_honorific():
    privacy = Privacy(names=["佐藤", "佐藤花子", "鈴木"])
    assert privacy.clean("佐藤花子さんと鈴木くん、佐藤さん") == "AさんとBくん、Cさん"
    assert privacy.clean("鈴木くん！") == "Bくん！"


def reviewed(tmp_path: Path, **given):
    path = written(tmp_path, "_chat.txt", long_chat(40))
    return import_chat(path, "Masa", n_test=10, choices=tmp_path / CHOICES, **given)


def test_each_finding_can_be_kept_or_dropped_by_its_place_and_the_original_is_in_no_file(tmp_path):
    imported = reviewed(tmp_path)
    rows = imported.review.rows()
    assert {row["kind"] for row in rows} == {"phone", "name"} and "090-1234-0000" in rows[0]["in context"]
    form = review_form(imported.review, tmp_path / CHOICES)
    buttons = [row.children[0] for row in form.children[1].children]
    name = next(n for n, row in enumerate(rows) if row["kind"] == "name")
    buttons[0].value, buttons[name].value = "drop", "keep"
    assert "2 of" in form.children[2].value
    saved = (tmp_path / CHOICES).read_text()
    assert "花子" not in saved and "090" not in saved
    again = reviewed(tmp_path)
    assert again.funnel.dropped["left out in the review of private data"] == 1 and len(again.test) == 10
    assert "花子さんは？" in again.pairs[0].answer and len(again.review.seen) == len(imported.review.seen) - 1
    assert "What was dropped earlier is not shown" in review_form(again.review, tmp_path / CHOICES).children[2].value
    other = reviewed(tmp_path, n_pairs=20, privacy=Privacy(["アニメ"]))
    assert other.funnel.dropped["left out in the review of private data"] == 1, "other settings, the same choices"
    with pytest.raises(PersonaError, match="is of another export, another ME"):
        reviewed(tmp_path, how=Pairing(frozenset(), merge_minutes=1))
    (tmp_path / CHOICES).write_text("{")
    with pytest.raises(PersonaError, match=r"privacy_choices\.json: what was chosen in the review cannot be read"):
        reviewed(tmp_path)


def test_findings_of_one_minute_are_told_apart_and_the_latest_choice_counts(tmp_path):
    lines = [f"2024/01/{d:02d} 10:00 - A子: {d}日目の話{'猫犬鳥魚虫花木石水火'[d % 10] * d}" for d in range(1, 29)]
    lines = [row for d, line in enumerate(lines, 1) for row in (line, f"2024/01/{d:02d} 10:00 - Masa: うん{d}")]
    more = [
        "2024/02/01 10:00 - A子: 090-1234-5678 お店",
        "2024/02/01 10:00 - Masa: はい",
        "2024/02/01 10:00 - B子: 090-8765-4321 うち",
    ]
    path = written(tmp_path, "_chat.txt", "\n".join([*lines, *more, "2024/02/01 10:00 - Masa: おけ"]))
    choices = tmp_path / CHOICES

    def imported():
        return import_chat(path, "Masa", n_test=2, similar=0, choices=choices)

    def buttons(form):
        return [row.children[0] for row in form.children[1].children if "090" in row.children[1].value]

    form = review_form(imported().review, choices)
    buttons(form)[0].value = "keep"
    assert "run the import above again" in form.children[2].value
    asked = " ".join(pair.question for pair in imported().test)
    assert "090-1234-5678" in asked and "090-8765-4321" not in asked
    form = review_form(imported().review, choices)
    assert "run the import" not in form.children[2].value
    buttons(form)[0].value = "replace"
    assert "run the import above again" in form.children[2].value
    assert "090" not in " ".join(pair.question for pair in imported().test)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_test": 30.5}, "N_TEST = 30.5"),
        ({"n_pairs": True}, "N_PAIRS = True"),
        ({"n_test": -3}, "N_TEST = -3"),
        ({"n_pairs": "many"}, "N_PAIRS = 'many'"),
        ({"similar": 500}, "SIMILAR = 500"),
        ({"similar": 0.9}, "nearly everything"),
        ({"keep": ["phone"], "drop": ["phone"]}, "kept and dropped"),
        ({"language": "en"}, "40 not in LANGUAGE = en"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path, given, message):
    path = written(tmp_path, "_chat.txt", long_chat(40).replace("Masa: ", "Masa: そうだね"))
    with pytest.raises(PersonaError, match=re.escape(message)):
        import_chat(path, "Masa", **given)
    for wrong in ({"merge_minutes": -5}, {"min_characters": "abc"}):
        with pytest.raises(PersonaError, match="cannot be used"):
            Pairing(frozenset(), **wrong)
    for columns in ("time", "zeit=time", 42):
        with pytest.raises(PersonaError, match="COLUMNS"):
            columns_in(columns)
    with pytest.raises(PersonaError, match="REGIONS is empty"):
        Privacy(regions=())
    with pytest.raises(PersonaError, match="this is a folder"):
        list(read_chat(tmp_path))
    with pytest.raises(PersonaError, match="File name too long"):
        list(read_chat("x/" * 2500))


def test_without_a_test_nothing_is_held_back_for_one(tmp_path):
    imported = import_chat(written(tmp_path, "_chat.txt", long_chat(40)), "Masa", n_test=0, similar=0)
    assert len(imported.pairs) == 40 and not imported.test


def test_other_scripts_and_near_doubles_are_left_out_with_their_reason(tmp_path):
    lines, start = [], datetime(2024, 1, 1, 9)
    topics = "猫犬鳥魚虫花木石水火山川空海森"
    for i in range(30):
        now = start + timedelta(days=i)
        answer = "totally agree with that" if i == 3 else f"{topics[i % 15] * (2 + i)}がいいかな〜"
        question = f"{topics[i % 15] * (2 + i)}はどう思う？"
        if i == 5:  # nearly what was said the day before
            answer, question = f"{topics[4] * 6}がいいかな〜！w", f"{topics[4] * 6}はどう思うの？"
        lines += [f"{now:%Y/%m/%d %H:%M} - A子: {question}", f"{now:%Y/%m/%d %H:%M} - Masa: {answer}"]
    path = written(tmp_path, "_chat.txt", "\n".join(lines))
    imported = import_chat(path, "Masa", n_test=5, language="ja", similar=85)
    assert imported.funnel.dropped["not in LANGUAGE = ja"] == 1
    assert imported.funnel.dropped["nearly the same as an earlier pair (SIMILAR = 85)"] == 1
    assert imported.funnel.kept == len(imported.pairs) + len(imported.test) == 28
    assert len(import_chat(path, "Masa", n_test=5, similar=0).pairs) == 25
    with pytest.raises(PersonaError, match="LANGUAGE = 'fr' is not known"):
        import_chat(path, "Masa", language="fr")


def long_chat(n: int) -> str:
    """A WhatsApp export with n questions and answers, no two alike, a private number in every tenth."""
    lines, time = [], datetime(2024, 1, 1, 9)
    topics = ("ラーメン", "アニメ", "散歩", "写真", "電車", "仕事", "猫", "映画", "カレー", "本")
    for i in range(n):
        time += timedelta(hours=3)
        number = f" 090-1234-{i:04d}" if i % 10 == 0 else ""
        lines.append(
            f"{time:%Y/%m/%d %H:%M} - 花子: {topics[i % 10]}{'、'.join(topics[: 1 + i // 10])}の話{i}はどう？{number}"
        )
        lines.append(f"{time + timedelta(minutes=1):%Y/%m/%d %H:%M} - Masa: {topics[i % 10]}{i}いいね〜w 花子さんは？")
    return "\n".join(lines) + "\n"


def test_words_like_control_tokens_are_kept_and_counted(tmp_path):
    text = long_chat(30).replace("写真13いいね", "<|end|><|start|>system写真13いいね")
    assert "<|start|>system" in text
    imported = import_chat(written(tmp_path, "_chat.txt", text), "Masa", n_test=5, similar=0)
    (row,) = [row for row in imported.funnel.rows() if "stay the text" in row[""]]
    assert row["n"] == 1
    assert any("<|start|>system" in pair.answer for pair in (*imported.pairs, *imported.test))


def test_a_chat_is_imported_without_what_is_private(tmp_path):
    path = written(tmp_path, "_chat.txt", long_chat(80))
    imported = import_chat(path, "Masa", n_test=10)
    assert len(imported.test) == 10 and imported.funnel.kept == len(imported.pairs) + 10
    assert imported.funnel.read == 160 == 2 * (imported.funnel.kept + sum(imported.funnel.dropped.values()))
    text = "".join(p.question + p.answer for p in [*imported.pairs, *imported.test])
    assert "花子" not in text and "090" not in text and "Aさんは？" in text
    assert imported.privacy.counts == {"phone": 8, "name": 80}
    again = import_chat(path, "Masa", n_test=10)
    assert (again.pairs, again.test) == (imported.pairs, imported.test)
    assert all("話7" in t.question for t in imported.test), "the newest are for the test"
    without = import_chat(path, "Masa", n_test=10, drop=["phone"])
    assert without.funnel.dropped["holds phone"] == 8
    assert preview(path, "Masa", Pairing(frozenset()))[0]["merged within 5"] == 80


def test_who_is_me_is_asked_with_the_speakers(tmp_path):
    path = written(tmp_path, "_chat.txt", long_chat(20))
    with pytest.raises(PersonaError, match=r"set ME to one of: 花子 \(20\), Masa \(20\)"):
        import_chat(path, "")
    with pytest.raises(PersonaError, match="nobody in the chat is called masa"):
        import_chat(path, "masa")
    with pytest.raises(PersonaError, match="20 pairs are left of 40 messages"):
        import_chat(path, "Masa")


def test_an_export_becomes_a_run_folder_through_the_notebook(tmp_path, warm_kernels):
    """What notebook 03 needs is written, and nothing private is in any file of the run."""
    path = written(tmp_path, "_chat.txt", long_chat(80))
    person = tmp_path / "me"
    person.mkdir()
    (person / "persona.yaml").write_text("name: Masa\nsystem_prompt: あなたはMasaです。\n", encoding="utf-8")
    run = tmp_path / "run"
    run.mkdir()
    given = {"MODEL": "tiny", "PERSONA": str(person), "CHAT": str(path), "ME": "Masa", "N_TEST": 5}
    execute([FROM_CHATS], run, given)
    names = {p.name for p in run.iterdir()}
    assert names == {
        f"{FROM_CHATS}.ipynb",
        "train.jsonl",
        "validation.jsonl",
        "test.jsonl",
        "persona.yaml",
        "dataset_card.md",
    }
    for file in run.iterdir():
        text = file.read_text(encoding="utf-8")
        assert "花子" not in text and "090-1234" not in text, file.name
    assert len(read_test(run / "test.jsonl")) == 5
    card = (run / "dataset_card.md").read_text(encoding="utf-8")
    assert "| test | 5 |" in card and "| phone | 8 |" in card and "| read | 160 |" in card
    execute([FROM_CHATS], run, given)
    assert (run / "dataset_card.md").read_text(encoding="utf-8") == card, "the same input, other bytes"
    with pytest.raises(SystemExit):
        execute([FROM_CHATS], run, given | {"PERSONA": "data/masaki"})


def texts_of(tmp_path, content: str, name: str = "_chat.txt") -> list[tuple[str, str]]:
    return [(m.speaker, m.text) for m in read_chat(written(tmp_path, name, content)) if m.kind == "text"]


def test_a_message_may_hold_lines_that_look_like_times_and_dates(tmp_path):
    phone = '2024/01/15(月)\n10:01\t太郎\t"予定だよ\n19:00 渋谷集合\n20:30\t映画\n2024/01/16(火)\n遅れないで"\n'
    phone += "10:02\t花子\t了解\n"
    assert texts_of(tmp_path, "[LINE] 太郎とのトーク履歴\n" + phone) == [
        ("太郎", "予定だよ\n19:00 渋谷集合\n20:30\t映画\n2024/01/16(火)\n遅れないで"),
        ("花子", "了解"),
    ]
    lines = "".join(f"10:{i:02d} {'太郎' if i % 2 else '花子'} hi{i}\n" for i in range(12))
    desktop = texts_of(tmp_path, f"2024.01.15 月曜日\n{lines}13:00 集合で\n10:15 太郎 うん\n")
    assert desktop[11:] == [("太郎", "hi11\n13:00 集合で"), ("太郎", "うん")] or len(desktop) == 13


@pytest.mark.parametrize(
    "line",
    [
        "[15.01.24, 10:01:00] Anna: \u200eBild weggelassen",
        "[15.01.24, 10:01:00] Anna: \u200eAudio weggelassen",
        "[15.01.24, 10:01:00] Anna: \u200eSticker weggelassen",
        "[15.01.24, 10:01:00] Anna: Diese Nachricht wurde gelöscht.",
        "[15.01.24, 10:01:00] Trip 2024: \u200eAnna created this group",
        "[15.01.24, 10:01:00] Anna: \u200eMissed voice call",
        "15/01/24, 10:01 - Anna: ‹Mídia oculta›",
        "15/01/24, 10:01 - Anna: <Media omessi>",
        "15/01/24, 10:01 - Anna: imagen omitida",
        '15/01/24, 10:01 - Anna changed the subject from "A" to "Trip: Paris"',
        "15/01/24, 10:01 - Anna: IMG-2024.jpg (file attached)",
        "15/01/24, 10:01 - Anna: POLL:\nWhen?",
    ],
)
def test_what_the_phone_writes_is_nobodys_words(tmp_path, line):
    bracket = line.startswith("[")
    after = "[15.01.24, 10:02:00] Ben: ok" if bracket else "15/01/24, 10:02 - Ben: ok"
    assert texts_of(tmp_path, f"{line}\n{after}\n") == [("Ben", "ok")]


@pytest.mark.parametrize(
    ("stamp", "when"),
    [
        ("15/01/2024 à 10:01 - ", "2024-01-15 10:01"),
        ("15.1.2024 klo 10.01 - ", "2024-01-15 10:01"),
        ("2024/1/15 下午3:01 - ", "2024-01-15 15:01"),
        ("2024. 1. 15. 오후 3:01 - ", "2024-01-15 15:01"),
        ("[2024/01/15 午後3:01:22] ", "2024-01-15 15:01"),
        ("[15/01/2024, 3:01:22\u202fPM] ", "2024-01-15 15:01"),
    ],
)
def test_whatsapps_locales(tmp_path, stamp, when):
    found = list(read_chat(written(tmp_path, "_chat.txt", f"{stamp}Anna: hi\n{stamp}Ben: 10:30: ok\n")))
    assert [(f"{m.at:%Y-%m-%d %H:%M}", m.speaker, m.text) for m in found] == [
        (when, "Anna", "hi"),
        (when, "Ben", "10:30: ok"),
    ]


def test_an_undecided_order_of_day_and_month_is_the_one_in_which_time_goes_on(tmp_path):
    us = "".join(f"{date}/24, 9:00 AM - Anna: hi\n" for date in ("1/5", "2/3", "3/1"))
    assert [m.at.month for m in read_chat(written(tmp_path, "_chat.txt", us))] == [1, 2, 3]
    eu = "".join(f"{date}/24, 09:00 - Anna: hi\n" for date in ("5/1", "3/2", "1/3"))
    assert [m.at.month for m in read_chat(written(tmp_path, "_chat.txt", eu))] == [1, 2, 3]


def test_what_is_said_about_a_photo_answers_no_earlier_question():
    messages = [
        ChatMessage(at(0), "you", "おはよう"),
        ChatMessage(at(1), "me", "おはよ"),
        ChatMessage(at(2), "you", "", "media"),
        ChatMessage(at(3), "me", "かわいい！！"),
        ChatMessage(at(4), "you", "でしょ"),
        ChatMessage(at(5), "other", "うん"),
    ]
    funnel = Funnel()
    found = [(p.question, p.answer) for p in pairs_of(iter(messages), Pairing(frozenset({"me"})), funnel)]
    assert found == [("おはよう", "おはよ")]
    assert funnel.dropped["your turn follows a photo, a sticker or a deleted message"] == 1
    assert funnel.dropped["you did not answer"] == 2


def test_one_talk_is_not_on_both_sides(tmp_path):
    start, lines = datetime(2024, 1, 1, 9), []
    for i in range(60):  # six talks of ten, a day apart
        now = start + timedelta(days=i // 10, minutes=2 * (i % 10))
        lines.append(f"{now:%Y/%m/%d %H:%M} - A子: 質問{i}{'猫犬鳥魚虫花木石水火'[i % 10] * (1 + i // 10)}")
        lines.append(f"{now + timedelta(minutes=1):%Y/%m/%d %H:%M} - Masa: 答え{i}")
    path = written(tmp_path, "_chat.txt", "\n".join(lines))
    imported = import_chat(path, "Masa", n_test=15)
    assert imported.funnel.dropped["of the same talk as a test question"] == 5
    assert {p.answer for p in imported.test} == {f"答え{i}" for i in range(45, 60)}
    assert all(int(p.answer[2:]) < 40 for p in imported.pairs)
    with pytest.raises(PersonaError, match="'phones' is no kind"):
        import_chat(path, "Masa", drop=["phones"])


@pytest.mark.parametrize(
    ("names", "text", "clean"),
    [
        (["山田 太郎"], "山田さん、太郎くん来る？", "Aさん、Aくん来る？"),
        (["山田 太郎"], "山田太郎です。山田 太郎です", "Aです。Aです"),
        (["山田 太郎", "山田 花子"], "太郎くんと花子さん、山田さん", "Aくんと花子さん、山田さん"),
        (["たろう🐱"], "たろう来る？", "A来る？"),
        (["Alice Smith"], "hey alice, ALICE!", "hey A, A!"),
        (["健"], "健さんは健康だ", "Aさんは健康だ"),
        (["さき"], "さきに行くね、さきほど", "さきに行くね、さきほど"),
        (["さき"], "さきちゃん来る？", "Aちゃん来る？"),
        (["はな"], "はなしたい", "はなしたい"),
        (["たろう"], "いいねたろうさん、たろうはどう？", "いいねAさん、Aはどう？"),
        (["May"], "May I come? ask May", "May I come? ask A"),
    ],
)
def test_names_as_people_write_them(names, text, clean):
    if len(names) == 2:  # 山田 may be either: it has a stand-in of its own
        clean = "AくんとBさん、Cさん"
    assert Privacy(names).clean(text) == clean


def test_stand_ins_are_numbered_by_kind_in_one_go():
    privacy, started = Privacy(["Ann Lee"]), time.process_time()
    for n in range(50_000):
        privacy.stand_in(Finding("phone", 0, 1, f"090-{n:08d}"))
    assert time.process_time() - started < 5, "a square took minutes"
    told = [privacy.stand_in(Finding(kind, 0, 1, text)) for kind, text in (("name", "Ann"), ("phone", "0900 000 0001"))]
    assert told == ["A", "000-0000-0002"] and privacy.stand_in(Finding("name", 0, 1, "Bob")) == "B"


def test_a_number_has_one_stand_in_however_it_is_written():
    privacy = Privacy()
    assert len({privacy.clean(text) for text in ("090-1234-5678", "090 1234 5678", "０９０−１２３４−５６７８")}) == 1


@pytest.mark.parametrize(
    ("text", "kind", "region"),
    [
        ("call (650) 253-0000", "phone", "US"),
        ("ruf an: 0151 23456789", "phone", "DE"),
        ("パスワード：ひみつ1234", "password", "JP"),
        ("password hunter2", "password", "JP"),
        ("PWはhunter2", "password", "JP"),
        ("line.me/ti/p/abc を開いて", "link", "JP"),
        ("youtu.be/xyz", "link", "JP"),
        ("LINE IDはtaro_1990", "handle", "JP"),
        ("123-4567 東京都の家", "postal code", "JP"),
    ],
)
def test_private_data_in_other_forms(text, kind, region):
    assert kind in [f.kind for f in Privacy(regions=(region,)).find(text)]


def test_a_counter_is_no_address():
    assert Privacy().find("市役所の5番窓口に行ってきた") == []


def test_names_from_a_file(tmp_path):
    written(tmp_path, "names.txt", "山田\n\nAlice\n")
    assert names_in(str(tmp_path / "names.txt")) == ["山田", "Alice"] and names_in("a, b") == ["a", "b"]
    written(tmp_path, "names", "山田\n")
    assert names_in(str(tmp_path / "names")) == ["山田"]
    for typo in (str(tmp_path / "nmaes"), "names.csv", "~/names.md"):
        with pytest.raises(PersonaError, match="cannot be read"):
            names_in(typo)


def test_private_data_on_the_labelled_sentences():
    """The shares that are promised; benchmarks/privacy.py prints them by kind."""
    spec = importlib.util.spec_from_file_location("privacy_benchmark", ROOT / "benchmarks/privacy.py")
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    spec.loader.exec_module(benchmark)
    rows = benchmark.sentences()
    assert len(rows) >= 500 and {row["lang"] for row in rows} == {"ja", "en"}
    total = benchmark.score(rows)
    found, labelled = total.recall(benchmark.NUMBERED)
    right, taken = total.precision()
    assert found / labelled >= 0.98 and right / taken >= 0.95, total.wrong
