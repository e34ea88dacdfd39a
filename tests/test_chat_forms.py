"""The forms that exports have in the wild: dates, quotes, placeholders and names, one small file for each."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from persona_ft.chat.messages import ChatMessage, Funnel
from persona_ft.chat.pairing import Pairing, pairs_of
from persona_ft.chat.read import read_chat
from persona_ft.errors import PersonaError


def read(tmp_path: Path, content: str | bytes, name: str = "talk.txt") -> list[ChatMessage]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_chat(path))


def said(messages: list[ChatMessage]) -> list[tuple[str, str]]:
    return [(m.speaker, m.text) for m in messages if m.kind == "text"]


def phone(*rows: str, date: str = "2024/01/15(月)") -> str:
    """A LINE export from a phone: ``|`` stands for a tab."""
    return (
        "\n".join(["[LINE] Aとのトーク履歴", "保存日時：2024/02/01 10:00", "", date, *rows]).replace("|", "\t") + "\n"
    )


def desktop(*rows: str) -> str:
    return "\n".join(["2024.01.15 月曜日", *rows]) + "\n"


def zipped(files: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, str) else json.dumps(content))
    return buffer.getvalue()


# LINE ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "when"),
    [
        ("2024/1/5(金)", "2024-01-05"),
        ("2024.01.05 金曜日", "2024-01-05"),
        ("2024.1.5 Friday", "2024-01-05"),
        ("Fri, 1/5/2024", "2024-01-05"),  # the weekday decides: 5 January is a Friday, 1 May is none
        ("Fri, 5/1/2024", "2024-01-05"),
        ("Fri, 05/01/2024", "2024-01-05"),
        ("Fri, 05/01/2567 BE", "2024-01-05"),
    ],
)
def test_lines_dates(tmp_path, date, when):
    assert [f"{m.at:%Y-%m-%d}" for m in read(tmp_path, phone("9:05|A|hi", "9:06|B|ho", date=date))] == [when, when]


def test_a_weekday_that_fits_both_ways_follows_the_other_dates(tmp_path):
    # 3 March reads alike both ways; 6 December and 12 June are a Friday and a Wednesday in 2024.
    rows = ("9:05|A|hi", "", "Fri, 12/6/2024", "9:05|A|ho")
    assert [m.at.month for m in read(tmp_path, phone(*rows, date="Sun, 3/3/2024"))] == [3, 12]


def test_the_hour_after_midnight_may_be_24(tmp_path):
    assert [m.at.hour for m in read(tmp_path, phone("24:10|A|hi", "12:10|A|ho"))] == [0, 12]


def test_a_quote_that_the_writer_opened_swallows_nothing(tmp_path):
    found = said(read(tmp_path, phone('9:05|A|"って何？', "9:06|B|しらん", "9:07|A|そっか")))
    assert found == [("A", '"って何？'), ("B", "しらん"), ("A", "そっか")]


def test_doubled_quotes_inside_a_message_of_several_lines(tmp_path):
    assert said(read(tmp_path, phone('9:05|A|"彼は', '""うん""', 'って"', "9:06|B|へえ"))) == [
        ("A", '彼は\n"うん"\nって'),
        ("B", "へえ"),
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[写真]", "media"),
        ("写真", "text"),
        ("[スタンプ]", "sticker"),
        ("スタンプ", "text"),
        ("(emoji)", "sticker"),
        ("了解(emoji)", "text"),
        ("[アルバム] 旅行", "media"),
        ("予約をキャンセルした", "text"),
        ("☎ 通話時間 1:23", "system"),
        ("☎ 不在着信", "system"),
        ("アルバムを作成しました", "text"),
    ],
)
def test_what_a_phone_writes_for_a_photo_has_brackets(tmp_path, text, kind):
    found = read(tmp_path, phone(f"9:05|A|{text}", "9:06|B|うん"))[0]
    if text != "アルバムを作成しました":  # LINE's own words have two columns; three are somebody's
        assert found.kind == kind
    else:
        assert found.kind == "text" and read(tmp_path, phone(f"9:05|Aが{text}"))[0].kind == "system"
    assert found.text == text.replace("(emoji)", "")


@pytest.mark.parametrize(("text", "kind"), [("写真", "media"), ("スタンプ", "sticker"), ("写真とって", "text")])
def test_on_a_desktop_a_word_alone_stands_for_a_photo(tmp_path, text, kind):
    assert read(tmp_path, desktop(f"09:05 A {text}", "09:06 B うん"))[0].kind == kind


def test_who_speaks_once_on_a_desktop_is_a_speaker(tmp_path):
    rows = [f"09:{i:02d} {'花子' if i % 2 else '太郎'} hi{i}" for i in range(30)]
    found = said(read(tmp_path, desktop(*rows[:20], "09:19 次郎 よう", *rows[20:])))
    assert found[20] == ("次郎", "よう") and len(found) == 31


def test_whom_a_notice_names_is_a_speaker_with_a_space_in_the_name(tmp_path):
    rows = ("09:05 Bob Smithがグループに参加しました", "09:06 Bob Smith やあ", "09:07 A うん", "09:08 A ね")
    assert said(read(tmp_path, desktop(*rows))) == [("Bob Smith", "やあ"), ("A", "うん"), ("A", "ね")]


def test_two_people_of_one_family_name_on_a_desktop(tmp_path):
    rows = [f"09:{i:02d} 山田 {'花子' if i % 2 else '太郎'} {'うん' if i % 3 else 'そうかも'}" for i in range(40)]
    notices = ["09:40 山田 花子が「旅行」をアナウンスしました。", "09:41 山田 太郎が写真を1枚アルバムに追加しました。"]
    found = read(tmp_path, desktop(*rows, *notices))
    assert {m.speaker for m in found if m.kind == "text"} == {"山田 花子", "山田 太郎"}
    assert {m.text for m in found if m.kind == "text"} == {"うん", "そうかも"}


@pytest.mark.parametrize("text", ["通話時間 12:34", "通話をキャンセルしました", "不在着信", "Missed call"])
def test_a_call_is_nobodys_words(tmp_path, text):
    assert read(tmp_path, desktop(f"09:05 A {text}", "09:06 B うん"))[0].kind == "system"


# WhatsApp -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("image omitted", "media"),
        ("that part was omitted", "text"),
        ("Bild weggelassen", "media"),
        ("ich habe das Bild weggelassen", "text"),
        ("画像は含まれていません", "media"),
        ("その画像は省略されました、残念", "text"),
        ("sticker omitted", "sticker"),
        ("스티커 생략", "sticker"),
        ("report.pdf • 3 pages document omitted", "media"),
        ("null", "media"),
        ("I deleted this message", "text"),
        ("This message was deleted", "deleted"),
        ("You deleted this message.", "deleted"),
        ("Missed voice call", "system"),
        ("I missed it", "text"),
        ("Waiting for this message. This may take a while.", "system"),
        ("Video call (10 min)", "system"),
        ("Video call tonight?", "text"),
        ("<View once media omitted>", "media"),
        ("<attached: 00014-PHOTO-2024-01-15.jpg>", "media"),
        ("POLL:\nWhen?", "media"),
        ("pollo: 3", "text"),
    ],
)
def test_whatsapps_words_are_whole_lines(tmp_path, text, kind):
    found = read(tmp_path, f"15/01/24, 10:01 - Anna: {text}\n15/01/24, 10:02 - Ben: ok\n", "_chat.txt")
    assert [m.kind for m in found] == [kind, "text"]


@pytest.mark.parametrize(
    ("stamp", "when"),
    [
        ("Jan/15/24 10:01 - ", None),
        ("15/1/R6 10:01 - ", "2024-01-15 10:01"),
        ("15/1/2567 BE 10:01 - ", "2024-01-15 10:01"),
        ("15/1/2567 10:01 - ", "2024-01-15 10:01"),
        ("15/01/2024, 10.01 - ", "2024-01-15 10:01"),
        ("15. 1. 2024 10:01 - ", "2024-01-15 10:01"),
        ("[15-01-24 10:01:22] ", "2024-01-15 10:01"),
        ("15/01/2024, 10:01 a. m. - ", "2024-01-15 10:01"),
        ("15/01/2024, 10:01 p.\u00a0m. - ", "2024-01-15 22:01"),
    ],
)
def test_whatsapps_years_and_clocks(tmp_path, stamp, when):
    content = f"{stamp}Anna: hi\n{stamp}Ben: ok\n" * 3
    if when is None:
        with pytest.raises(PersonaError, match="not known"):
            read(tmp_path, content, "_chat.txt")
        return
    assert {f"{m.at:%Y-%m-%d %H:%M}" for m in read(tmp_path, content, "_chat.txt")} == {when}


def test_stamps_of_an_unknown_form_are_no_text(tmp_path):
    known = "15/01/24, 10:01 - Anna: hi\n"
    with pytest.raises(PersonaError, match="line 2: 4 lines begin with a date and time of a form that is not known"):
        read(tmp_path, known + "15-Jan-24, 10:02 - Ben: ok\n" * 4, "_chat.txt")


# Telegram, Discord, Slack -------------------------------------------------------------------------------------------

TELEGRAM = {"id": 1, "type": "message", "date": "2024-01-15T10:01:00", "from": "Bob", "text": "hi"}


def test_telegrams_left_chats_and_two_people_of_one_name(tmp_path):
    chats = [{"name": "Bob", "type": "personal_chat", "id": n, "messages": [TELEGRAM]} for n in (1, 2)]
    export = {"about": "x", "chats": {"list": chats[:1]}, "left_chats": {"list": chats[1:]}}
    found = read(tmp_path, json.dumps(export), "result.json")
    assert len(found) == 2 and len({m.chat for m in found}) == 2


def test_telegrams_unsupported_message_has_no_date(tmp_path):
    export = {"name": "Bob", "type": "personal_chat", "id": 1, "messages": [{"id": 2, "type": "unsupported"}, TELEGRAM]}
    assert [m.kind for m in read(tmp_path, json.dumps(export), "result.json")] == ["system", "text"]


def test_json_with_a_byte_order_mark(tmp_path):
    export = {"name": "Bob", "type": "personal_chat", "id": 1, "messages": [TELEGRAM]}
    assert said(read(tmp_path, json.dumps(export).encode("utf-8-sig"), "result.json")) == [("Bob", "hi")]


def test_discords_forwards_are_somebody_elses_words(tmp_path):
    row = {"id": "1", "type": "Default", "timestamp": "2024-01-15T10:01:00+00:00", "author": {"name": "bob"}}
    rows = [row | {"content": "hi"}, row | {"content": "x", "reference": {"type": "Forward", "messageId": "9"}}]
    export = {"guild": {"name": "g"}, "channel": {"name": "c"}, "messages": rows}
    assert [m.kind for m in read(tmp_path, json.dumps(export), "d.json")] == ["text", "forwarded"]


@pytest.mark.parametrize("wrapped", ["", "export/"])
@pytest.mark.parametrize("users", ["users.json", "org_users.json"])
def test_slack_unpacked_and_zipped_again_and_of_an_enterprise(tmp_path, wrapped, users):
    rows = [
        {"type": "message", "user": "U1", "ts": "1705312860.0", "text": "a &lt;b&gt; <@U1> <https://x.example|x>"},
        {"type": "message", "user": "U9", "ts": "1705312861.0", "text": "hi", "user_profile": {"real_name": "Guest"}},
        {"type": "message", "user": "U1", "ts": "1705312862.0", "text": "", "subtype": "tombstone"},
        {"type": "message", "bot_id": "B1", "ts": "1705312863.0", "text": "beep"},
    ]
    files = {
        f"{wrapped}{users}": [{"id": "U1", "profile": {"display_name": "Ann"}}],
        f"{wrapped}c/2024-01-15.json": rows,
    }
    found = read(tmp_path, zipped(files), "s.zip")
    assert said(found) == [("Ann", "a <b> @Ann https://x.example"), ("Guest", "hi")]
    assert [m.kind for m in found] == ["text", "text", "deleted", "bot"]


def test_a_slack_thread_is_a_talk_of_its_own(tmp_path):
    texts = ["どこで飲む？", "新宿で", "何時から？", "7時かな"]
    rows = [
        {"type": "message", "user": f"U{n % 2}", "ts": f"170531286{n}.0", "thread_ts": "1705312860.0", "text": text}
        for n, text in enumerate(texts)
    ]
    rows.insert(2, {"type": "message", "user": "U0", "ts": "1705312861.5", "text": "別の話"})
    messages = read(tmp_path, zipped({"users.json": [], "c/2024-01-15.json": rows}), "s.zip")
    funnel = Funnel()
    found = [(p.question, p.answer) for p in pairs_of(iter(messages), Pairing(frozenset({"U1"})), funnel)]
    assert found == [("どこで飲む？", "新宿で"), ("何時から？", "7時かな")]


@pytest.mark.parametrize(
    ("time", "when"),
    [
        ("2024/4/1 9:05", "2024-04-01 09:05"),
        ("2024-04-01 08:00 PM", "2024-04-01 20:00"),
        ("2024年4月1日 20:00", "2024-04-01 20:00"),
        ("4/13/2024 9:05", "2024-04-13 09:05"),
        ("13.4.2024 9:05", "2024-04-13 09:05"),
        ("1711929600000", "2024-04-01 00:00"),
        ("1711929600", "2024-04-01 00:00"),
        ("2024-04-01T20:00:00Z", "2024-04-01 20:00"),
    ],
)
def test_times_as_tables_have_them(tmp_path, time, when):
    found = read(tmp_path, f"sep=,\ntime,speaker,text\n{time},a,hi\n,,\n", "t.csv")
    assert [f"{m.at:%Y-%m-%d %H:%M}" for m in found] == [when]


def test_a_tables_other_rows_say_whether_the_day_comes_first(tmp_path):
    found = read(tmp_path, "time,speaker,text\n3/4/2024 9:05,a,hi\n25/4/2024 9:05,b,ho\n", "t.csv")
    assert [(m.at.day, m.at.month) for m in found] == [(3, 4), (25, 4)]


def test_a_chat_without_a_message_is_no_empty_success(tmp_path):
    export = {"name": "Bob", "type": "personal_chat", "id": 1, "messages": []}
    with pytest.raises(PersonaError, match="no message was found in it"):
        read(tmp_path, json.dumps(export), "result.json")
