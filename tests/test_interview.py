"""The interview: nothing lost or doubled whatever happens, the form, hints, and going back."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from conftest import ROOT

from persona_ft.conversation import Conversation
from persona_ft.data.bank import is_test, read_bank, words
from persona_ft.data.interview import Interview, interview_form
from persona_ft.data.split import near_duplicates
from persona_ft.errors import PersonaError


def questions(n: int = 6) -> list[Conversation]:
    return [Conversation.pair(f"question {i}？", "…", category="ab"[i % 2]) for i in range(n)]


def test_the_bank_has_100_questions_that_are_not_the_tests(masaki):
    for language in ("ja", "en"):
        bank = [q for q in read_bank(language) if not is_test(q)]
        assert len(bank) == 100 and len({q.question for q in bank}) == 100
        tests = [q.question for q in read_bank(language) if is_test(q)]
        assert len(tests) == 30 and not near_duplicates([q.question for q in bank], tests, 70)
    bank = [q for q in read_bank("ja") if not is_test(q)]
    assert min(Counter(q.category for q in bank).values()) >= 5
    assert not near_duplicates([q.question for q in bank], [t.question for t in masaki.test], 70)
    assert not near_duplicates([q.question for q in bank], threshold=75)


def test_a_broken_bank_names_the_line(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"id": "1", "category": "a", "ja": "b", "en": "c"}\n{"id": "2"}\n')
    with pytest.raises(PersonaError, match=r"q\.jsonl, line 2"):
        read_bank("ja", tmp_path / "q.jsonl")


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_killed_at_twenty_random_moments_nothing_is_lost_or_doubled(tmp_path):
    """A process at a pseudo-terminal answers in a hurry and is killed with SIGKILL; what was confirmed is on disk."""
    draw, path = random.Random(0), tmp_path / "interview.jsonl"
    child = (
        "import sys; from persona_ft.data.bank import read_bank; from persona_ft.data.interview import Interview\n"
        "talk = Interview(read_bank(), sys.argv[1])\n"
        "while question := talk.current():\n"
        "    talk.answer(f'answer to {question.id} with some length')\n"
        "    print(question.question, flush=True)\n"
    )
    confirmed: list[str] = []
    for kill in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", child, str(path)], stdout=subprocess.PIPE, text=True, env=os.environ, cwd=ROOT
        )
        for _ in range(draw.randint(1, 6)):
            line = process.stdout.readline().strip()
            if line:
                confirmed.append(line)
        time.sleep(draw.uniform(0, 0.004))
        process.send_signal(signal.SIGKILL)
        confirmed += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait()
        if kill % 5 == 4 and path.exists():  # a crash in the middle of a line
            with path.open("a", encoding="utf-8") as file:
                file.write('{"messages": [{"ro')
    talk = Interview(read_bank(), path)
    lines = [json.loads(line)["messages"][0]["content"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(set(lines)), "a question was asked twice"
    assert set(confirmed) <= set(lines) and len(lines) <= len(confirmed) + 20
    assert [pair.question for pair in talk.pairs()] == lines == [q.question for q in read_bank()][: len(lines)]


def test_back_edit_skip_and_something_else(tmp_path):
    talk = Interview(questions(), tmp_path / "i.jsonl", "en")
    talk.answer("a first long answer")
    talk.skip()
    assert talk.current().question == "question 2？"
    talk.answer("a second long answer")
    talk.back()
    assert talk.editing.answer == "a second long answer"
    talk.back()
    assert talk.editing.answer == "a first long answer"
    talk.answer("the first one, changed")
    assert {p.question: p.answer for p in talk.pairs()} == {
        "question 0？": "the first one, changed",
        "question 2？": "a second long answer",
    }
    assert len((tmp_path / "i.jsonl").read_text().splitlines()) == 3, "the old answer stays in the file"
    category = talk.current().category
    talk.something_else()
    assert talk.current().category != category
    assert talk.progress().startswith("2/6 · left: ")
    again = Interview(questions(), tmp_path / "i.jsonl")
    assert again.current().question == "question 1？", "a skipped question comes back another day"


def test_a_very_short_answer_is_followed_up_once(tmp_path):
    talk = Interview(questions(), tmp_path / "i.jsonl", "en")
    talk.answer("tea")
    assert talk.current().question.startswith("question 0？\ntea\n")
    talk.answer("ok")
    assert talk.current().question == "question 1？"
    assert len(talk.pairs()) == 2


def test_a_follow_up_of_an_answer_that_was_changed_is_left_out(tmp_path):
    talk = Interview(questions(), tmp_path / "i.jsonl", "en")
    talk.answer("ok")
    talk.answer("because it rains")
    assert len(talk.pairs()) == 2
    talk.back()
    talk.back()
    talk.answer("all fine over here, thank you")
    assert [pair.answer for pair in talk.pairs()] == ["all fine over here, thank you"]
    assert len((tmp_path / "i.jsonl").read_text().splitlines()) == 3, "it stays in the file"
    assert (tmp_path / "i.jsonl").stat().st_mode & 0o077 == 0


def test_a_model_asks_back_and_the_interview_goes_on_without_it(tmp_path):
    asked = []

    def model(prompts):
        asked.extend(prompts)
        replies = ["「どんな味？」", "too\nmany\nlines", "x" * 200]
        if len(asked) > len(replies):
            raise PersonaError("the model at http://x does not answer", "do without")
        return [replies[len(asked) - 1]]

    talk = Interview(questions(), tmp_path / "i.jsonl", "ja", model)
    back = []
    for text in ("お茶", "うん", "だよ", "いや"):
        talk.answer(text)
        back.append(talk.current().question.rsplit("\n", 1)[-1])
        talk.skip()
    assert back[0] == "どんな味？" and set(back[1:]) <= set(words("ja")["follow_ups"])
    assert "question 0？" in asked[0][-1]["content"] and "お茶" in asked[0][-1]["content"]
    assert talk.ask is None and "does not answer" in talk.trouble
    assert [pair.answer for pair in talk.pairs()] == ["お茶", "うん", "だよ", "いや"]


def test_hints(tmp_path):
    talk = Interview(questions(9), tmp_path / "i.jsonl", "en")
    for text in (
        "それいいじゃんw",
        "ねむいから寝るよ〜",
        "まあ、そんな感じだよ",
        "ラーメン食べたいなあ",
        "わかる、それだよね",
    ):
        talk.answer(text)
    assert "formal" in talk.hint("はい、私はそのように考えております。")
    assert "characters" in talk.hint("とても長い" * 30) and "tone" in talk.hint("はい")
    assert talk.hint("いいね〜、行こうよ！") == talk.hint("") == ""


def test_the_form_keeps_every_answer_and_warns_once(tmp_path):
    talk = Interview(questions(3), tmp_path / "i.jsonl", "en")
    form = interview_form(talk)
    text, buttons = form.children[2], form.children[4].children
    text.value = "はい"
    buttons[0].click()
    assert not talk.pairs() and "tone" in form.children[3].value
    buttons[0].click()
    assert [p.answer for p in talk.pairs()] == ["はい"]
    buttons[1].click()  # the follow-up is left out
    text.value = "<b>a whole answer</b>"
    buttons[0].click()
    assert talk.pairs()[-1].answer == "<b>a whole answer</b>" and form.children[0].value.startswith("2/3")
    buttons[2].click()
    assert text.value == "<b>a whole answer</b>"


def test_half_a_character_in_the_form_is_told_and_the_rest_stays(tmp_path):
    path = tmp_path / "a.jsonl"
    _, _, text, hint, buttons = interview_form(Interview(questions(), path)).children
    text.value = "an answer with \ud83d in it"
    buttons.children[0].click()
    assert "half a character" in hint.value and text.value and not path.exists()
    text.value = "an answer without it"
    buttons.children[0].click()
    assert "an answer without it" in path.read_text(encoding="utf-8") and not hint.value


def test_the_terminal_form(tmp_path):
    command = [sys.executable, "-m", "persona_ft.data.interview", "--run", str(tmp_path / "run"), "--language", "en"]
    said = "all fine over here thanks\n\ne\nsomething quite different\nb\nall fine, changed\nQuit\n"
    done = subprocess.run(command, input=said, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "2/100" in done.stdout
    answers = [p.answer for p in Interview(read_bank("en"), tmp_path / "run/interview.jsonl").pairs()]
    assert answers == ["all fine over here thanks", "all fine, changed"]


def test_a_test_question_is_not_followed_up(tmp_path):
    """What is asked back quotes the question before it: in training it would tell what the test asks."""
    tests = [question for question in read_bank("en") if is_test(question)]
    talk = Interview(tests, tmp_path / "i.jsonl", "en")
    talk.answer("yes")
    assert talk.current().question == tests[1].question
