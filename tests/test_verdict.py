"""Nonsense cannot win: impostors, sense, the headline, and malformed votes, replies and comparisons."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from conftest import ROOT
from test_evaluation import compared, polite, references

from persona_ft.chat.importing import import_chat
from persona_ft.conversation import Conversation, read_jsonl, write_jsonl
from persona_ft.errors import PersonaError
from persona_ft.evaluate.conditions import condition_messages, conditions, stated_facts
from persona_ft.evaluate.impostors import read_voices
from persona_ft.evaluate.schema import PROBLEMS
from persona_ft.evaluate.sense import SenseScale, defect, information
from persona_ft.evaluate.statistics import together
from persona_ft.evaluate.style import StyleClassifier
from persona_ft.evaluate.summary import phrases, verdict
from persona_ft.gpt_oss.ask import endpoint
from persona_ft.report.blind import BlindTest, read_votes
from persona_ft.report.page import write_report
from persona_ft.report.store import read_comparison, write_comparison
from persona_ft.report.tables import picked, side_by_side


def test_the_voices_answered_the_same_questions_and_are_nobody_twice():
    japanese, english = read_voices("ja"), read_voices("en")
    assert len(japanese) >= 8 and {len(answers) for answers in japanese.values()} == {60}
    assert len(english) >= 3 and not read_voices("tlh")
    every = [text for voices in (japanese, english) for answers in voices.values() for text in answers]
    assert len(set(every)) >= 0.99 * len(every)


def test_a_voice_that_nobody_has_heard_is_seldom_taken_for_the_person():
    """Two people in turn are the person, with 30 training answers; one in turn is the impostor nobody has heard."""
    voices = read_voices("ja")
    own, foreign = [], []
    for person, unheard in (("mio", "sho"), ("riku", "take")):
        heard = {name: texts[:30] for name, texts in voices.items() if name not in (person, unheard)}
        style = StyleClassifier(voices[person][30:], [], heard)
        own.append((style.probabilities(voices[person][:30]) > 0.5).mean())
        foreign.append((style.probabilities(voices[unheard][:30]) > 0.5).mean())
    assert np.mean(own) >= 0.7 and np.mean(foreign) <= 0.2, (own, foreign)


def test_the_other_people_of_a_chat_are_heard_too(tmp_path, capsys):
    """Hina's chat with Kurata, and with somebody who wrote four messages: what Kurata writes elsewhere is not taken for
    Hina's afterwards, what Hina writes still is, and the run folder's own file is enough to know who asked."""
    voices, rows = read_voices("ja"), []
    for day, (message, answer) in enumerate(zip(voices["kurata"][30:], voices["hina"][30:], strict=True)):
        asks = "倉田" if day >= 4 else "客"
        for hour, speaker, text in ((9, asks, message), (9.1, "ひな", answer)):
            at = datetime(2026, 1, 1) + timedelta(days=day, hours=hour)
            rows.append(json.dumps({"time": at.isoformat(), "speaker": speaker, "text": text}))
    (tmp_path / "chat.jsonl").write_text("\n".join(rows), encoding="utf-8")
    pairs = read_jsonl(
        write_jsonl(tmp_path / "train.jsonl", import_chat(tmp_path / "chat.jsonl", "ひな", n_test=0).pairs)
    )
    assert "倉田" not in (tmp_path / "train.jsonl").read_text(encoding="utf-8")
    heard = read_voices("ja", pairs)
    assert "other people of the chat who are heard too: 1 of 2" in capsys.readouterr().out
    (chat,) = heard.keys() - voices.keys()
    assert set(heard[chat]) == {pair.question for pair in pairs[4:]} and len(pairs) == 30
    passes = {}
    for with_chat in (False, True):
        others = {name: texts[30:] for name, texts in voices.items() if name not in ("hina", "kurata")}
        style = StyleClassifier(
            [pair.answer for pair in pairs], [], others | ({chat: heard[chat]} if with_chat else {})
        )
        passes[with_chat] = [(style.probabilities(voices[name][:30]) > 0.5).mean() for name in ("hina", "kurata")]
    assert passes[True][0] >= 0.9 and passes[True][1] <= passes[False][1] / 2, passes


def test_few_messages_and_an_interview_add_nobody(masaki, capsys):
    assert read_voices("ja", masaki.train) == read_voices("ja") and not capsys.readouterr().out
    asked = [Conversation.pair(f"質問{n}", "答え", asker=1) for n in range(100)]
    assert read_voices("ja", asked[:19]) == read_voices("ja")
    assert [len(texts) for texts in read_voices("tlh", asked).values()] == [60], "no one person sets the threshold"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("やったー！やったー！", None),
        ("草wwwwwwww", None),
        ("ねむいねむいねむいねむいねむい", "repeats itself"),
        ("、" * 40, "repeats itself"),
        ("ラー\ufffd\ufffdメン", "broken characters"),
    ],
)
def test_loops_and_broken_characters_are_no_answers(masaki, text, kind):
    assert defect(text) == kind and (kind is None or kind in PROBLEMS)
    comparison = compared(masaki, polite(masaki), [text] * 30)
    answers = comparison.condition("tuned + prompt")
    assert {answer.problem for answer in answers.answers} == {kind}
    if kind:
        assert answers.scores["headline"] == [0.0] * 30 and f"30 {kind}" in comparison.verdict[0]


def test_the_headline_wants_both(masaki):
    """The person's tone without sense fails, sense without the tone fails, and both together pass."""
    nonsense = compared(masaki, polite(masaki), references(masaki), sense=-1.0)
    assert nonsense.summary["tuned + prompt"]["style"].value >= 0.9
    assert nonsense.summary["tuned + prompt"]["headline"].value == 0
    assert not any(change.good for change in nonsense.changes), "an answer to another question is no gain in tone"
    person = compared(masaki, polite(masaki), references(masaki))
    assert person.summary["tuned + prompt"]["headline"].value >= 0.9
    assert person.summary["base + prompt"]["headline"].value <= 0.1


def test_the_verdict_is_plain_and_in_two_languages(masaki, tmp_path):
    comparison = compared(masaki, polite(masaki), references(masaki))
    first, second = comparison.verdict[:2]
    assert "[" not in first and "Of 30 answers of the tuned model" in first
    assert second.count("[") == 1 and "better than base + prompt" in second
    assert verdict(comparison, "ja")[0].startswith("30問のうち") and phrases("fr") == phrases("en")
    page = write_report(tmp_path / "report.html", comparison, {}, "ja").read_text()
    assert '<html lang="ja">' in page and page.index("うまくいった3問") < page.index("30問のうち") < page.index("★")


def test_good_and_bad_examples_are_picked_by_rule(masaki):
    texts: list = references(masaki)
    texts[3], texts[5] = None, polite(masaki)[5]
    comparison = compared(masaki, polite(masaki), texts)
    good, bad = picked(comparison)
    assert len(good) == 3 and bad[0] == 3 and not set(good) & set(bad) and 5 in bad
    row = side_by_side(comparison, good)[0]
    assert row["nearest training answer"] in {pair.answer for pair in masaki.train}


def test_no_interval_says_something_else_than_its_p():
    draw = np.random.default_rng(0)
    found = {k: (draw.normal(k / 8, 1, 30), draw.normal(0, 1, 30)) for k in range(8)}
    for difference in together(found).values():
        outside = difference.low > 0 or difference.high < 0
        assert outside == (difference.p_adjusted < 0.05)


def test_facts_stand_in_the_prompt_of_two_more_conditions(masaki):
    facts = stated_facts(masaki.profile)
    *_, base, tuned = conditions(facts=True)
    assert (base.name, tuned.name, base.tuned, tuned.tuned) == ("base + facts", "tuned + facts", False, True)
    prompt = condition_messages(base, masaki.test[0], "prompt", None, facts)[0]["content"]
    assert "横浜" in prompt and "キーボード" not in prompt, "what nobody states stays out"
    assert condition_messages(conditions()[1], masaki.test[0], "prompt", None, facts)[0]["content"] == "prompt"


def test_information_is_the_same_whatever_stands_beside(masaki, loaded, tokenizer):
    questions, answers = [i.question for i in masaki.test[:4]], [*references(masaki)[:3], ""]
    together_ = information(loaded, tokenizer, questions, answers, questions)
    assert np.isnan(together_[3]) and np.isfinite(together_[:3]).all()
    again = information(loaded, tokenizer, questions * 2, answers * 2, questions, batch_size=3)
    assert again.shape == (8,) and again[0] == pytest.approx(together_[0], abs=0.05)
    scale = SenseScale.of(loaded, tokenizer, masaki.train[:6])
    assert 0 <= scale.own <= 1 and np.isfinite(scale.threshold)


@pytest.mark.parametrize(
    "line",
    [
        '{"id": {"x": 1}, "vote": "A"}',
        '{"id": ["x"], "vote": "A"}',
        '{"id": "T1", "vote": ["A"]}',
        '["T1", "A"]',
        "7",
        '{"id": "T1"}',
        "[" * 100_000 + "\n{}",
    ],
)
def test_a_friends_votes_of_any_content_are_told(tmp_path, line):
    BlindTest(tmp_path, ("base", "tuned"), [("T1", "q", "a", "b")])
    (tmp_path / "friend.jsonl").write_text(line + "\n")
    with pytest.raises(PersonaError, match="line 1"):
        read_votes(tmp_path / "friend.jsonl")


class Malformed(BaseHTTPRequestHandler):
    """Answers with whatever its server holds, once a request."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, kind, body = self.server.reply
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status == 307:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.server.asked.append(self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body == b"wait":
            time.sleep(3)
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server():
    found = ThreadingHTTPServer(("127.0.0.1", 0), Malformed)
    found.daemon_threads, found.asked = True, []
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.mark.parametrize(
    "body",
    [
        *("", "null", "[]", "{}", '"A"', "{", "[" * 20_000),
        *('{"choices": null}', '{"choices": []}', '{"choices": [null]}', '{"choices": 7}'),
        *(json.dumps({"choices": [{"message": m}]}) for m in (None, {}, "A", {"content": None}, {"content": ["A"]})),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_a_malformed_reply_is_told_and_empty(server, capsys, body, kind):
    server.reply = (200, kind, body.encode())
    ask = endpoint(f"http://127.0.0.1:{server.server_port}/v1", "m")
    assert ask([[{"role": "user", "content": "A?"}]]) == [""]
    assert "1 of 1 replies" in capsys.readouterr().out


def test_a_redirect_is_refused_and_a_deadline_ends_it(server):
    url = f"http://127.0.0.1:{server.server_port}/v1"
    server.reply = (307, "text/plain", b"")
    with pytest.raises(PersonaError, match="does not answer"):
        endpoint(url, "m")([[{"role": "user", "content": "private"}]])
    assert set(server.asked) == {"/v1/chat/completions"}, "the person's words went to another place"
    server.reply = (200, "application/json", b"wait")
    with pytest.raises(PersonaError, match=r"within 0\.5 seconds"):
        endpoint(url, "m", deadline=0.5)([[{"role": "user", "content": "A?"}]])


@pytest.mark.parametrize("damage", ["a condition less", "an answer less", "a score less", "an unknown score"])
def test_a_comparison_whose_parts_do_not_belong_together_is_refused(masaki, tmp_path, damage):
    path = write_comparison(tmp_path / "comparison.json", compared(masaki, polite(masaki), references(masaki)))
    fields = json.loads(path.read_text())
    if damage == "a condition less":
        fields["conditions"].pop()
    elif damage == "an answer less":
        fields["conditions"][0]["answers"].pop()
    elif damage == "a score less":
        del fields["summary"]["base + prompt"]["style"]
    else:
        fields["differences"][0]["score"] = "charm"
    path.write_text(json.dumps(fields))
    with pytest.raises(PersonaError, match="no comparison of this version"):
        read_comparison(path)


def test_the_labelled_answers_are_many_and_of_three_kinds():
    rows = [json.loads(line) for line in (ROOT / "data/sense/labels.jsonl").read_text(encoding="utf-8").splitlines()]
    kinds = {kind: [row["fits"] for row in rows if row["kind"] == kind] for kind in ("own", "shuffled", "near topic")}
    assert len(rows) >= 200 and min(map(len, kinds.values())) >= 60 and all(kinds["own"])
