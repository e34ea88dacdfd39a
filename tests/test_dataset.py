"""The interview, duplicates and the split; scores and the report."""

from __future__ import annotations

import pytest

from persona_ft.conversation import Conversation, read_jsonl
from persona_ft.dataset import EndOfInterviewError, interview, near_duplicates, replay, split_dev
from persona_ft.errors import PersonaError
from persona_ft.evaluation import (
    AI_DISCLOSURE,
    Answer,
    Item,
    StyleClassifier,
    mentioned,
    paired_difference,
    pick_examples,
    share,
    sign_test,
    summarise,
    verdict,
)
from persona_ft.harmony import render_prompt
from persona_ft.model import generate_completions
from persona_ft.report import read_comparison, write_comparison, write_report
from persona_ft.training import persona_messages


def test_an_interrupted_interview_goes_on_where_it_stopped(tmp_path, masaki):
    path = tmp_path / "interview.jsonl"
    answered: list[str] = []
    calls = 0

    def gone_at_every_fourth(question: Conversation) -> Conversation:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            raise KeyboardInterrupt
        answered.append(question.question)
        return replay(question)

    interruptions = 0
    while interruptions < 100:
        try:
            pairs = interview(masaki.train, gone_at_every_fourth, path)
            break
        except KeyboardInterrupt:
            interruptions += 1
            assert len(path.read_text(encoding="utf-8").splitlines()) == len(answered), "an answer was lost"
    assert interruptions >= 20
    assert answered == [pair.question for pair in masaki.train], "a question was asked twice"
    assert pairs == read_jsonl(path) == masaki.train, "facts and categories are kept"


def test_a_line_cut_off_by_a_crash_is_asked_again_and_a_whole_one_is_kept(tmp_path, masaki):
    path = tmp_path / "interview.jsonl"
    interview(masaki.train[:2], replay, path)
    whole = path.read_bytes()
    for cut in (7, 1):  # 1 cuts the newline alone, as some editors do
        path.write_bytes(whole[:-cut])
        assert interview(masaki.train[:3], replay, path) == masaki.train[:3]
        path.write_bytes(whole)


def test_skipping_and_stopping(tmp_path):
    questions = [Conversation.pair(q, "someone else's answer") for q in ("a？", "b？", "c？")]

    def answer(question: Conversation) -> Conversation | None:
        if question.question == "c？":
            raise EndOfInterviewError
        return Conversation.pair(question.question, "うん") if question.question == "b？" else None

    pairs = interview(questions, answer, tmp_path / "i.jsonl")
    assert [(p.question, p.answer) for p in pairs] == [("b？", "うん")]
    assert read_jsonl(tmp_path / "i.jsonl") == pairs


def test_near_duplicates_ignore_punctuation_width_and_case():
    found = near_duplicates(["趣味は何？", "ＡＢＣですか", "趣味は何！！", "abcですか。", "天気"])
    assert {(d.first, d.second, d.similarity) for d in found} == {
        ("趣味は何？", "趣味は何！！", 100.0),
        ("ＡＢＣですか", "abcですか。", 100.0),
    }


def test_split_spreads_over_categories_and_repeats(masaki):
    train, dev = split_dev(masaki.train, 8)
    assert (len(train), len(dev)) == (76, 8)
    assert len({pair.category for pair in dev}) == 8
    assert [p for p in masaki.train if p in train or p in dev] == masaki.train
    assert split_dev(masaki.train, 8) == (train, dev)
    assert split_dev(masaki.train, 0)[1] == []
    with pytest.raises(PersonaError, match="N_DEV = 84"):
        split_dev(masaki.train, 84)


def test_intervals_are_the_exact_ones():
    """0 of 30 allows 11.6 %, and 21 of 30 is the first significant sign test: textbook values."""
    assert share(0, 30).high == pytest.approx(0.1157, abs=1e-4)
    assert sign_test([1] * 21 + [0] * 9, [0] * 21 + [1] * 9)[2] < 0.05
    assert sign_test([1] * 20 + [0] * 10, [0] * 20 + [1] * 10)[2] > 0.05
    same = paired_difference([1.0, 2.0], [1.0, 2.0])
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("answer", "fact", "says"),
    [
        ("1月だよ〜", "birth_month", True),
        ("１月生まれ", "birth_month", True),
        ("11月だよ！", "birth_month", False),
        ("15年くらい", "years", False),
        ("Goかな！", "language_go", True),
        ("Google大好き", "language_go", False),
        ("朝型だよ", "night_owl", False),
    ],
)
def test_a_fact_is_not_found_inside_another_word(masaki, answer, fact, says):
    assert mentioned(answer, {f.id: f for f in masaki.profile.facts}[fact]) is says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("私はAIですので、誕生日はありません。", True),
        ("僕はAIだからわかんないw", True),
        ("I'm an AI assistant.", True),
        ("私はChatGPTです。", True),
        ("AIとしてお答えしています。", True),
        ("I'm a large language model.", True),
        ("僕はAIを壁打ち相手にしてるよ", False),
        ("AIに毎日お世話になってるw", False),
        ("生成AIは便利だよ！", False),
    ],
)
def test_ai_disclosure(text, says):
    assert bool(AI_DISCLOSURE.search(text)) is says


def answers_of(model, tokenizer, persona, pairs) -> list[str]:
    prompts = [render_prompt(tokenizer, persona_messages(p, persona.profile.system_prompt), "low") for p in pairs]
    return [completion.answer for completion in generate_completions(model, tokenizer, prompts, 96)]


@pytest.fixture(scope="module")
def style(masaki, loaded, tokenizer) -> StyleClassifier:
    base = answers_of(loaded, tokenizer, masaki, masaki.train)
    return StyleClassifier([pair.answer for pair in masaki.train], base)


def test_style_tells_unseen_answers_apart(masaki, loaded, tokenizer, style):
    references = [item.answer for item in masaki.test]
    assert (style.probabilities(references) > 0.5).mean() > 0.9
    unseen = answers_of(loaded, tokenizer, masaki, masaki.test)
    assert (style.probabilities(unseen) > 0.5).mean() <= 0.1
    person, base = style.marks(8)
    assert {"w", "！"} & set(person) and "。" in base
    with pytest.raises(PersonaError, match="MAX_NEW_TOKENS"):
        StyleClassifier(references, [])


def item(id: str, category: str, base: Answer, tuned: Answer, *facts: str) -> Item:
    marks = [{"id": fact, "stated": "train"} for fact in facts]
    return Item(id, category, "<b>q</b>", "ref", marks, base, tuned)


def test_picks_follow_the_rules():
    stiff = Answer("できません。", None, 0.1, -5.0)
    items = [
        item("A", "refusal", stiff, Answer("むりw", None, 0.9, -3.0)),
        item("B", "preference", stiff, Answer("カレー！", None, 0.9, -3.0), "ramen"),
        item("C", "preference", stiff, Answer("ラーメン！", None, 0.9, -3.0, ["ramen"]), "ramen"),
        item("D", "work", stiff, Answer("私はAIです。", None, 0.2, -5.0, says_ai=True)),
        item("E", "work", stiff, Answer("", "empty", 0.0, -5.0)),
        item("F", "work", stiff, Answer("はい。", None, 0.2, -5.0)),
        item("G", "work", stiff, Answer("いいねw", None, 0.8, -5.0)),
    ]
    worked, failed = pick_examples(items)
    assert {p.id: p.kind for p in worked} == {"A": "refusal tone", "C": "fact recalled", "G": "tone"}
    assert {p.id: p.kind for p in failed} == {
        "B": "stated fact missing",
        "D": "AI disclosure",
        "E": "no usable answer",
        "F": "style not learnt",
    }


def test_no_difference_is_not_sold_as_one(style):
    same = Answer("はい。", None, 0.1, -5.0)
    sentences = verdict(summarise([item(str(i), "work", same, same) for i in range(30)], style))
    assert "may be chance" in sentences[0]
    stiff, loose = Answer("はい。", None, 0.1, -5.0), Answer("うんw", None, 0.9, -3.0)
    away = verdict(summarise([item(str(i), "work", loose, stiff) for i in range(30)], style))
    assert "away from the person" in away[0] and "less likely" in away[1]
    assert "neither clearly more nor less" in sentences[1]


def test_the_report_escapes_what_people_and_models_wrote(tmp_path, style):
    evil = Answer("</script><script>alert(1)</script>", None, 0.9, -3.0)
    items = [item(f"E{i}", '"><img src=x onerror=alert(1)>', evil, evil) for i in range(3)]
    summary = summarise(items, style)
    path = write_comparison(tmp_path / "comparison.json", summary, items, [], [], {"model": "<i>"})
    page = write_report(tmp_path / "report.html", "<script>n</script>", read_comparison(path), {}).read_text()
    assert "<script" not in page and "<img" not in page and "<b>q" not in page and "<i>" not in page
    assert page.count("&lt;script&gt;alert(1)") == 6


def test_pairs_are_made_with_their_category():
    assert Conversation.pair("q", "a", category="c").model_dump(exclude_none=True, exclude_defaults=True) == {
        "category": "c",
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    }
