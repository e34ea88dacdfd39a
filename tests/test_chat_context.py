"""What comes before a pair goes with it, and names that nobody listed are offered."""

from __future__ import annotations

import json
import math
import random
import time
from datetime import datetime, timedelta

import pytest
from conftest import ROOT

from persona_ft.chat.importing import import_chat
from persona_ft.chat.likely import FILE, KIND, likely_names, read_likely, write_likely
from persona_ft.chat.messages import ChatMessage, Funnel
from persona_ft.chat.pairing import MOST, Pairing, pairs_of, turns
from persona_ft.chat.privacy import Privacy
from persona_ft.chat.review import CHOICES
from persona_ft.errors import PersonaError

ME = frozenset({"me"})


def talk(*rows: tuple[int, str, str], kind: str = "text") -> list[ChatMessage]:
    """(minute, speaker, text); a text of ``*`` is a photo."""
    start = datetime(2024, 1, 1, 12)
    return [
        ChatMessage(start + timedelta(minutes=m), s, t.strip("*"), "media" if t == "*" else "text") for m, s, t in rows
    ]


def histories(messages: list[ChatMessage], **how: float) -> list[list[str]]:
    replies = pairs_of(iter(messages), Pairing(ME, merge_minutes=0, **how), Funnel())
    return [[text for e in reply.history for text in (e.question, e.answer)] for reply in replies]


ASKED = talk(*((n, "you" if n % 2 == 0 else "me", f"{'qa'[n % 2]}{n // 2}") for n in range(8)))


@pytest.mark.parametrize(
    ("turns", "last"),
    [(0, []), (1, ["q2", "a2"]), (2, ["q1", "a1", "q2", "a2"]), (9, ["q0", "a0", "q1", "a1", "q2", "a2"])],
)
def test_a_pair_brings_what_was_said_before_it(turns, last):
    found = histories(ASKED, turns=turns)
    assert found[0] == [] and found[3] == last


@pytest.mark.parametrize(
    ("between", "before"),
    [
        ([], ["q0", "a0"]),
        ([(2, "me", "and more")], ["q0", "a0\nand more"]),  # your own second turn goes on from the first
        ([(3, "you", "*"), (4, "me", "nice")], []),  # what was said about a photo is missing
        ([(100, "you", "hm"), (200, "you", "hello")], []),  # a pause
        ([(3, "you", "https://example.org"), (4, "me", "ok")], []),
    ],
)
def test_history_ends_at_a_pause_and_at_what_is_missing(between, before):
    at = max([m for m, *_ in between], default=4)
    rows = [(0, "you", "q0"), (1, "me", "a0"), *between, (at + 1, "you", "q1"), (at + 2, "me", "a1")]
    assert histories(talk(*rows))[-1] == before


def test_a_quoted_question_has_no_other_history_and_chats_are_apart():
    rows = talk((0, "you", "dinner?"), (1, "you2", "hi"), (2, "me", "hey"), (3, "me", "yes!"))
    rows[0].id, rows[3].reply_to = "1", "1"
    rows[0].chat = rows[3].chat = "x"
    assert histories(rows) == [[], []]
    found = pairs_of(iter(rows), Pairing(ME, merge_minutes=0), Funnel())
    assert {reply.question: reply.asker for reply in found} == {"hi": "you2", "dinner?": "you"}


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("turns",), (-1, 1.5, 21, "two", True, math.nan, math.inf, 10**400)),
        (("merge_minutes", "reply_minutes"), (1e308, math.nan, math.inf, 10**400)),
        (("min_characters", "max_characters"), (math.nan, -(10**400), None)),
    ],
    ids=["turns", "minutes", "characters"],
)
def test_numbers_that_cannot_be_meant(names, values):
    for name in names:
        for value in (*values, 10**5000):  # which Python does not write out
            with pytest.raises(PersonaError, match=f"{name.upper()} = .* cannot be used"):
                Pairing(ME, **{name: value})


def test_the_largest_minutes_take_everything():
    rows = talk((0, "you", "q0"), (99_999, "me", "a0"), (200_000, "you", "q1"), (900_000, "me", "a1"))
    assert len(histories(rows, reply_minutes=MOST)) == 2
    assert len(list(turns(iter(rows), Pairing(ME, merge_minutes=MOST), Funnel()))) == 4


def test_history_is_no_longer_than_what_is_trained_on():
    on = [(2 + 6 * n, "me", f"and another thing {n}") for n in range(300)]
    rows = [(0, "you", "q0"), (1, "me", "a0"), *on, (1900, "you", "q1"), (1901, "me", "a1"), (1902, "you", "q2")]
    assert histories(talk(*rows, (1903, "me", "a2")), max_characters=100) == [[], [], ["q1", "a1"]]


def test_a_turn_without_an_end_is_left_out_in_one_go():
    started = time.process_time()
    rows, funnel = talk(*((n, "me", "on and on") for n in range(100_000))), Funnel()
    assert not list(pairs_of(iter([*talk((0, "you", "hm")), *rows]), Pairing(ME), funnel))
    assert funnel.dropped == {"over 500 characters": 1} and time.process_time() - started < 5  # a square took longer


def words(seed: int) -> str:
    """Some words that nobody else says."""
    return "".join(random.Random(seed).choices("猫犬鳥魚虫花木石水火山川空海森雨雪風月星本茶米麦豆塩糖酒油紙布糸", k=9))


def chat(tmp_path, n: int = 40):
    """Talks of five pairs, three minutes between them, a day apart; a number in each talk's first question."""
    rows = ["time,speaker,text"]
    for i in range(n):
        at = datetime(2024, 1, 1, 20) + timedelta(days=i // 5, minutes=3 * (i % 5))
        number = f" 090-1234-{i:04d}" if i % 5 == 0 else ""
        rows.append(f"{at},you,{words(i)}は田辺さんに？{number}")
        rows.append(f"{at + timedelta(minutes=1)},me,{words(100 + i)}かな")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def roles(pair) -> list[str]:
    return [message.role for message in pair.messages]


def test_rows_with_history_are_conversations_without_what_is_private(tmp_path):
    imported = import_chat(chat(tmp_path), "me", n_test=5, similar=0)
    rows = [*imported.pairs, *imported.test]
    assert [len(pair.messages) for pair in rows] == [2, 4, 6, 6, 6] * 8
    assert roles(rows[2]) == ["user", "assistant"] * 3 and len(imported.test) == 5
    assert rows[2].messages[2].content == rows[1].question and rows[2].messages[3].content == rows[1].answer
    assert "090-1234" not in "".join(m.content for pair in rows for m in pair.messages)
    assert imported.privacy.counts["phone"] == 8, "history is not counted again"
    short = import_chat(chat(tmp_path), "me", Pairing(frozenset(), turns=0), n_test=5, similar=0)
    assert [len(pair.messages) for pair in short.pairs] == [2] * 35


def test_what_is_left_out_stands_in_no_history(tmp_path):
    without = import_chat(chat(tmp_path), "me", n_test=4, similar=0, drop=["phone"])
    assert [len(pair.messages) for pair in without.pairs[:4]] == [2, 4, 6, 6]
    assert "000-0000" not in "".join(m.content for pair in without.pairs for m in pair.messages)
    # A test's history holds nothing that was trained on, nor a training row's what is nearly a test question.
    rows = [f"2024-01-01 {10 + i // 20}:{i % 20 * 3:02d},you,{words(i)}\n" for i in range(40)]
    rows[3] = rows[3].replace(words(3), words(38) + "？")
    answers = [row.replace(",you,", ",me,").replace(words(i), f"{i}番め") for i, row in enumerate(rows)]
    answers[3] = "2024-01-01 10:10,me,3番め\n"
    no_pause = "time,speaker,text\n" + "".join(q + a for q, a in zip(rows, answers, strict=True))
    path = tmp_path / "n.csv"
    path.write_text(no_pause, encoding="utf-8")
    imported = import_chat(path, "me", n_test=5, similar=0)
    trained = {m.content for pair in imported.pairs for m in pair.messages}
    tested = {m.content for pair in imported.test for m in pair.messages}
    assert not trained & tested and imported.funnel.dropped["nearly a test question"] == 1
    assert words(38) in tested and words(38) + "？" not in trained and len(imported.test[0].messages) == 2


# Names that nobody listed -------------------------------------------------------------------------------------------


def test_unlisted_names_are_offered_in_a_hundred_sentences():
    rows = [json.loads(line) for line in (ROOT / "data/privacy/names.jsonl").read_text(encoding="utf-8").splitlines()]
    found = wanted = 0
    for row in rows:
        offered = [row["text"][start:end] for start, end in likely_names(row["text"])]
        wanted += len(row["names"])
        found += sum(any(name in o or (o in name and len(o) > 1) for o in offered) for name in row["names"])
    assert len(rows) >= 100 and found / wanted >= 0.95


@pytest.mark.parametrize(
    "text",
    [
        "お母さんとお父さん",
        "みなさんおつかれさま",
        "たくさんの猫ちゃん",
        "I think so, On Monday",
        "今日もおつかれさま",
        "朝ちゃんと起きる、もうちゃんとして",
        "The end. Thanks!",
        "It is",
    ],
)
def test_what_everybody_says_is_no_name(text):
    assert not list(likely_names(text))


def test_a_likely_name_is_kept_until_the_file_says_otherwise(tmp_path):
    file = tmp_path / FILE
    imported = import_chat(chat(tmp_path), "me", n_test=5, similar=0, likely=file)
    assert imported.review.likely()[0] | {"in context": ""} == {
        "kind": KIND,
        "in context": "",
        "becomes": "a letter, if you say so",
        "times": 40,
    }
    assert "田辺さん" in imported.pairs[0].question
    assert write_likely(file, imported.review.seen) == 1 and oct(file.stat().st_mode)[-3:] == "600"
    file.write_text(file.read_text(encoding="utf-8").replace("keep\t田辺", "replace\t田辺"), encoding="utf-8")
    again = import_chat(chat(tmp_path), "me", n_test=5, similar=0, likely=file)
    assert "Aさん" in again.pairs[0].question or "Bさん" in again.pairs[0].question
    assert not again.review.likely() and write_likely(file, again.review.seen) == 0
    assert read_likely(file) == {"田辺": "replace"}, "what was decided stays"
    file.write_bytes("keep\t田辺\n".encode("cp932"))
    for path in (file, tmp_path):
        with pytest.raises(PersonaError, match="the file cannot be read"):
            read_likely(path)
    file.write_text("delete\t田辺\n", encoding="utf-8")
    with pytest.raises(PersonaError, match=r"likely_names\.txt, line 1: the line is no decision"):
        read_likely(file)


def test_a_likely_name_can_be_replaced_in_the_review(tmp_path):
    choices = tmp_path / CHOICES
    review = import_chat(chat(tmp_path), "me", n_test=5, similar=0, choices=choices).review
    seen = next(s for s in review.seen if s.kind == KIND)
    review.save(choices, dict.fromkeys(seen.places, "replace"))
    assert "田辺" not in choices.read_text(encoding="utf-8")
    again = import_chat(chat(tmp_path), "me", n_test=5, similar=0, choices=choices)
    assert "田辺" not in "".join(m.content for pair in [*again.pairs, *again.test] for m in pair.messages)
    review.save(choices, dict.fromkeys(seen.places, "drop"))
    with pytest.raises(PersonaError, match="40 left out in the review"):
        import_chat(chat(tmp_path), "me", n_test=5, similar=0, choices=choices)


@pytest.mark.parametrize(
    ("name", "text", "clean"),
    [
        ("林", "小林さん来る？林さんは？", "小林さん来る？Aさんは？"),
        ("山田", "小山田さんと山田さん", "小山田さんとAさん"),
        ("山田", "今日山田さんが。東京で山田に", "今日Aさんが。東京でAに"),
    ],
)
def test_a_name_is_no_part_of_a_longer_one(name, text, clean):
    assert Privacy([name]).clean(text) == clean
