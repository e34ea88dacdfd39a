"""The interview, duplicates and the split."""

from __future__ import annotations

import pytest

from persona_ft.conversation import Conversation, read_jsonl
from persona_ft.dataset import EndOfInterviewError, interview, near_duplicates, replay, split_dev
from persona_ft.errors import PersonaError


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


def test_pairs_are_made_with_their_category():
    assert Conversation.pair("q", "a", category="c").model_dump(exclude_none=True, exclude_defaults=True) == {
        "category": "c",
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    }
