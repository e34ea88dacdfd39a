"""The shipped persona: counts, the article's topics, facts that agree, and nothing in two places."""

from __future__ import annotations

import json
import random
import re
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
from rapidfuzz import fuzz, process

from persona_ft.data.split import check_leakage, comparable, near_duplicates, near_places
from persona_ft.errors import PersonaError
from persona_ft.evaluate.facts import mentioned

ROOT = Path(__file__).resolve().parents[1]


def test_84_and_30_pairs_with_ids_and_categories(masaki):
    assert (len(masaki.train), len(masaki.test)) == (84, 30)
    assert [item.id for item in masaki.test] == [f"Q{n:02d}" for n in range(1, 31)]
    assert all(pair.category for pair in [*masaki.train, *masaki.test])


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("Q02", "趣味"),
        ("Q07", "好きな食べ物"),
        ("Q11", "誕生月.*星座"),
        ("Q12", "技術書"),
        ("Q15", "Git.*迷子"),
        ("Q22", "お金.*貸し"),
        ("Q30", "黙って"),
    ],
)
def test_the_articles_questions_keep_their_numbers(masaki, id, words):
    assert re.search(words, {item.id: item.question for item in masaki.test}[id])


def test_no_question_is_asked_twice_and_none_of_the_test_is_trained_on(masaki):
    assert not near_duplicates([pair.question for pair in masaki.train])
    assert not near_duplicates([item.question for item in masaki.test])
    assert not near_duplicates([item.answer for item in masaki.test], [pair.answer for pair in masaki.train], 70)
    check_leakage(masaki.train, masaki.test)


def test_leakage_is_refused(masaki):
    with pytest.raises(PersonaError, match="1 test questions"):
        check_leakage([*masaki.train, masaki.test[3]], masaki.test)


@pytest.mark.parametrize("threshold", [0, 60, 90, 100])
def test_nothing_that_is_near_is_passed_over(threshold):
    """Against every two texts compared one by one."""
    draw = random.Random(threshold)
    texts = ["".join(draw.choices("はいねw、", k=draw.randint(0, 12))) for _ in range(450)]
    plain = list(map(comparable, texts))
    for others in (None, texts[:70]):
        seconds = plain if others is None else plain[:70]
        found = {(i, j): score for i, j, score in near_places(texts, others, threshold)}
        every = ((i, j) for i in range(len(plain)) for j in range(len(seconds)) if others is not None or i < j)
        wanted = {(i, j): s for i, j in every if (s := fuzz.ratio(plain[i], seconds[j])) >= max(threshold, 1)}
        assert found == pytest.approx(wanted, rel=1e-5) and wanted


def test_texts_of_another_length_are_not_compared():
    draw = random.Random(0)
    texts = ["".join(draw.choices("行く来る見たよねかなw明日今日", k=20 * 2 ** (n % 5))) for n in range(1_500)]
    started = time.process_time()
    assert not list(near_places(texts, threshold=90.0))
    between = time.process_time()
    process.cdist(texts, list(texts), scorer=fuzz.ratio, score_cutoff=90.0)
    assert between - started < time.process_time() - between, "each is compared with each"


def test_facts_are_where_they_are_said_to_be(masaki):
    """Each mark on a row is borne out by its answer, and persona.yaml's `stated` by all the training answers."""
    profile = masaki.profile
    facts = {fact.id: fact for fact in profile.facts}
    topics = {topic.id for topic in profile.unknown_topics}
    for pair in [*masaki.train, *masaki.test]:
        for mark in pair.facts:
            assert mark.id in facts or mark.id in topics, f"{pair.question}: {mark.id} is not in persona.yaml"
            if mark.id in facts:
                assert mentioned(pair.answer, facts[mark.id]), f"{pair.answer} does not say {mark.id}"
    for fact in facts.values():
        told = [pair.answer for pair in masaki.train if mentioned(pair.answer, fact)]
        assert bool(told) == (fact.stated == "train"), f"{fact.id} is marked {fact.stated}, yet said in {told}"
    for item in masaki.test:
        for mark in item.facts:
            wanted = facts[mark.id].stated if mark.id in facts else "never"
            assert mark.stated == wanted, f"{item.id}: {mark.id} is marked {mark.stated}"


def test_answers_read_like_chat_and_not_like_a_template(masaki):
    answers = [pair.answer for pair in masaki.train]
    assert max(map(len, answers)) <= 60 and min(map(len, answers)) <= 10
    assert len({comparable(answer)[:5] for answer in answers}) >= 75, "too many answers begin alike"
    assert not any("です。" in a or "ます。" in a for a in answers), "an assistant's sentence among a friend's"


@pytest.fixture(scope="module")
def corpus():
    """The text that the tiny model is pre-trained on, with the evaluation held out as build.py holds it out."""
    sys.path.insert(0, str(ROOT / "scripts/tiny_gpt_oss"))
    from build import held_out
    from corpus import Corpus

    return Corpus(held_out(), seed=1)


def test_the_tiny_models_corpus_is_as_broad_as_its_card_says(corpus):
    talk = [item for items in corpus.talk.values() for item in items]
    assert len(talk) >= 400 and all(len(item["user"]) >= 4 and len(item["casual"]) >= 3 for item in talk)
    assert sum(map(len, corpus.voices.values())) >= 40
    assert sum(len(family) for families in corpus.knowledge.values() for family in families) >= 400
    names = {voice["name"] for voices in corpus.voices.values() for voice in voices}
    assert not names & {"まさき", "まさき。"}
    for voice in corpus.voices["ja"]:
        assert {"I", "da", "yo", "ne", "na", "kana", "no", "m"} <= set(voice), voice["id"]
        assert not (voice["I"] == "僕" and "w" in voice["m"])


def test_nothing_of_the_evaluation_is_in_the_tiny_models_corpus(corpus):
    """No user's message and no answer is, or nearly is, one of the 114 pairs' texts or of the general questions."""
    samples = list(islice(corpus, 10_000))
    said = sorted({m["content"] for sample in samples for m in sample.messages if m["role"] != "developer"})
    near = near_duplicates(said, corpus.held_out)
    assert [(n.first, n.second) for n in near if len(comparable(n.first)) > 3 or n.similarity == 100] == []
    assert not [text for text in said if re.search(r"[{}]", text)], "a slot was not filled"
    polite = [s.messages[-1]["content"] for s in samples if s.messages[0]["role"] != "developer"]
    assert sum(bool(re.search(r"[wｗ]$|僕", text)) for text in polite) == 0


def test_readme_of_the_data_says_what_the_files_hold(masaki):
    card = (ROOT / "data/README.md").read_text(encoding="utf-8")
    for category in {pair.category for pair in masaki.train}:
        train = sum(pair.category == category for pair in masaki.train)
        test = sum(item.category == category for item in masaki.test)
        assert f"| {category} | {train} | {test} |" in card
    assert "invented" in card
    lines = (ROOT / "data/masaki/train.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(set(json.loads(line)) <= {"messages", "category", "facts"} for line in lines)


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "README.ja.md",
        "data/README.md",
        "benchmarks/README.md",
        "docs/guide.md",
        "docs/guide.ja.md",
        "docs/glossary.md",
        "docs/glossary.ja.md",
        "notebooks/README.md",
    ],
)
def test_a_pages_links_lead_somewhere(page):
    """Files and headings of this repository that a page points to."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target
