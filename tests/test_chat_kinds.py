"""Faults by their kind: what an app writes by itself is told by its shape, in many forms and languages."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta

import pytest
from test_chat_forms import desktop, phone, read, said, zipped

from persona_ft.chat.importing import columns_in, import_chat
from persona_ft.chat.messages import Funnel
from persona_ft.chat.pairing import Pairing, pairs_of
from persona_ft.chat.privacy import Privacy
from persona_ft.chat.read import read_chat
from persona_ft.chat.times import time_of
from persona_ft.errors import PersonaError

MARK = "\u200e"


def told(messages) -> list[tuple[str, str, str]]:
    """What is somebody's, and what stands in its place; notices are left out."""
    return [(m.kind, m.speaker, m.text) for m in messages if m.kind != "system"]


def when(messages) -> list[str]:
    return [f"{m.at:%Y-%m-%d %H:%M}" for m in messages if m.kind != "system"]


def ios(*rows: str) -> str:
    return "".join(f"[15/01/2024, 10:{i:02d}:00] {row}\n" for i, row in enumerate(rows, 1))


def android(*rows: str) -> str:
    return "".join(f"15/01/2024, 10:{i:02d} - {row}\n" for i, row in enumerate(rows, 1))


# LINE on a desktop --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "notice",
    [
        "次郎がグループに参加しました。",
        "花子が次郎を招待しました。",
        "太郎がグループを退会しました。",
        "太郎が写真をアルバムから削除しました。",
        "花子がグループの背景を変更しました",
        "太郎がアルバム「夏 2024」を作成しました",
        "花子がグループ名を「旅行 班」に変更しました。",
        "花子が太郎を管理者に設定しました",
        "通話が開始されました",
        "☎ 通話時間 0:12",
        "投票が終了しました",
        "グループ通話が終了しました",
        "グループが作成されました",
    ],
)
def test_lines_notices_are_nobodys_words(tmp_path, notice):
    found = read(tmp_path, desktop("09:01 花子 どう", "09:02 太郎 いいよ", f"09:03 {notice}", "09:04 花子 うん"))
    assert told(found) == [("text", "花子", "どう"), ("text", "太郎", "いいよ"), ("text", "花子", "うん")]


@pytest.mark.parametrize(
    "notice",
    [
        "Ann joined the group.",
        "Carl left the group.",
        "Ann removed Carl from the group.",
        "Ben changed the group name to Trip.",
        "Ann added 3 photos to the album.",
        "Mary Ann joined the group.",
        "Ben created a poll.",
        "Ann has left the chat",
        "The group call has ended.",
    ],
)
def test_lines_english_notices_begin_with_people_who_also_write(tmp_path, notice):
    rows = ("09:01 Ann hello", "09:02 Ben hi there", f"09:03 {notice}", "09:04 Ann ok then")
    found = read(tmp_path, "\n".join(["2024.01.15 Monday", *rows]))
    assert said(found) == [("Ann", "hello"), ("Ben", "hi there"), ("Ann", "ok then")]


@pytest.mark.parametrize(
    "text",
    [
        "left the party because it was late",
        "joined the gym",
        "changed my photo again",
        "sent a photo to mom",
        "太郎がグループに参加しました",
        "予約を変更しました",
        "招待したよ",
    ],
)
def test_what_reads_like_a_notice_behind_a_name_is_said(tmp_path, text):
    found = read(tmp_path, desktop("09:01 花子 hello", "09:02 太郎 hi", f"09:03 花子 {text}", "09:04 太郎 ok"))
    assert said(found)[2] == ("花子", text) and len(said(found)) == 4


@pytest.mark.parametrize(("one", "other"), [("Mary Ann", "Tom"), ("Jean Luc", "Jean Paul"), ("DJ Kenji", "母")])
def test_names_of_several_words_in_a_short_chat(tmp_path, one, other):
    rows = (f"09:00 {one}がグループに参加しました", f"09:01 {one} やあ", f"09:02 {other} うん", f"09:03 {one} ね")
    assert {s for s, _ in said(read(tmp_path, desktop(*rows, f"09:04 {other} よ")))} == {one, other}


@pytest.mark.parametrize("word", ["Audio", "Voice message", "Contacts", "ボイスメッセージ"])
def test_a_desktops_word_for_what_is_no_text(tmp_path, word):
    rows = ("09:00 Ann hi", f"09:01 Ann {word}", "09:02 Ben what?", f"09:03 Ann {word}?")
    assert [m.kind for m in read(tmp_path, desktop(*rows))] == ["text", "media", "text", "text"]


# LINE's days --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "date",
    [
        "2024/01/15, Mon",
        "2024/01/15（月）",
        "2024年1月15日 月曜日",
        "15/1/2024 (Mon)",
        "2024.01.15 星期一",
        "2024/01/15（週一）",
        "2024년 1월 15일 월요일",
        "2024.01.15 วันจันทร์",
        "จ. 15/1/2567",
        "Senin, 15/1/2024",
    ],
)
def test_the_weekday_of_a_day_in_any_form(tmp_path, date):
    for content in (phone("9:05|A|hi", "9:06|B|ho", date=date), f"{date}\n09:05 A hi\n09:06 B ho\n"):
        assert when(read(tmp_path, content)) == ["2024-01-15 09:05", "2024-01-15 09:06"]


@pytest.mark.parametrize("line", ["2024/1/20(土)", "1995/8/12", "2024.01.20 土曜日", "Sat, 1/20/2024", "2023/1/20(金)"])
def test_a_line_that_looks_like_a_day_stays_a_message(tmp_path, line):
    after = ("09:06 太郎 いく", "09:07 花子 ね", "2024.01.16 火曜日", "09:00 花子 おはよ")
    found = read(tmp_path, desktop("09:05 花子 いつ", line, *after))
    assert said(found)[0] == ("花子", f"いつ\n{line}") and when(found)[1:] == [
        "2024-01-15 09:06",
        "2024-01-15 09:07",
        "2024-01-16 09:00",
    ]
    rows = ("9:05|A|いつ", line, "9:06|B|いく", "", "2024/01/16(火)", "9:00|A|おはよ")
    found = read(tmp_path, phone(*rows))
    assert said(found)[0] == ("A", f"いつ\n{line}") and when(found)[1:] == ["2024-01-15 09:06", "2024-01-16 09:00"]


def test_exports_put_behind_each_other_are_refused_where_days_run_backwards(tmp_path):
    days = [f"2024.0{m}.15 月曜日\n09:05 A hi{m}\n09:06 B ho\n" for m in (5, 6, 7, 1, 2, 3, 4)]
    with pytest.raises(PersonaError, match="line 10: days run backwards"):
        read(tmp_path, "".join(days))


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (('9:20|A|"それな', '9:21|B|閉じろ"'), [("A", '"それな'), ("B", '閉じろ"')]),
        (('9:20|A|"a', "9:21|B|b", '9:22|A|c"'), [("A", '"a'), ("B", "b"), ("A", 'c"')]),
        (('9:20|A|"a', "", "10:30|昼", 'b"', "9:21|B|x"), [("A", "a\n\n10:30\t昼\nb"), ("B", "x")]),
    ],
)
def test_a_quote_is_one_persons(tmp_path, rows, found):
    assert said(read(tmp_path, phone(*rows))) == found


@pytest.mark.parametrize(
    "content",
    [
        "[LINE] 與小美的聊天記錄\n儲存日期：2025/02/20 10:00\n\n2025/02/15（六）\n"
        "上午10:50\tA\t早\n下午1:05\tB\t[貼圖]\n下午1:06\tB\t嗨\n",
        "2025.02.15 星期六\n10:50 A 早\n13:05 B 圖片\n13:05 A已收回訊息\n13:06 B 嗨\n",
        "[LINE] A님과의 대화\n저장한 날짜 : 2025/02/20\n\n2025년 2월 15일 토요일\n"
        "오전 10:50\tA\t早\n오후 1:05\tB\t[사진]\n오후 1:06\tB\t嗨\n",
        "2025.02.15 วันเสาร์\n10:50 A 早\n13:05 B สติกเกอร์\n13:06 B 嗨\n",
        "2025/02/15(土)\n10:50\tA\t早\n13:06\tB\t嗨\n",
        "\n\n2025/02/15, Sat\n10:50 AM\tA\t早\n1:06 PM\tB\t嗨\n",
    ],
)
def test_line_in_other_languages_and_without_its_header(tmp_path, content):
    found = read(tmp_path, content)
    assert said(found) == [("A", "早"), ("B", "嗨")] and found[-1].at.hour == 13


# WhatsApp -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["video message omitted", "Vidéo absente", "zdjęcie pominięto", "사진 생략됨"])
def test_what_stands_behind_an_iphones_mark_is_media(tmp_path, text):
    found = read(tmp_path, ios("Ann: home?", f"Ann: {MARK}{text}", "Ben: nice"))
    assert told(found) == [("text", "Ann", "home?"), ("media", "Ann", text), ("text", "Ben", "nice")]
    assert not list(pairs_of(iter(found), Pairing(frozenset({"Ben"})), Funnel()))


@pytest.mark.parametrize("text", ["<Médias omis>", "<Video message omitted>", "‹Mídia oculta›", "<تم استبعاد الوسائط>"])
def test_a_whole_line_in_angles_is_media_in_any_language(tmp_path, text):
    found = read(tmp_path, android(f"Ann: {text}", "Ben: see <this> one", f"Ann: {text}\nwith words", "Ben: <3"))
    assert told(found) == [
        ("media", "Ann", text),
        ("text", "Ben", "see <this> one"),
        ("text", "Ann", "with words"),
        ("text", "Ben", "<3"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        android("Ann: IMG-20240115-WA0001.jpg (file attached)\nlook here"),
        android("Ann: PTT-20240115-WA0001.opus (fil bifogad)\nlook here"),
        android("Ann: final report.pdf (Datei angehängt)\nlook here"),
        ios(f"Ann: {MARK}<adjunto: 0001-PHOTO.jpg>\nlook here"),
        ios(f"Ann: look here {MARK}<attached: 0001-PHOTO.jpg>"),
        ios(f"Ann: look here {MARK}image omitted"),
    ],
)
def test_a_caption_is_kept(tmp_path, content):
    assert said(read(tmp_path, content)) == [("Ann", "look here")]


@pytest.mark.parametrize("text", ["dog.jpg (so cute)", "a (file attached) word"])
def test_a_bracket_behind_a_file_is_said(tmp_path, text):
    assert said(read(tmp_path, android(f"Ann: {text}"))) == [("Ann", text)]


@pytest.mark.parametrize(
    "note",
    [
        "Wiadomość edytowana",
        "Сообщение изменено",
        "此訊息已編輯",
        "Съобщението е редактирано",
        "Bu mesaj düzenlendi",
        "Mensagem editada.",
    ],
)
def test_the_note_of_an_edit_is_taken_off(tmp_path, note):
    assert said(read(tmp_path, android(f"Ann: so be it <{note}>"))) == [("Ann", "so be it")]
    assert said(read(tmp_path, ios(f"Ann: so\nbe it {MARK}<{note}>"))) == [("Ann", "so\nbe it")]


@pytest.mark.parametrize(
    "text",
    [
        "Je hebt dit bericht verwijderd",
        "Данное сообщение удалено",
        "您已刪除此訊息",
        "This message was deleted by admin Ann",
        "Esta mensagem foi eliminada",
    ],
)
def test_a_deleted_message_breaks_a_pair(tmp_path, text):
    found = read(tmp_path, android("Ann: home?", f"Ann: {text}", "Ben: yes"))
    assert [m.kind for m in found] == ["text", "deleted", "text"]
    assert not list(pairs_of(iter(found), Pairing(frozenset({"Ben"})), Funnel()))


@pytest.mark.parametrize("row", ["Ann:", "Ann: ", "Ann:   "])
def test_an_empty_text_is_a_turn_without_words(tmp_path, row):
    found = read(tmp_path, android("Ann: home?", row, "Ben: nice"))
    assert [m.kind for m in found] == ["text", "media", "text"]
    assert not list(pairs_of(iter(found), Pairing(frozenset({"Ben"})), Funnel()))


def test_a_name_without_a_space_behind_its_colon(tmp_path):
    rows = (
        "Ann:hi",
        "Ben:yo",
        "Ann:look: here",
        "Ben:10:30",
        "Ann changed the settings at 10:30",
        'Ann: he wrote "a:b":',
    )
    assert said(read(tmp_path, android(*rows))) == [
        ("Ann", "hi"),
        ("Ben", "yo"),
        ("Ann", "look: here"),
        ("Ben", "10:30"),
        ("Ann", 'he wrote "a:b":'),
    ]


@pytest.mark.parametrize("before", ["Messages are encrypted.\n", "the end of\na message\n\n", "10:31 - x\n"])
def test_first_lines_without_a_stamp_are_counted(tmp_path, before):
    found = read(tmp_path, before + android("Ann: hi"))
    assert said(found) == [("Ann", "hi")]
    assert [m.kind for m in found].count("system") == len(before.split("\n")) - before.count("\n\n") - 1


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("٣/١/٢٠٢٤، ٩:٤١ م - ", "2024-01-03 21:41"),
        ("15.01.24, 9:41:00 vorm. - ", "2024-01-15 09:41"),
        ("[15.01.24, 9:41:00 nachm.] ", "2024-01-15 21:41"),
        ("[2024/01/15\u200915:50:46] ", "2024-01-15 15:50"),
        ("[2024/1/15 3:50:46 下午] ", "2024-01-15 15:50"),
        ("15/01/2024 às 15:50 - ", "2024-01-15 15:50"),
        ("15.01.2024 kl. 15.50 - ", "2024-01-15 15:50"),
        ("15/1/24, 3:50 μ.μ. - ", "2024-01-15 15:50"),
        ("2024/1/15 凌晨12:05 - ", "2024-01-15 00:05"),
    ],
)
def test_stamps_of_other_places(tmp_path, stamp, at):
    assert when(read(tmp_path, f"{stamp}Ann: hi\n{stamp}Ben: yo\n")) == [at, at]


@pytest.mark.parametrize("stamp", ["15/Jan/2024, 10:01 - ", "15/01/2024, 9:41 xyz - ", "[Mon 15.1.24 9:41] "])
def test_a_stamp_that_is_not_read_asks_for_english(tmp_path, stamp):
    with pytest.raises(PersonaError, match="phone set to English"):
        read(tmp_path, f"{stamp}Ann: hi\n{stamp}Ben: yo\n" * 3)


def test_a_piece_of_another_chat_inside_a_message(tmp_path):
    piece = "14/01/2024, 09:10 - Carl: late\n14/01/2024, 09:11 - Ann: oh\n"
    rest = "15/01/2024, 10:02 - Ben: no!\n15/01/2024, 10:01 - Ben: a little late\n"
    assert said(read(tmp_path, android("Ann: see") + piece + rest)) == [
        ("Ann", "see\n" + piece.strip()),
        ("Ben", "no!"),
        ("Ben", "a little late"),
    ]


def test_the_mark_is_the_phones_on_an_iphone_alone(tmp_path):
    assert said(read(tmp_path, android(f"Ann: {MARK}no idea"))) == [("Ann", "no idea")]


# What is inside, and whose it is ------------------------------------------------------------------------------------

ANN, CARL = android("Ann: hi"), android("Carl: hey")
TELEGRAM = {"id": 1, "type": "message", "date": "2024-01-15T10:01:00", "from": "Ann", "from_id": "user1", "text": "hi"}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"_chat.txt": ANN, "a long note.txt": "note\n" * 99}, ["Ann"]),
        ({"_chat.txt": ANN, "WhatsApp Chat with Carl.txt": CARL}, ["Ann"]),
        ({"WhatsApp Chat with Ann.txt": ANN, "WhatsApp Chat with Carl.txt": CARL}, ["Ann", "Carl"]),
        ({"[LINE] Ann.txt": phone("9:05|Ann|hi"), "photo.jpg": "x"}, ["Ann"]),
        ({"x/result.json": {"name": "A", "type": "personal_chat", "id": 1, "messages": [TELEGRAM]}}, ["Ann"]),
    ],
)
def test_the_chats_in_a_zip(tmp_path, files, found):
    messages = read(tmp_path, zipped(files), "x.zip")
    assert [m.speaker for m in messages] == found and len({m.chat for m in messages}) == len(found)


def test_metas_json_is_oldest_first_and_its_letters_are_mended(tmp_path):
    def message(name: str, minute: int, **more: object) -> dict:
        return {"sender_name": name, "timestamp_ms": 1705312800000 + 60_000 * minute} | more

    newer = [message("J\u00c3\u00bcrgen", 2, content="\u00e3\u0081\u00ad"), message("Ann", 1, photos=[{"uri": "x"}])]
    files = {
        f"your_activity/messages/inbox/a_1/message_{n}.json": {"participants": [], "messages": rows}
        for n, rows in ((1, newer), (2, [message("Ann", 0, content="hi")]))
    }
    expected = [("text", "Ann", "hi"), ("media", "Ann", ""), ("text", "Jürgen", "ね")]
    assert told(read(tmp_path, zipped(files | {"ads.json": {"x": 1}}), "ig.zip")) == expected
    encrypted = {"participants": ["Ann"], "threadName": "Ann_1", "messages": []}
    encrypted["messages"] = [{"senderName": "Ann", "text": "é", "timestamp": 1705312800000, "type": "text"}]
    assert told(read(tmp_path, json.dumps(encrypted), "Ann.json")) == [("text", "Ann", "é")]


def test_google_chat_in_its_takeout(tmp_path):
    def message(name: str, text: str, **more: object) -> dict:
        when = "Monday, January 15, 2024 at 9:05:00\u202fPM UTC"
        return {"creator": {"name": name, "user_type": "Human"}, "created_date": when, "text": text} | more

    rows = [message("Ann", "hi"), message("Ben", "", attached_files=[{}]), message("Ann", "", message_state="DELETED")]
    rows.append(message("News", "!", creator={"name": "News", "user_type": "Bot"}))
    folder = "Takeout/Google Chat/Groups/DM 1"
    files = {f"{folder}/messages.json": {"messages": rows}, f"{folder}/group_info.json": {"members": []}}
    found = read(tmp_path, zipped(files), "takeout.zip")
    assert [m.kind for m in found] == ["text", "media", "deleted", "bot"] and said(found) == [("Ann", "hi")]
    assert when(found)[0] == "2024-01-15 21:05"


def test_slackdump_with_its_threads(tmp_path):
    reply = {"type": "message", "user": "U2", "ts": "1705312870.0", "text": "yo", "thread_ts": "1705312860.0"}
    first = {"type": "message", "user": "U1", "ts": "1705312860.0", "text": "hi", "slackdump_thread_replies": [reply]}
    export = {"channel_id": "D1", "name": "ann", "messages": [first]}
    assert said(read(tmp_path, json.dumps(export), "D1.json")) == [("U1", "hi"), ("U2", "yo")]


def test_a_bots_chat_is_no_talk(tmp_path):
    bots = {"name": "Weather", "type": "bot_chat", "id": 5, "messages": [TELEGRAM, TELEGRAM | {"from": "Ben"}]}
    people = {"name": "Ann", "type": "personal_chat", "id": 6, "messages": [TELEGRAM, TELEGRAM | {"from": "Poll Bot"}]}
    found = read(tmp_path, json.dumps({"about": "x", "chats": {"list": [bots, people]}}), "result.json")
    assert [m.kind for m in found] == ["bot", "bot", "text", "bot"]


def test_two_people_of_one_name_are_two(tmp_path):
    rows = [TELEGRAM, TELEGRAM | {"from_id": "user2"}, TELEGRAM]
    export = {"name": "A", "type": "private_group", "id": 1, "messages": rows}
    assert [m.speaker for m in read(tmp_path, json.dumps(export), "r.json")] == ["Ann", "Ann (user2)", "Ann"]
    table = "AuthorID,Author,Date,Content\n1,Gone,2024-01-15 10:01,hi\n2,Gone,2024-01-15 10:02,yo\n"
    assert [m.speaker for m in read(tmp_path, table, "t.csv")] == ["Gone", "Gone (2)"]


@pytest.mark.parametrize(
    ("app", "name", "content"),
    [
        ("KakaoTalk", "a.txt", "2024년 1월 15일 오후 9:05, 철수 : 안녕\n"),
        ("KakaoTalk", "a.txt", "--------------- 2024년 1월 15일 월요일 ---------------\n[철수] [오후 9:05] 안녕\n"),
        ("iMessage", "a.txt", "Jan 15, 2024  9:05:00 PM\nAnn\nhi\n"),
        ("Signal", "a.jsonl", '{"envelope": {"source": "+49"}}\n'),
        ("WeChat", "a.txt", "2024-01-15 10:01:00 小美\n早安\n"),
        ("Twitter", "a.js", "window.YTD.direct_messages.part0 = [{}]"),
        ("Teams", "a.txt", "[1/15/2024 10:01 AM] Ann Lee\nhi\n"),
        ("Teams", "a.json", '{"conversations": [{"id": "1", "MessageList": []}]}'),
        ("machine-readable", "a.html", '<!DOCTYPE html><html><body class="chat_page">'),
        ("database", "chat.db", b"SQLite format 3\0" + bytes(99)),
        ("encrypted", "msgstore.db.crypt15", b"\1\2\3"),
    ],
)
def test_another_apps_export_is_named_with_what_to_do(tmp_path, app, name, content):
    with pytest.raises(PersonaError, match=app):
        read(tmp_path, content, name)


# Times that can be read in several ways -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "at"),
    [
        ("5-Mar-24 10:01 PM", "2024-03-05 22:01"),
        ("15 Jan 2024 22:01", "2024-01-15 22:01"),
        ("01/15/24 22:01", "2024-01-15 22:01"),
        ("3/3/2024 22:01", "2024-03-03 22:01"),
    ],
)
def test_a_date_that_means_one_day(tmp_path, time, at):
    assert when(read(tmp_path, f"time,speaker,text\n{time},a,hi\n", "t.csv")) == [at]


@pytest.mark.parametrize("time", ["3/4/24 9:05", "15/01/24 9:05", "24-01-15 10:00", "1.2.2024"])
def test_a_date_that_may_be_several_days_is_asked(tmp_path, time):
    (tmp_path / "t.csv").write_text(f"time,speaker,text\n{time},a,hi\n")
    with pytest.raises(PersonaError, match=r"line 2: .*several ways"):
        list(read_chat(tmp_path / "t.csv"))
    order = "y/m/d" if time.startswith("24") else "d/m/y"
    [message] = read_chat(tmp_path / "t.csv", columns=columns_in(f"dates={order}"))
    assert message.at.year == 2024 and message.at.month in (1, 2, 4)


@pytest.mark.parametrize(
    ("dates", "order", "days"),
    [
        (("24/01/15", "24/01/16", "24/02/01"), "", ["01-15", "01-16", "02-01"]),  # a day changes more often than a year
        (("15/01/24", "16/01/24", "01/02/24"), "", ["01-15", "01-16", "02-01"]),
        (("3/4/24", "3/4/24"), "", ["04-03", "04-03"]),
        (("3/4/24", "3/4/24"), "m/d/y", ["03-04", "03-04"]),
    ],
)
def test_the_order_of_a_stamps_date_is_found_or_said(tmp_path, dates, order, days):
    path = tmp_path / "_chat.txt"
    path.write_text("".join(f"{date}, 10:01 - Ann: hi\n" for date in dates))
    found = list(read_chat(path, columns=columns_in(f"dates={order}") if order else None))
    assert [f"{m.at:%m-%d}" for m in found] == days and {m.at.year for m in found} == {2024}


@pytest.mark.parametrize(
    "form",
    [
        "%A, %B %d, %Y at %I:%M:%S\u202f%p UTC",
        "%B %d, %Y at %I:%M:%S %p UTC",
        "%b %d, %Y %I:%M:%S %p",
        "%d %b %Y %H:%M:%S",
        "%Y/%m/%d %H:%M:%S",
        "%d.%m.%Y %H:%M:%S",
        "%Y年%m月%d日 %H時%M分%S秒",
        "%Y-%m-%d %I:%M:%S%p",
    ],
)
def test_written_times_mean_what_they_say_and_no_day_is_read_twice(form):
    first, started = datetime(2023, 12, 30, 23, 59, 58), time.process_time()
    for n in range(5_000):
        at = first + timedelta(seconds=997 * n)
        assert time_of(at.strftime(form), "t.csv", order="dmy") == at
    assert time.process_time() - started < 1  # each by dateutil alone: five times as long


@pytest.mark.parametrize("written", ["January 15, 2024 at 13:05 PM", "February 30, 2024 9:05", "2024/1/31 9:61"])
def test_a_written_time_that_is_none_is_an_error(written):
    with pytest.raises(PersonaError, match="the time of message"):
        time_of(written, "t.csv")


@pytest.mark.parametrize("time", ["10:01", "12", "Monday", "2024"])
def test_what_is_no_whole_date_is_not_filled_in(tmp_path, time):
    with pytest.raises(PersonaError, match="line 2: the time of message cannot be read"):
        read(tmp_path, f"time,speaker,text\n{time},a,hi\n", "t.csv")


# Private data, and what is nobody's fault ---------------------------------------------------------------------------


def test_a_kanji_is_no_part_of_a_longer_name():
    assert Privacy(["森"]).clean("大森さんと森さん、昨日森くんが") == "大森さんとAさん、昨日Aくんが"


def test_a_number_with_its_country_is_one_telephone():
    numbers = [f"+886 9{n:02d} {n * 7 % 1000:03d} {n * 13 % 1000:03d}" for n in range(60)]
    assert {tuple(f.kind for f in Privacy().find(f"{number} だよ")) for number in numbers} == {("phone",)}


def test_a_chat_that_is_all_near_its_test_says_so(tmp_path):
    asked, days = "明日の朝は何を食べる予定ですか？", [f"2024-01-{d:02d}" for d in range(1, 29)]
    rows = "".join(f"{d} 10:00,a,{asked}{'！' * (n % 3)}\n{d} 10:01,me,{'猫' * n}\n" for n, d in enumerate(days, 1))
    (tmp_path / "t.csv").write_text("time,speaker,text\n" + rows, encoding="utf-8")
    with pytest.raises(PersonaError, match="nearly repeat a test question"):
        import_chat(tmp_path / "t.csv", "me", n_test=4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.json", '{"chats": {"list": [{"id": ' + "9" * 5000 + "}]}}", "too many digits"),
        ("r.json", '{"type": "personal_chat", "messages": ' + '["]", ' * 200_000, "nested too deeply"),
        ("t.jsonl", '{"a": ' + "[" * 100_000, "line 1: the line is not JSON"),
        ("r.json", '{"chats": {"list": ["x"]}}', "no message"),
        ("t.csv", "time,speaker,text\n2024-01-01 20:" + "1" * 60 + ",a,b\n", "line 2: the time"),
        ("s.zip", zipped({"users.json": [{"profile": -1}], "c/2024-01-15.json": [{"ts": "x"}]}), "the time of message"),
    ],
)
def test_whatever_a_file_holds_is_one_sentence(tmp_path, name, content, message):
    with pytest.raises(PersonaError, match=message):
        read(tmp_path, content, name)


def test_a_row_with_a_comma_too_many_is_still_the_same_person(tmp_path):
    table = "time,speaker,text\n2024-01-15 10:01,Ann,well, hi\n2024-01-15 10:02,Ann,yo\n2024-01-15 10:03,Ann,so, so\n"
    assert {m.speaker for m in read(tmp_path, table, "t.csv")} == {"Ann"}


@pytest.mark.parametrize("replies", [5, "x", [7], {"ts": 1}])
def test_a_thread_of_slackdumps_that_is_none(tmp_path, replies):
    first = {"user": "U1", "ts": "1705312860.0", "text": "hi", "slackdump_thread_replies": replies}
    export = json.dumps({"channel_id": "D1", "name": "ann", "messages": [first]})
    if isinstance(replies, list):
        with pytest.raises(PersonaError, match="a message has no time"):
            read(tmp_path, export, "D1.json")
    else:
        assert said(read(tmp_path, export, "D1.json")) == [("U1", "hi")]


@pytest.mark.parametrize("piece", ["x", "\\\\", "あ"])
def test_a_text_without_an_end_is_refused_and_a_long_one_is_read(tmp_path, piece):
    def telegram(n: int) -> str:
        row = f'"id": 1, "type": "message", "date": "2024-01-15T10:01:00", "from": "Ann", "text": "{piece * n}"'
        return f'{{"type": "personal_chat", "messages": [{{{row}}}]}}'

    n = 900_000 // len(piece.encode())
    assert len(read(tmp_path, telegram(n), "r.json")[0].text) == n
    with pytest.raises(PersonaError, match="a text has more than 1,000,000 bytes"):
        read(tmp_path, telegram(20 * n), "r.json")


SLOW = {
    "blank lines": ("t.txt", lambda n: phone("9:05|A|hi") + "\n" * n),
    "quotes that stay open": ("t.txt", lambda n: phone("9:05|A|hi") + '9:05\tA\t"hi\nx\n' * (n // 12)),
    "many names": ("t.txt", lambda n: desktop(*(f"09:05 n{i // 2} hi" for i in range(n // 14)))),
    "day equals month": ("t.csv", lambda n: "time,speaker,text\n" + "3/3/2024 9:05,a,b\n" * (n // 18)),
}


@pytest.mark.parametrize("what", SLOW)
def test_time_grows_with_the_file_and_not_with_its_square(tmp_path, what):
    name, content = SLOW[what]
    started = time.process_time()
    read(tmp_path, content(200_000), name)
    assert time.process_time() - started < 8  # a square took minutes


def test_addresses_in_a_row_are_told_in_one_go(tmp_path):
    started = time.process_time()
    found = read(
        tmp_path, android("Ann: " + "https://" * 60 + " x", "Ben: ok", "Ann: https://a.b https://c.d", "Ben: ?")
    )
    assert [p.answer for p in pairs_of(iter(found), Pairing(frozenset({"Ben"})), Funnel())] == ["ok"]
    assert time.process_time() - started < 8  # each address doubled it


@pytest.mark.parametrize("piece", ["AKEY", "a'", "-", "a", "Aa-ku, ", "password ", "WIFI:", "(", "1 a", "1.1.1.1 "])
def test_private_data_is_looked_for_in_one_go(piece):
    started = time.process_time()
    Privacy().find("1 " + piece * (20_000 // len(piece)) + " 090-1234-5678")
    assert time.process_time() - started < 8
