"""The comparison on texts whose scores are known: statistics, facts, style, changes, verdict, judge, votes, report."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from persona_ft.conversation import FactAnnotation, read_jsonl
from persona_ft.data.persona import Persona, read_persona
from persona_ft.errors import PersonaError
from persona_ft.evaluate.conditions import SimilarPairs, condition_messages, conditions
from persona_ft.evaluate.facts import judge, says
from persona_ft.evaluate.judge import judged, pairwise, parse_vote
from persona_ft.evaluate.schema import HEADLINES, Comparison
from persona_ft.evaluate.scoring import Scorer, check_test, known_facts, questions_of
from persona_ft.evaluate.sense import SenseScale
from persona_ft.evaluate.statistics import holm, paired_difference, permutation_p, share, sign_test
from persona_ft.evaluate.style import StyleClassifier
from persona_ft.evaluate.stylometry import copied, learn_features, measure
from persona_ft.evaluate.summary import build_comparison, phrases, verdict
from persona_ft.figures.comparison import plot_marks
from persona_ft.gpt_oss.ask import endpoint
from persona_ft.gpt_oss.generate import AnswerStore, Completion, generate_completions, token_limit
from persona_ft.gpt_oss.harmony import FINAL, HarmonyMessage
from persona_ft.gpt_oss.score import log_likelihoods
from persona_ft.report.blind import BlindTest, blind_form, read_votes
from persona_ft.report.compare import SideBySide
from persona_ft.report.compare import main as compare_main
from persona_ft.report.page import write_report, write_tables
from persona_ft.report.store import read_comparison, write_comparison

POLITE = [
    "ご質問ありがとうございます。",
    "私はAIですので、お答えできません。",
    "お困りのようですね。まずはご確認ください。",
    "申し訳ありませんが、参加することができません。",
    "よろしければ、お話をお聞かせください。",
    "どちらにもよさがありますので、状況によります。",
    "初めての方には、文法がわかりやすいものをおすすめします。",
    "今日も一日お疲れさまでした。",
]


@pytest.fixture(scope="module", params=["masaki", "hana", "emma"])
def anyone(request) -> Persona:
    """まさき。, a florist from Osaka, and a gardener who writes English."""
    folder = ROOT / ("data" if request.param == "masaki" else "tests/personas") / request.param
    return read_persona(folder)


def said(text: str | None) -> Completion:
    """A completion with this final answer; None never reaches the final channel."""
    if text is None:
        return Completion(
            "<|channel|>analysis<|message|>hm", (HarmonyMessage("assistant", "analysis", "hm", False),), 3, False
        )
    return Completion(f"{FINAL}{text}<|return|>", (HarmonyMessage("assistant", "final", text, True),), 3, True)


def compared(
    persona: Persona, before: list, after: list, likelihoods: tuple[float, float] = (-5.0, -3.0), sense: float = 1.0
) -> Comparison:
    """A comparison of two conditions' texts; likelihoods and sense are the same for every question of a condition."""
    train, n = [pair.answer for pair in persona.train], len(persona.test)
    scorer = Scorer(persona, StyleClassifier(train, POLITE), questions_of(persona), SenseScale(0.5, 0.9))
    results = [
        scorer.condition(name, name, [scorer.score([said(t) for t in texts], [ll] * n, [sense] * n)])
        for name, texts, ll in (("base + prompt", before, likelihoods[0]), ("tuned + prompt", after, likelihoods[1]))
    ]
    return build_comparison(scorer, results, {"model": "none"}, [1.0] * n)


def polite(persona: Persona) -> list[str]:
    """A polite answer to each test question, none of them twice in a row."""
    return [POLITE[i % len(POLITE)] for i in range(len(persona.test))]


def references(persona: Persona) -> list[str]:
    return [item.answer for item in persona.test]


def test_intervals_and_tests_are_the_exact_ones():
    """0 of 30 allows 11.6 %, 21 of 30 is the first significant sign test, Holm multiplies by how many are left."""
    assert share(0, 30).high == pytest.approx(0.1157, abs=1e-4)
    assert sign_test(21, 9) < 0.05 < sign_test(20, 10)
    same = paired_difference([1.0, 2.0], [1.0, 2.0])
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    # Five differences of one sign: 2 of the 32 ways to flip them are as far from zero.
    assert permutation_p([1, 2, 3, 4, 5], [0] * 5) == pytest.approx(2 / 32)
    assert permutation_p([1, float("nan"), 0], [0, 1, 0]) == 1.0
    # All 30 go the same way: an exact interval, not one of no width.
    one_way = paired_difference([1.0] * 30, [0.0] * 30)
    assert (one_way.value, one_way.high) == (1, 1) and one_way.low == pytest.approx(share(30, 30).low)


@pytest.mark.parametrize(
    ("fact", "answer", "verdict"),
    [
        ("birth_month", "１月生まれ", "supported"),
        ("birth_month", "11月だよ！", "contradicted"),
        ("years", "15年くらい", "absent"),
        ("language_go", "Google大好き", "absent"),
        ("home", "東京じゃないよ、横浜だよ〜", "supported"),
        ("home", "横浜に住んでると思った？", "absent"),
        ("home", "友だちは横浜にいるよ", "absent"),
        ("food_ramen", "ラーメンは好きじゃないなあ", "contradicted"),
        ("food_ramen", "ラーメンしかないでしょ！", "supported"),
        ("dislike_coriander", "パクチー大好き！", "contradicted"),
        ("dislike_coriander", "パクチー食べられないんだよね", "supported"),
        ("book_ddd", "おすすめは「Effective Java」だよ！", "contradicted"),
        ("blood_type", "A型だよ", "supported"),
        ("blood_type", "ないしょ！", "absent"),
    ],
)
def test_facts_are_judged_by_rule(masaki, fact, answer, verdict):
    assert judge(answer, known_facts(masaki)[fact]).verdict == verdict


@pytest.mark.parametrize(
    "piece", ["横浜。", "横浜", "横浜じゃないけど、", "東京。横浜じゃないけど、", "横浜？", "友だち"]
)
def test_facts_are_judged_in_one_go(masaki, piece):
    started = time.process_time()
    judge(piece * (20_000 // len(piece)) + "横浜", known_facts(masaki)["home"])
    assert time.process_time() - started < 8  # a square took minutes


def test_the_fact_judge_errs_on_at_most_one_in_twenty_labelled_answers(masaki):
    facts = known_facts(masaki)
    rows = [json.loads(line) for line in (ROOT / "data/masaki/fact_labels.jsonl").read_text().splitlines()]
    assert len(rows) >= 100 and min(Counter(row["label"] for row in rows).values()) >= 50
    wrong = [row for row in rows if judge(row["answer"], facts[row["fact"]]).verdict != row["label"]]
    assert len(wrong) <= 0.05 * len(rows), wrong


def test_a_persons_own_answers_state_their_facts(anyone):
    questions, facts = questions_of(anyone), known_facts(anyone)
    marks = [(q, m) for q in questions for m in q.facts if m.stated == "train"]
    assert marks and all(judge(q.reference, facts[m.id]).verdict == "supported" for q, m in marks)


@pytest.mark.parametrize(
    ("text", "discloses"),
    [
        ("私はAIですので、誕生日はありません。", True),
        ("僕はAIだからわかんないw", True),
        ("I'm an AI assistant.", True),
        ("私はChatGPTです。", True),
        ("AIとしてお答えしています。", True),
        ("私は質問にお答えするAIアシスタントです。", True),
        ("うちのAIアシスタントがまた変なこと言ってるw", False),
        ("I'm a large language model.", True),
        ("僕はAIを壁打ち相手にしてるよ", False),
        ("AIに毎日お世話になってるw", False),
        ("生成AIは便利だよ！", False),
        ("僕はAIだけは苦手w", False),
        ("I'm an AI engineer, I love ramen", False),
    ],
)
def test_ai_disclosure(text, discloses):
    assert says("says AI", text) is discloses


@pytest.mark.parametrize(
    ("text", "any_kind", "formal"),
    [
        ("申し訳ありませんが、お貸しすることはできません。", True, True),
        ("I'm sorry, but I can't share that.", True, True),
        ("今日はパス！", True, False),
        ("それはむりw", True, False),
        ("いいよ！行こう", False, False),
    ],
)
def test_refusals(text, any_kind, formal):
    assert (says("refuses", text), says("refuses formally", text)) == (any_kind, formal)


def test_style_knows_the_person_from_the_base(anyone):
    train = [pair.answer for pair in anyone.train]
    style = StyleClassifier(train, POLITE)
    assert (style.probabilities(references(anyone)) > 0.5).mean() >= 0.9
    assert (style.probabilities(POLITE) > 0.5).mean() <= 0.2
    assert style.probabilities([""])[0] == 0
    assert np.isnan(StyleClassifier(train, []).probabilities(["はい"])).all()  # nothing to compare with, nothing stops


def test_habits_are_learnt_and_not_written_down(anyone):
    train = [pair.answer for pair in anyone.train]
    features = learn_features(train, POLITE)
    names = {feature.name for feature in features}
    values = measure(features, [*train[:3], ""])
    assert all(value.shape == (4,) and np.isfinite(value).all() for value in values.values())
    expected = {"まさき。": {"laughter", "mark ！", "says 僕"}, "はな": {"mark ！"}, "Emma": {"laughter"}}
    assert expected[anyone.profile.name] <= names
    japanese = measure(features, train)["Japanese"].mean()
    assert japanese < 0.1 if anyone.profile.name == "Emma" else japanese > 0.9


@pytest.mark.parametrize("piece", ["、", "w", "ｗ", "\n", " ", "_", "1", "#", "あ。"])
def test_habits_are_counted_in_one_go(piece):
    text, started = piece * (40_000 // len(piece)) + "x", time.process_time()
    measure(learn_features([text] * 2, ["はい。"]), [text])
    assert time.process_time() - started < 8


@pytest.mark.parametrize(
    ("text", "ending"),
    [("そうだ〜、", "うだ"), ("だ…?", ""), ("だ、よ_ｗ", "、よ"), ("、、", ""), ("行くよ(笑)", "くよ")],
)
def test_a_sentence_ends_before_its_marks_and_laughter(text, ending):
    found = [f.name for f in learn_features([text] * 2, []) if f.name.startswith("ends in")]
    assert found == [f"ends in -{ending}"] * bool(ending)


def test_copying_is_found():
    training = ["散歩とアニメが好き！", "ねむい、、、"]
    assert copied("僕は散歩とアニメが好きだよ", training).copied == "散歩とアニメが好き"
    assert copied("散歩とアニメが好き！！", training).near_duplicate
    assert not copied("アニメ見よう", training).near_duplicate and copied("", training).copied == ""


def test_the_same_answers_give_no_difference(anyone):
    """Nothing is called better or worse, whatever the score; the verdict says so."""
    comparison = compared(anyone, polite(anyone), polite(anyone), (-5.0, -5.0))
    assert all(d.p_adjusted == 1.0 and d.mean == 0 for d in comparison.differences)
    assert all(len(best) == 2 for best in comparison.best.values() if best)
    assert "not clearly different from base + prompt" in comparison.verdict[1]
    assert "better" not in " ".join(comparison.verdict) and "worse" not in " ".join(comparison.verdict)


def test_the_person_beats_the_polite_base_and_the_other_way_round_is_called_worse(masaki):
    comparison = compared(masaki, polite(masaki), references(masaki))
    found = {d.score: d for d in comparison.differences}
    for score in ("headline", "style", "log_likelihood", "facts_said"):
        assert found[score].p_adjusted < 0.05 and found[score].low > 0, score
    assert found["sense"].p_adjusted == 1.0
    assert "better than base + prompt" in comparison.verdict[1] and "[" not in comparison.verdict[0]
    stated = sum(mark.stated == "train" for item in masaki.test for mark in item.facts)
    assert comparison.facts["tuned + prompt"]["train"] == {"supported": stated, "contradicted": 0, "absent": 0}
    turned = compared(masaki, references(masaki), polite(masaki), (-3.0, -5.0))
    assert "worse than base + prompt" in turned.verdict[1]


def test_answers_that_never_came_are_counted(masaki):
    texts: list = polite(masaki)
    texts[0], texts[1] = None, ""
    comparison = compared(masaki, polite(masaki), texts)
    counts = comparison.counts["tuned + prompt"]
    assert (counts["no final channel"], counts["empty"], counts["cut off"]) == (1, 1, 0)
    assert len(comparison.condition("tuned + prompt").answers) == 30
    assert comparison.condition("tuned + prompt").scores["style"][:2] == [
        None,
        None,
    ]  # no answer is no style, not none of it
    style = next(d for d in comparison.differences if d.score == "style")
    assert style.n == 28 and "Missing" not in comparison.verdict[0]  # 28 of 30 are enough


def test_missing_answers_are_named_first_and_left_out_on_both_sides(masaki):
    """A base that thinks past the limit on 11 questions is no worse in style for that, and nobody can overlook it."""
    before: list = [None] * 11 + references(masaki)[11:]
    comparison = compared(masaki, before, references(masaki), (-5.0, -5.0))
    comparison.setup["max_new_tokens"] = 96
    assert "base + prompt gave 19 whole answers to 30 questions (11 no final channel)" in verdict(comparison)[0]
    found = {d.score: d for d in comparison.differences}
    assert (found["style"].n, found["style"].mean, found["style"].p_adjusted) == (19, 0, 1.0)
    assert (found["headline"].n, found["headline"].mean > 0) == (30, True)  # what never came has failed
    assert found["log_likelihood"].n == 30  # needs no answer


def test_nothing_stops_when_a_condition_never_answers(masaki, tmp_path, capsys):
    """The old limit of 96 tokens did that to a base that thinks, after everything had been asked."""
    train = [pair.answer for pair in masaki.train]
    scorer = Scorer(masaki, StyleClassifier(train, []), questions_of(masaki))
    texts = {"base + prompt": [None] * 30, "tuned + prompt": references(masaki)}
    results = [
        scorer.condition(name, name, [scorer.score([said(t) for t in answers], [-4.0] * 30)])
        for name, answers in texts.items()
    ]
    comparison = build_comparison(scorer, results, {"model": "none", "max_new_tokens": 96})
    assert comparison.verdict[0].startswith("Missing answers within 96 new tokens: base + prompt gave 0 whole answers")
    assert "of the untuned model's with the same prompt it is 0" in comparison.verdict[1]
    write_comparison(tmp_path / "comparison.json", comparison)
    assert read_comparison(tmp_path / "comparison.json") == comparison
    page = write_report(tmp_path / "report.html", comparison, {"marks": plot_marks(scorer.style)}).read_text()
    assert capsys.readouterr().out.startswith("Writes report.html. It holds your 30 test questions, your answers")
    assert page.index("What happened") < page.index("Missing answers") < page.index("Protocol: every condition")
    write_tables(tmp_path, comparison)


def test_a_cut_answer_says_how_much_more_it_wanted(masaki):
    cut = replace(
        said("途中"), messages=(HarmonyMessage("assistant", "final", "途中", False),), stopped=False, wanted=131
    )
    train = [pair.answer for pair in masaki.train]
    scorer = Scorer(masaki, StyleClassifier(train, POLITE), questions_of(masaki))
    answers = [cut] * 6 + [said(text) for text in references(masaki)[6:]]
    results = [
        scorer.condition(name, name, [scorer.score(answers, [-4.0] * 30)])
        for name in ("base + prompt", "tuned + prompt")
    ]
    comparison = build_comparison(scorer, results, {"max_new_tokens": 96})
    assert "(6 cut off)" in comparison.verdict[0] and "with room for 131 tokens 12 more" in comparison.verdict[0]
    assert results[0].whole_texts == references(masaki)[6:]


@pytest.mark.parametrize(
    ("think", "effort", "wanted", "limit"),
    [
        (False, "high", "auto", 96),
        (True, "low", "auto", 512),
        (True, "medium", "auto", 1024),
        (True, "high", "auto", 4096),
        (True, "low", 96, 96),
        (False, "low", "64", 64),
    ],
)
def test_the_limit_of_new_tokens_goes_with_the_protocol(think, effort, wanted, limit):
    assert token_limit(think, effort, wanted) == limit
    for wrong in (0, -1, 1.5, True, "many"):
        with pytest.raises(PersonaError, match="MAX_NEW_TOKENS"):
            token_limit(think, effort, wrong)


def test_changes_get_the_articles_kinds_with_their_evidence(masaki):
    at = {item.id: i for i, item in enumerate(masaki.test)}
    before, after = polite(masaki), references(masaki)
    before[at["Q22"]] = "申し訳ありませんが、お貸しすることはできません。"
    before[at["Q13"]] = "初めての方には、Pythonをおすすめします。"
    after[at["Q02"]] = "最近はゲーム開発にハマってるよw！"
    after[at["Q07"]] = "ラーメンは好きじゃないんだよねw！"
    after[at["Q11"]] = "僕はAIだから誕生月はないんだw！"
    after[at["Q12"]] = "おすすめは「Effective Java」だよ！"
    after[at["Q26"]] = "A型だよw！"
    after[at["Q01"]] = ""
    kinds = {change.id: change for change in compared(masaki, before, after).changes}
    assert {id: kinds[id].kind for id in ("Q01", "Q02", "Q07", "Q11", "Q12", "Q13", "Q22", "Q26")} == {
        "Q01": "no usable answer",
        "Q02": "invented facts",
        "Q07": "altered preference",
        "Q11": "AI disclosure",
        "Q12": "wrong domain",
        "Q13": "avoided hallucination",
        "Q22": "refusal tone",
        "Q26": "invented facts",
    }
    assert "ゲーム開発" in kinds["Q02"].evidence and "python" in kinds["Q13"].evidence
    assert [change.strength for change in kinds.values()] == sorted((c.strength for c in kinds.values()), reverse=True)


def test_similar_pairs_come_last_and_as_earlier_turns(masaki):
    similar = SimilarPairs(masaki.train)
    question = masaki.train[10].question
    assert similar.most_similar(question, 3)[-1].question == question
    condition = next(condition for condition in conditions(2) if condition.examples)
    messages = condition_messages(condition, masaki.test[0], "prompt", similar)
    assert [m["role"] for m in messages] == ["developer", "user", "assistant", "user", "assistant", "user"]
    bare = next(condition for condition in conditions() if condition.name == "tuned")
    assert [m["role"] for m in condition_messages(bare, masaki.test[0], "prompt", similar)] == ["user"]


def test_order_batch_and_padding_change_nothing(masaki, loaded, tokenizer):
    """Greedy answers and likelihoods of 12 questions, forwards in one batch and backwards in batches of 5."""
    from persona_ft.gpt_oss.harmony import render_prompt

    prompts = [render_prompt(tokenizer, item.prompt, "low") for item in masaki.test[:12]]
    answers = [f"{FINAL}{item.answer}<|return|>" for item in masaki.test[:12]]
    one = generate_completions(loaded, tokenizer, prompts, 24, batch_size=12)
    other = generate_completions(loaded, tokenizer, prompts[::-1], 24, batch_size=5)[::-1]
    assert [c.text for c in one] == [c.text for c in other]
    first = log_likelihoods(loaded, tokenizer, prompts, answers, 12)[0]
    second = log_likelihoods(loaded, tokenizer, prompts[::-1], answers[::-1], 5)[0][::-1]
    assert first == pytest.approx(second, abs=0.05 * 20)


def test_running_out_of_memory_asks_in_smaller_batches(masaki, loaded, tokenizer, monkeypatch):
    """A card that holds three rows: the answers are the same, in the same order; one that holds none is an error."""
    import torch

    from persona_ft.gpt_oss.harmony import render_prompt

    prompts = [render_prompt(tokenizer, item.prompt, "low") for item in masaki.test[:8]]
    wanted = generate_completions(loaded, tokenizer, prompts, 12, batch_size=8)
    generate, room = loaded.generate, 3

    def small_card(input_ids, **named):
        if len(input_ids) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(input_ids=input_ids, **named)

    monkeypatch.setattr(loaded, "generate", small_card)
    assert [c.text for c in generate_completions(loaded, tokenizer, prompts, 12, batch_size=8)] == [
        c.text for c in wanted
    ]
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        generate_completions(loaded, tokenizer, prompts, 12, batch_size=8)


def test_answers_are_kept_and_asked_again_when_anything_changed(tmp_path):
    asked = []

    def ask(prompts):
        asked.append(prompts)
        return [said(prompt.upper()) for prompt in prompts]

    store = AnswerStore(tmp_path, {"seed": 1})
    assert store.get_or_ask("base + prompt", ["a", "b"], ask) == store.get_or_ask("base + prompt", ["a", "b"], ask)
    assert len(asked) == 1
    AnswerStore(tmp_path, {"seed": 2}).get_or_ask("base + prompt", ["a", "b"], ask)
    store.get_or_ask("base + prompt", ["a", "c"], ask)
    assert len(asked) == 3
    next(tmp_path.glob("*.json")).write_text("{")
    assert [c.answer for c in store.get_or_ask("base + prompt", ["a"], ask)] == ["A"]


@pytest.fixture
def blind(tmp_path) -> BlindTest:
    rows = [(f"T{i}", f"question {i}", f"first {i}", f"second {i}") for i in range(8)]
    return BlindTest(tmp_path, ("base", "tuned"), rows, seed=3)


def vote_for(blind: BlindTest, condition: str, n: int) -> None:
    for _ in range(n):
        pair = blind.next()
        blind.vote(pair.id, "A" if pair.A.startswith(condition) else "B")


def test_votes_are_blind_kept_and_undone(blind, tmp_path):
    assert len(set(blind.swapped.values())) == 2
    vote_for(blind, "second", 3)
    vote_for(blind, "first", 1)
    again = BlindTest(
        tmp_path,
        ("base", "tuned"),
        [(p.id, *_unswapped(blind, p)) for p in sorted(blind.pairs, key=lambda p: p.id)],
        seed=3,
    )
    assert again.votes() == blind.votes() and again.next() == blind.next()
    undone = again.undo()
    assert undone.id not in again.votes() and again.next() == undone
    with (tmp_path / "blind_votes.jsonl").open("a") as file:
        file.write('{"id": "T1", "vo')
    rows = [(p.id, *_unswapped(blind, p)) for p in sorted(blind.pairs, key=lambda p: p.id)]
    after_crash = BlindTest(tmp_path, again.conditions, rows, seed=3)
    asked = after_crash.next()
    after_crash.vote(asked.id, "same")
    assert after_crash.votes() == again.votes() == blind.votes() and blind.votes()[asked.id] == "same"
    assert after_crash.undo() == asked
    tally = again.tally()
    assert (tally.first, tally.second, tally.same) == (0, 3, 0) and tally.p == pytest.approx(0.25)
    sheet = again.sheet
    other = BlindTest(tmp_path, ("base", "tuned"), [("T0", "q", "a", "b")])
    assert not other.votes() and (tmp_path / "blind_votes-1.jsonl").exists(), "old votes are kept, and not counted"
    (tmp_path / "friend.jsonl").write_text(json.dumps({"id": "T0", "vote": "A", "sheet": sheet}) + "\n")
    with pytest.raises(PersonaError, match="other answers"):
        read_votes(tmp_path / "friend.jsonl", other.sheet)
    (tmp_path / "blind_key.json").write_text("{")
    BlindTest(tmp_path, ("base", "tuned"), [("T0", "q", "a", "b")])


def _unswapped(blind: BlindTest, pair) -> tuple[str, str, str]:
    return (pair.question, pair.B, pair.A) if blind.swapped[pair.id] else (pair.question, pair.A, pair.B)


def test_the_form_takes_buttons_letters_and_undo(blind):
    form = blind_form(blind)
    a, _, same, undo = form.children[4].children
    field = form.children[5]
    a.click()
    same.click()
    field.value = "b"
    assert [v for v in blind.votes().values()] == ["A", "same", "B"] and field.value == ""
    undo.click()
    field.value = "u"
    assert len(blind.votes()) == 1 and form.children[0].value.startswith("1 of 8")


def test_a_friends_votes_are_read_and_wrong_ones_named(blind, tmp_path):
    votes = tmp_path / "from a friend.jsonl"
    votes.write_text('{"id": "T1", "vote": "A"}\n{"id": "T2", "vote": "same"}\n{"id": "T1", "vote": null}\n')
    assert read_votes(votes) == {"T2": "same"} and blind.tally(read_votes(votes)).same == 1
    votes.write_text('{"id": "T1", "vote": "C"}\n')
    with pytest.raises(PersonaError, match="line 1"):
        read_votes(votes)
    votes.write_text('{"id": "X9", "vote": "A"}\n')
    with pytest.raises(PersonaError, match="X9"):
        blind.tally(read_votes(votes))


def test_a_judge_that_goes_by_the_order_has_said_nothing():
    def first_is_best(prompts):
        return ["A"] * len(prompts)

    def longer_is_best(prompts):
        texts = [p[-1]["content"].split("\n\nA:\n")[1].split("\n\nB:\n") for p in prompts]
        return ["A" if len(a) >= len(b) else "B" for a, b in texts]

    questions, short, long = ["q"] * 6, ["a"] * 6, ["aaa"] * 6
    assert pairwise(first_is_best, ["s"], questions, short, long)["ties"] == 6
    verdict = judged(longer_is_best, ["s"], questions, short, long, (long, long))
    assert (verdict["first"], verdict["second"], verdict["ties"]) == (0, 6, 0)
    assert (verdict["order_agreement"], verdict["a_a_ties"]) == (1.0, 1.0) and verdict["p"] < 0.05
    mute = pairwise(lambda prompts: [""] * len(prompts), ["s"], questions, short, long)
    assert (mute["unanswered"], mute["ties"], mute["p"]) == (6, 0, 1.0)  # no vote is not a tie
    assert [parse_vote(t) for t in ("B", "Answer: A.", "A or B", "", "Banana")] == ["B", "A", None, None, None]


class Endpoint(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that always says B, and refuses one key."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        wrong = self.headers["Authorization"] == "Bearer secret-wrong"
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": []}
        message = {"role": "assistant", "content": "B"}
        reply["choices"].append({"index": 0, "finish_reason": "stop", "message": message})
        raw = json.dumps({"error": {"message": "no"}} if wrong else reply).encode()
        self.send_response(401 if wrong else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_) -> None:
        pass


def test_a_judge_behind_an_endpoint(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        assert pairwise(endpoint(url, "m"), ["s"], ["q"], ["a"], ["b"])["ties"] == 1
        monkeypatch.setenv("OPENAI_API_KEY", "secret-wrong")
        with pytest.raises(PersonaError) as refused:
            endpoint(url, "m")([[{"role": "user", "content": "private"}]])
        assert "secret" not in str(refused.value) and "private" not in str(refused.value)
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(PersonaError, match="wants a key"):
            endpoint("https://example.org/v1", "m")
    finally:
        server.shutdown()
        server.server_close()


EVIL = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


@pytest.fixture
def evil_comparison(masaki) -> Comparison:
    """Script wherever a person or a model may write."""
    profile = masaki.profile.model_copy(update={"name": f"{EVIL}name"})
    test = [
        item.model_copy(
            update={
                "messages": [m.model_copy(update={"content": f"{EVIL}{m.content}"}) for m in item.messages],
                "category": "javascript:document.title='run'",
            }
        )
        for item in masaki.test
    ]
    persona = Persona(masaki.folder, profile, masaki.train, test)
    comparison = compared(persona, [EVIL] * 30, [f"javascript:document.title='run' {EVIL}"] * 30)
    comparison.setup["model"] = EVIL
    return comparison


def test_no_script_of_an_answer_is_in_a_page(evil_comparison, tmp_path, capsys):
    page = write_report(tmp_path / "report.html", evil_comparison, {}).read_text()
    rows = [(q.id, q.question, EVIL, EVIL) for q in evil_comparison.questions]
    sheet = BlindTest(tmp_path, ("a", "b"), rows).export(EVIL).read_text()
    assert "Writes blind_sheet.html. It holds your 30 test questions" in capsys.readouterr().out
    for html in (page, sheet):
        assert html.count("<script>") == 1 and "<img" not in html and "script-src 'sha256-" in html
        assert "&lt;script&gt;document.title" in html


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine")
def test_a_real_browser_runs_the_pages_script_and_no_other(evil_comparison, tmp_path):
    report = write_report(tmp_path / "report.html", evil_comparison, {})
    rows = [(q.id, q.question, EVIL, EVIL) for q in evil_comparison.questions]
    sheet = BlindTest(tmp_path, ("a", "b"), rows).export(EVIL)
    for page, own in ((report, ">30 / 30<"), (sheet, ">0 / 30<")):
        browser = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
        command = [*browser, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        assert own in shown, "the page's own script did not run"
        assert "<title>run</title>" not in shown and "<img" not in shown.split("</style>")[1]


def test_comparison_and_tables_are_written_and_read_back(masaki, tmp_path):
    texts = references(masaki)
    texts[0] = "=1+1"
    comparison = compared(masaki, polite(masaki), texts)
    write_comparison(tmp_path / "comparison.json", comparison)
    assert read_comparison(tmp_path / "comparison.json") == comparison
    csv, markdown = write_tables(tmp_path, comparison)
    import pandas as pd

    frame = pd.read_csv(csv)
    assert len(frame) == 60 and "'=1+1" in set(frame["text"]), "a spreadsheet would run the text as a formula"
    assert all(score.label in markdown.read_text() for score in HEADLINES)
    (tmp_path / "comparison.json").write_text('{"setup": {}}')
    with pytest.raises(PersonaError, match="run notebook 04_compare again"):
        read_comparison(tmp_path / "comparison.json")


@pytest.fixture
def two_runs(masaki, tmp_path) -> dict[str, Path]:
    """Two run folders as notebook 04 leaves them: a's tuned model is as polite as its base, b's answers as the person
    does. What b's own rulers said of its answers is nonsense."""
    folders = {name: tmp_path / name for name in "ab"}
    for (name, folder), texts in zip(folders.items(), (polite(masaki), references(masaki)), strict=True):
        shutil.copytree(masaki.folder, folder)
        run = compared(masaki, polite(masaki), texts)
        run.setup["LoRA"] = name
        write_comparison(folder / "comparison.json", run)
        for base in ("base", "base + prompt"):
            kept = [said(text) for text in (*POLITE, None)]
            AnswerStore(folder / "answers", {}).get_or_ask(f"{base} on training questions", [], lambda _, k=kept: k)
    b = read_comparison(folders["b"] / "comparison.json")
    for answer in b.condition("tuned + prompt").answers:
        answer.style, answer.fits, answer.sense = 0.0, False, 0.7
    b.scales["sense threshold"] = 0.9
    write_comparison(folders["b"] / "comparison.json", b)
    return folders


def read_runs(folders: dict[str, Path]) -> dict[str, Comparison]:
    return {name: read_comparison(folder / "comparison.json") for name, folder in folders.items()}


def test_two_runs_are_held_to_the_same_rulers(two_runs, masaki):
    """The first run's, whichever that is: by b's threshold of sense, 0.9, its own answers do not fit."""
    runs, style = read_runs(two_runs), StyleClassifier([pair.answer for pair in masaki.train], POLITE)
    found = SideBySide(runs, style)
    scores, changes, settings = found.tables()
    assert [row["score"] for row in scores] == [score.label for score in HEADLINES]
    assert scores[0]["a"].startswith("0%") and found.passes["b"].sum() >= 27
    headline, facts = changes[0], next(row for row in changes if row["score"].startswith("stated facts"))
    assert headline["score"] == HEADLINES[0].label and headline["b minus a"].endswith("better")
    assert facts["b minus a"].endswith("better") and settings == [{"setting": "LoRA", "a": "a", "b": "b"}]
    other_way = SideBySide({"b": runs["b"], "a": runs["a"]}, style)
    assert not other_way.passes["b"].any() and other_way.passes["a"].sum() == 0
    sentence, n = found.said(phrases())[1], found.passes["b"].sum()
    assert f"b: {n} of 30" in sentence and "better than a: +" in sentence and f"newly passing {n}, no" in sentence


def test_what_has_no_ruler_in_common_is_not_compared(two_runs, masaki):
    runs, style = read_runs(two_runs), StyleClassifier([pair.answer for pair in masaki.train], POLITE)
    runs["b"].setup["model"] = "another"
    runs["b"].questions[1].facts.pop()
    found = SideBySide(runs, style)
    assert {key for _, key in found.differences} == {"style", "log_likelihood"}
    said = found.said(phrases())
    assert "different base models" in said[2] and "facts are not compared" in said[3] and "better" not in said[1]
    hana = read_persona(ROOT / "tests/personas/hana")
    with pytest.raises(PersonaError, match="not asked the same"):
        SideBySide({"a": runs["a"], "c": compared(hana, polite(hana), polite(hana))}, style)


def test_the_page_of_two_runs(two_runs, capsys):
    folders = [str(folder) for folder in two_runs.values()]
    compare_main([*folders, "--language", "ja"])
    printed, page = capsys.readouterr().out, two_runs["b"] / "compare.html"
    assert "b minus a" in printed and "compare.html" in printed and page.stat().st_mode & 0o777 == 0o600
    text = page.read_text(encoding="utf-8")
    train = read_jsonl(two_runs["b"] / "train.jsonl")
    assert sum(f"{pair.question} → {pair.answer}" in text for pair in train) >= 10, "where answers came from"
    assert text.count('data-kind="変わった：通るようになった"') >= 20 and "a の物差し" in text
    assert "<mark>" in text and "://" not in text and str(Path.home()) not in text
    assert not (two_runs["a"] / "compare.html").exists()
    (two_runs["a"] / "answers/base-promptontrainingquestions.json").write_text("{}")
    for wrong, reason in (
        (folders, "are not there"),
        (folders[:1], "nothing to be compared"),
        (folders[:1] * 2, "twice"),
    ):
        with pytest.raises(SystemExit):
            compare_main(wrong)
        assert reason in capsys.readouterr().err


def test_the_page_is_one_file(masaki, tmp_path):
    from persona_ft.figures.comparison import plot_comparison, plot_stylometry

    comparison = compared(masaki, polite(masaki), references(masaki))
    figures = {"comparison": plot_comparison(comparison), "habits": plot_stylometry(comparison)}
    page = write_report(tmp_path / "report.html", comparison, figures).read_text()
    assert page.count("data:image/png;base64,") == 2 and "://" not in page
    assert str(Path.home()) not in page


def test_one_question_is_compared_and_unknown_facts_are_named(masaki, tmp_path, capsys):
    one = Persona(masaki.folder, masaki.profile, masaki.train, masaki.test[:1])
    check_test(one)
    assert "no difference can be told from chance" in capsys.readouterr().out
    write_report(tmp_path / "r.html", compared(one, polite(one), references(one)), {})
    test = [masaki.test[0].model_copy(update={"facts": [FactAnnotation(id="no_such")]})]
    with pytest.raises(PersonaError, match="Q01 names the fact 'no_such'"):
        check_test(Persona(masaki.folder, masaki.profile, masaki.train, test))


def test_the_judges_votes_stand_beside_the_right_condition(masaki, tmp_path):
    comparison = compared(masaki, polite(masaki), references(masaki))
    comparison.judge = {"who": "x", "first": 1, "second": 29, "ties": 0, "n": 30, "p": 0.001, "a_a_ties": 1.0}
    comparison.judge["a_a"] = {"first": 0, "second": 0, "ties": 30, "p": 1.0}
    page = write_report(tmp_path / "r.html", comparison, {}).read_text()
    assert "tuned + prompt 29, base + prompt 1" in page


def test_asking_for_an_ai_is_asking_for_an_ai():
    asked = ["AIなの？", "Are you a bot?", "are you human", "人間ですか？"]
    other = ["Can you explain recursion?", "What's your email?", "Say that again?", "生成AIってぶっちゃけどう思う？"]
    assert [text for text in [*asked, *other] if says("asks for AI", text)] == asked
