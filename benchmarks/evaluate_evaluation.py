"""Can the comparison be believed? Base against base must give no difference; planted differences must be found.

    python benchmarks/evaluate_evaluation.py

On the tiny model. Each question is answered twelve times by the base (temperature 1, the persona's prompt with twelve
dates, so that likelihoods vary too). A resampling takes two different answers of each question as two conditions:
nothing sets them apart but chance. Then something is done to one of them, and the same tests look for it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable

import numpy as np

from persona_ft.gpt_oss.load import prepare_environment

prepare_environment()

from unsloth import FastLanguageModel  # before transformers, trl and peft
import torch

from persona_ft.io import write_text
from persona_ft.evaluate.conditions import condition_messages, conditions, reference_likelihoods
from persona_ft.evaluate.differences import compare_conditions
from persona_ft.evaluate.schema import HEADLINES
from persona_ft.evaluate.scoring import Scorer, known_facts, questions_of, ranks_of
from persona_ft.evaluate.scoring import with_distractors
from persona_ft.evaluate.facts import normalised
from persona_ft.evaluate.copying import copied
from persona_ft.evaluate.statistics import difference, share, together
from persona_ft.evaluate.style import NgramProfile, StyleClassifier
from persona_ft.evaluate.stylometry import learn_features, measure
from persona_ft.gpt_oss.harmony import FINAL, HarmonyMessage, freeze_date, render_prompt
from persona_ft.gpt_oss.generate import Completion, generate_completions
from persona_ft.gpt_oss.load import compute_in_float32, use_split_experts
from persona_ft.data.persona import read_persona
from persona_ft.report.tables import markdown_table
from persona_ft.paths import repository_root, resolve

N_ANSWERS = 12
CASUAL = (
    ("ございます", "あるよ"), ("できません", "できない"), ("ありません", "ない"), ("ません", "ない"), ("ました", "た"),
    ("でしょう", "だろ"), ("ください", ""), ("ですが", "だけど"), ("ですので", "だから"), ("です", "だよ"),
    ("ます", "るよ"),
)  # fmt: skip


class World:
    """The tiny model's answers to the test questions, many times over, and what they are scored with."""

    def __init__(self, persona_folder: str) -> None:
        self.persona = read_persona(resolve(persona_folder))
        use_split_experts()
        model, tokenizer = FastLanguageModel.from_pretrained(
            model_name=str(resolve("data/tiny-gpt-oss")), dtype=None, max_seq_length=2048, load_in_4bit=True
        )
        compute_in_float32(model)
        condition = next(condition for condition in conditions() if condition.name == "base + prompt")
        template, prompt = tokenizer.chat_template, self.persona.profile.system_prompt

        def prompts(pairs, day: int) -> list[str]:
            tokenizer.chat_template = freeze_date(template, f"2025-{day:02d}-04")
            return [render_prompt(tokenizer, condition_messages(condition, pair, prompt), "low") for pair in pairs]

        base_train = generate_completions(model, tokenizer, prompts(self.persona.train, 12), 96)
        self.person_train = [pair.answer for pair in self.persona.train]
        self.base_train = [c.answer for c in base_train if c.answer]
        candidates = with_distractors([item.answer for item in self.persona.test])
        self.completions, self.likelihoods = [], []
        for day in range(1, N_ANSWERS + 1):
            torch.manual_seed(day)
            asked = prompts(self.persona.test, day)
            self.completions.append(generate_completions(model, tokenizer, asked, 96, do_sample=True, temperature=1.0))
            self.likelihoods.append(reference_likelihoods(model, tokenizer, asked, candidates))
        self.questions = questions_of(self.persona)
        self.scorer = Scorer(
            self.persona,
            StyleClassifier(self.person_train, self.base_train),
            NgramProfile(self.person_train, self.base_train),
            self.questions,
        )
        self.features = learn_features(self.person_train, self.base_train)

    def two_conditions(self, rng: np.random.Generator) -> list[tuple[list[Completion], np.ndarray]]:
        """Two conditions of n answers that differ by chance alone."""
        picks = np.array([rng.choice(N_ANSWERS, 2, replace=False) for _ in self.questions])
        return [
            (
                [self.completions[k][i] for i, k in enumerate(picks[:, side])],
                np.array([self.likelihoods[k][i] for i, k in enumerate(picks[:, side])]),
            )
            for side in (0, 1)
        ]

    def headline(self, after, before, chosen: np.ndarray) -> dict[str, tuple[float, float]]:
        """(p, adjusted p) of each headline score on the chosen questions."""
        scorer = Scorer(self.persona, self.scorer.style, self.scorer.profile, [self.questions[i] for i in chosen])
        found = []
        for name, (completions, likelihoods) in (("after", after), ("before", before)):
            rows = likelihoods[chosen]
            answers = scorer.score([completions[i] for i in chosen], rows[:, 0], ranks_of(rows.tolist()))
            found.append(scorer.condition(name, "", [answers]))
        return {
            key: (d.p, d.p_adjusted) for (_, key), d in compare_conditions(found[0], [found[1]], scorer.profile).items()
        }

    def habits(self, after: list[str], before: list[str]) -> dict[str, float]:
        """Adjusted p of each countable habit, and of how long the longest copied run is."""
        a, b = measure(self.features, after), measure(self.features, before)
        for texts, values in ((after, a), (before, b)):
            values["copied run"] = np.array([len(copied(text, self.person_train).span) for text in texts], float)
        return {key: d.p_adjusted for key, d in together({key: difference(a[key], b[key]) for key in a}).items()}


def said(text: str) -> Completion:
    """A completion with this final answer."""
    return Completion(f"{FINAL}{text}<|return|>", (HarmonyMessage("assistant", "final", text, True),), 1, True)


def casual(text: str) -> str:
    """A polite text with its polite forms taken out."""
    for polite, plain in CASUAL:
        text = text.replace(polite, plain)
    return text


def planted(world: World) -> dict[str, tuple[str, Callable]]:
    """What is done to a share of one condition's answers: name -> (the score that should see it, function)."""
    facts = known_facts(world.persona)

    def swapped(i: int, text: str, rng: np.random.Generator) -> str:
        text = normalised(world.questions[i].reference)
        for mark in world.questions[i].facts:
            fact = facts[mark.id]
            for alias in fact.aliases if fact.contradicted_by else []:
                text = re.sub(re.escape(normalised(alias)), fact.contradicted_by[0], text)
        return text

    return {
        "politeness removed": ("polite forms", lambda i, text, rng: casual(text)),
        "w added": ("laughter", lambda i, text, rng: text.rstrip("。") + "w"),
        "copied from training": ("copied run", lambda i, text, rng: str(rng.choice(world.person_train))),
        "the person's own answers": ("style", lambda i, text, rng: world.questions[i].reference),
        "facts swapped in the person's own answers": ("facts_said", swapped),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persona", default="data/masaki")
    parser.add_argument("--resamplings", type=int, default=200)
    parser.add_argument("--out", default=str(repository_root() / "benchmarks/results/evaluation.json"))
    options = parser.parse_args()
    world, n = World(options.persona), options.resamplings
    everything = np.arange(len(world.questions))

    false = {score.key: Counter() for score in HEADLINES}
    rng = np.random.default_rng(0)
    for _ in range(n):
        for key, (p, adjusted) in world.headline(*world.two_conditions(rng), everything).items():
            false[key].update(alone=p < 0.05, adjusted=adjusted < 0.05)
    rows = []
    for score in HEADLINES:
        found = share(false[score.key]["adjusted"], n)
        alone = share(false[score.key]["alone"], n)
        rows.append(
            {
                "score": score.label,
                "false positives": f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]",
                "without the correction": f"{alone.value:.1%} [{alone.low:.1%}, {alone.high:.1%}]",
            }
        )
    print(f"base against base, {len(everything)} questions, {n} resamplings\n\n{markdown_table(rows)}", flush=True)

    detected = []
    for name, (score, plant) in planted(world).items():
        row = {"planted": name, "seen by": score}
        for size, part in ((30, 1.0), (30, 0.5), (30, 0.2), (15, 1.0), (15, 0.5)):
            rng, hits = np.random.default_rng(1), 0
            for _ in range(n):
                (a, ll), before = world.two_conditions(rng)
                if name.startswith("facts swapped"):  # against the same answers with their facts left alone
                    before = ([said(q.reference) for q in world.questions], before[1])
                    a = before[0]
                chosen = rng.choice(everything, min(size, len(everything)), replace=False)
                changed = set(rng.choice(chosen, round(part * len(chosen)), replace=False).tolist())
                after = [said(plant(i, c.answer or "", rng)) if i in changed else c for i, c in enumerate(a)]
                if score in false:
                    hits += world.headline((after, ll), before, chosen)[score][1] < 0.05
                else:
                    texts = [[side[i].answer or "" for i in chosen] for side in (after, before[0])]
                    hits += world.habits(*texts)[score] < 0.05
            row[f"{size} questions, {part:.0%}"] = f"{hits / n:.0%}"
        detected.append(row)
        print(row, flush=True)
    print(f"\nplanted in a share of one condition's answers: how often it is found\n\n{markdown_table(detected)}")
    accuracy = world.scorer.style.cross_validated_accuracy
    hana = [pair.answer for pair in read_persona(resolve("tests/personas/hana")).train]
    third = share(int((world.scorer.style.probabilities(hana) > 0.5).sum()), len(hana))
    print(
        f"style classifier: {accuracy:.0%} in cross-validation; of another casual person's {len(hana)} answers it "
        f"takes {third.value:.0%} [{third.low:.0%}, {third.high:.0%}] for this one's"
    )
    own = world.scorer.profile
    print(
        f"n-gram distance to the person: own test answers {own.distance([q.reference for q in world.questions]):.2f}, "
        f"another casual person {own.distance(hana):.2f}, base {own.distance(world.base_train):.2f}"
    )
    write_text(
        options.out, json.dumps({"false_positives": rows, "detection": detected}, ensure_ascii=False, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
