"""Duplicates and the split."""

from __future__ import annotations

import pytest

from persona_ft.conversation import Conversation
from persona_ft.data.card import characteristic
from persona_ft.data.split import near_duplicates, near_places, split_validation
from persona_ft.errors import PersonaError


def test_near_duplicates_ignore_punctuation_width_and_case():
    found = near_duplicates(["趣味は何？", "ＡＢＣですか", "趣味は何！！", "abcですか。", "天気"])
    assert {(d.first, d.second, d.similarity) for d in found} == {
        ("趣味は何？", "趣味は何！！", 100.0),
        ("ＡＢＣですか", "abcですか。", 100.0),
    }


def test_split_spreads_over_categories_and_repeats(masaki):
    train, validation = split_validation(masaki.train, 8)
    assert (len(train), len(validation)) == (76, 8)
    assert len({pair.category for pair in validation}) == 8
    assert [p for p in masaki.train if p in train or p in validation] == masaki.train
    assert split_validation(masaki.train, 8) == (train, validation)
    assert split_validation(masaki.train, 0)[1] == []
    with pytest.raises(PersonaError, match="N_VALIDATION = 84"):
        split_validation(masaki.train, 84)


def test_pairs_are_made_with_their_category():
    assert Conversation.pair("q", "a", category="c").model_dump(exclude_none=True, exclude_defaults=True) == {
        "category": "c",
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    }


def test_what_gives_a_person_away_is_what_the_others_do_not_write():
    mine = ["いいねw", "まじかw", "ねむいw", "それなw", "やばいw"] * 2
    others = ["いいね。", "まじか。", "ねむい。", "それな。", "やばい。"] * 2
    found = characteristic(mine + ["。。だよ"] * 3, others)
    assert found and all("w" in run or "だよ" in run or "。" in run for run, _, _ in found)
    assert [z for _, z, _ in found] == sorted((z for _, z, _ in found), reverse=True)
    assert characteristic(mine, []) == []


def test_whole_talks_and_near_twins_stay_on_one_side_of_the_validation_split():
    pairs = [Conversation.pair(f"{c * 5}？", "a") for c in "あいうえおかきくけこさしすせそたちつてと"]
    talks = [i // 4 for i in range(20)]
    train, validation = split_validation(pairs, 6, seed=1, groups=talks)
    sides = [{talks[pairs.index(pair)] for pair in side} for side in (train, validation)]
    assert not sides[0] & sides[1] and 6 <= len(validation) <= 12 and len(train) + len(validation) == 20
    one_talk = split_validation(pairs, 6, seed=1, groups=[0] * 20)
    assert one_talk == (pairs[:14], pairs[14:]), "of a single talk the newest are set aside"
    twins = [*pairs[:10], Conversation.pair("あああああ！？", "b")]
    for seed in range(5):
        assert not {"あああああ？", "あああああ！？"} & {pair.question for pair in split_validation(twins, 4, seed)[1]}


def test_of_several_that_are_nearly_the_same_the_first_is_the_one_that_is_kept():
    texts = ["またね、明日", "おはよう", "またね明日！", "またね。明日"]
    assert {later for _, later, _ in near_places(texts, threshold=90)} == {2, 3}
    many = [f"{i:05d}" * 4 for i in range(1500)]
    assert [(i, j) for i, j, _ in near_places([*many, many[3]], threshold=100)] == [(3, 1500)]
