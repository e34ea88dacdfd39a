"""Can the verdict be believed? What sounds wrong or says nonsense must lose; base against base must give no difference.

    python benchmarks/evaluate_evaluation.py voices    # every invented person in turn: minutes, no model
    python benchmarks/evaluate_evaluation.py partners  # two of them in turn as the two people of a chat, no model
    python benchmarks/evaluate_evaluation.py labels    # sense against data/sense/labels.jsonl, with a base model
    python benchmarks/evaluate_evaluation.py planted   # the headline of planted answers, and how often it is claimed

*voices*: each person in turn is the one to be recognised, by 30 answers; each other one in turn is left out of training
and of the threshold, and answers the test questions. *partners*: person and partner write 30 messages each, which are
imported as a chat; does the partner pass for the person, in what neither has read, before and after the partner's
messages of the chat are heard? *planted*: a condition of answers that something is done to,
against the base's; 200 resamplings of 30, 60 and 100 questions each. Without a name all four are run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from sense import tiny_model

from persona_ft.chat.importing import import_chat
from persona_ft.conversation import Conversation
from persona_ft.data.persona import read_persona
from persona_ft.evaluate.impostors import read_voices
from persona_ft.evaluate.sense import SenseScale, information
from persona_ft.evaluate.statistics import ALPHA, permutation_p, share
from persona_ft.evaluate.style import StyleClassifier, acceptance_threshold, style_pipeline
from persona_ft.io import write_text
from persona_ft.paths import repository_root, resolve
from persona_ft.report.tables import markdown_table

STRANGER = "sho"  # the casual person who is planted, and who is no impostor then
N_ANSWERS = 6  # of the base to each question, at temperature 1


def accepted(
    train: Mapping[str, Sequence[str]],
    test: Mapping[str, Sequence[str]],
    person: str,
    stranger: str,
    base: Sequence[str] = (),
    chat: Sequence[str] = (),
) -> tuple[float, float]:
    """The share of a person's test answers that pass, and of a stranger's of whom ``chat`` alone was heard."""
    heard = {name: texts for name, texts in train.items() if name not in (person, stranger)}
    heard |= {"of the chat": chat} if chat else {}
    threshold = acceptance_threshold(style_pipeline(), train[person], base, heard)
    others = [*base, *(text for texts in heard.values() for text in texts)]
    pipeline = style_pipeline().fit([*train[person], *others], [1] * len(train[person]) + [0] * len(others))
    own, foreign = (pipeline.decision_function(test[name]) > threshold for name in (person, stranger))
    return float(own.mean()), float(foreign.mean())


def voices(language: str) -> list[dict[str, str]]:
    """Acceptance of each person's own answers and of each left-out other's."""
    everybody = read_voices(language)
    half = min(map(len, everybody.values())) // 2
    train = {name: texts[half:] for name, texts in everybody.items()}
    test = {name: texts[:half] for name, texts in everybody.items()}
    if language == "ja":
        masaki = read_persona(resolve("data/masaki"))
        train["masaki"] = [pair.answer for pair in masaki.train][:half]
        test["masaki"] = [item.answer for item in masaki.test]
    rows, found = [], []
    for person in train:
        pairs = np.array([accepted(train, test, person, other) for other in train if other != person])
        found.append(pairs.mean(axis=0))
        own, foreign, worst = *pairs.mean(axis=0), pairs[:, 1].max()
        rows.append({"person": person, "own": f"{own:.0%}", "others": f"{foreign:.1%}", "worst other": f"{worst:.0%}"})
    own, foreign = np.mean(found, axis=0)
    return [
        *rows,
        {"person": f"mean of {len(rows)}", "own": f"{own:.0%}", "others": f"{foreign:.1%}", "worst other": ""},
    ]


def chat_of(person: Sequence[str], partner: Sequence[str]) -> list[Conversation]:
    """The pairs of a chat in which the partner writes a message and the person the next one."""
    start, rows = datetime(2026, 1, 1), []
    for day, (message, answer) in enumerate(zip(partner, person, strict=True)):
        for minute, speaker, text in ((0, "partner", message), (1, "me", answer)):
            at = start + timedelta(days=day, minutes=minute)
            rows.append(json.dumps({"time": at.isoformat(), "speaker": speaker, "text": text}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chat.jsonl")
        path.write_text("\n".join(rows), encoding="utf-8")
        return import_chat(path, "me", n_test=0).pairs


def partners() -> list[dict[str, str]]:
    """Acceptance of each person's own answers, and of the partner's as the person's, before and after."""
    everybody, found = read_voices("ja"), {}
    train, test = ({name: t[part] for name, t in everybody.items()} for part in (slice(30, None), slice(30)))
    for person, partner in permutations(everybody, 2):
        pairs = chat_of(train[person], train[partner])
        known = train | {person: [pair.answer for pair in pairs]}
        asked = [pair.question for pair in pairs]
        found[person, partner] = [accepted(known, test, person, partner, chat=heard) for heard in ((), asked)]
    rows = []
    for name in (*everybody, "all"):
        values = np.array([value for (person, _), value in found.items() if name in (person, "all")])
        own, foreign, worst = values[..., 0].mean(0), values[..., 1].mean(0), values[..., 1].max(0)
        row = {"person": name, "own, before": f"{own[0]:.0%}", "own, after": f"{own[1]:.0%}"}
        row |= {"partner, before": f"{foreign[0]:.1%}", "partner, after": f"{foreign[1]:.1%}"}
        rows.append(row | {"worst partner, before": f"{worst[0]:.0%}", "worst partner, after": f"{worst[1]:.0%}"})
    return rows


def labels(model: Any, tokenizer: Any) -> list[dict[str, str]]:
    """Agreement with the labelled rows, by kind; each row that the scale gets wrong is printed."""
    rows = [json.loads(line) for line in resolve("data/sense/labels.jsonl").read_text(encoding="utf-8").splitlines()]
    questions, answers = [row["question"] for row in rows], [row["answer"] for row in rows]
    found = information(model, tokenizer, questions, answers, questions)
    scale = SenseScale.of(model, tokenizer, read_persona(resolve("data/masaki")).train)
    right = np.array([(value > scale.threshold) == row["fits"] for value, row in zip(found, rows, strict=True)])
    for row, value, fine in zip(rows, found, right, strict=True):
        if not fine:
            print(f"{row['question']} → {row['answer']}  fits: {row['fits']}, {value:+.2f} nats per token")
    kinds = {"all": np.ones(len(rows), bool)}
    kinds |= {kind: np.array([row["kind"] == kind for row in rows]) for kind in ("own", "shuffled", "near topic")}
    return [
        {"kind": kind, "n": str(chosen.sum()), "agrees": str(share(int(right[chosen].sum()), int(chosen.sum())))}
        for kind, chosen in kinds.items()
    ]


def planted(model: Any, tokenizer: Any, n_resamplings: int, think: bool) -> list[dict[str, str]]:
    """The headline of planted conditions, and how often each is called better than the base.

    ``think``: the base thinks before it answers, at low effort.
    """
    from persona_ft.evaluate.conditions import condition_messages, conditions
    from persona_ft.gpt_oss.generate import generate_completions, token_limit
    from persona_ft.gpt_oss.harmony import render_prompt

    persona, everybody = read_persona(resolve("data/masaki")), read_voices("ja")
    stranger = everybody.pop(STRANGER)[: len(persona.test)]  # the first are answers to the test questions

    def asked(pairs: Sequence, **sampled: Any) -> list[str]:
        prompt = persona.profile.system_prompt
        messages = [condition_messages(conditions()[1], pair, prompt) for pair in pairs]
        prompts = [render_prompt(tokenizer, one, "low", think) for one in messages]
        found = generate_completions(model, tokenizer, prompts, token_limit(think, "low"), **sampled)
        return [completion.answer or "" for completion in found]

    style = StyleClassifier([pair.answer for pair in persona.train], asked(persona.train), everybody)
    scale = SenseScale.of(model, tokenizer, persona.train)
    questions, own = [item.question for item in persona.test], [item.answer for item in persona.test]
    rng = np.random.default_rng(0)
    base = [asked(persona.test, do_sample=True, temperature=1.0) for _ in range(N_ANSWERS)]
    shuffled = [list(np.roll(own, int(shift))) for shift in rng.choice(np.arange(1, len(own)), 3, replace=False)]
    planted = {"base against base": base, "nonsense in the right tone": shuffled, "the person": [own]}
    planted |= {"right sense in the wrong tone": [asked(persona.test)], "another casual person": [stranger]}

    def passes(texts: list[str]) -> np.ndarray:
        fits = information(model, tokenizer, questions, texts, questions) > scale.threshold
        return ((style.probabilities(texts) > 0.5) & fits).astype(float)

    headline = {name: np.array([passes(texts) for texts in answers]) for name, answers in planted.items()}
    rows = []
    for name, values in headline.items():
        row = {"planted": name, "headline": f"{values.mean():.0%}"}
        for size in (30, 60, 100):
            claimed = 0
            for _ in range(n_resamplings):
                chosen = rng.integers(0, len(questions), size)
                first, second = rng.choice(N_ANSWERS, (2, size)), rng.choice(len(values), size)
                before = headline["base against base"][first[0], chosen]
                if name == "base against base":
                    second = (first[0] + 1 + first[1] % (N_ANSWERS - 1)) % N_ANSWERS  # another answer of the same base
                after = values[second, chosen]
                claimed += after.mean() > before.mean() and permutation_p(after, before) < ALPHA
            row[f"called better, {size} questions"] = f"{claimed / n_resamplings:.0%}"
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["voices", "partners", "labels", "planted"])
    parser.add_argument("--model", default="data/tiny-gpt-oss")
    parser.add_argument("--resamplings", type=int, default=200)
    parser.add_argument("--think", action="store_true", help="let the base think before it answers")
    options, found = parser.parse_args(), {}
    if "voices" in options.what:
        found = {language: voices(language) for language in ("ja", "en")}
    if "partners" in options.what:
        found |= {"partners": partners()}
    if {"labels", "planted"} & set(options.what):
        loaded = tiny_model(options.model)
        found |= {"labels": labels(*loaded)} if "labels" in options.what else {}
        found |= {"planted": planted(*loaded, options.resamplings, options.think)} if "planted" in options.what else {}
    for name, rows in found.items():
        print(f"\n{name}\n\n{markdown_table(rows)}")
    out = repository_root() / f"benchmarks/results/verdict_{'_'.join(options.what)}{'_think' * options.think}.json"
    write_text(out, json.dumps(found, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
