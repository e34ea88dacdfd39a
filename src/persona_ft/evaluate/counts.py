"""What is counted beside the scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from persona_ft.evaluate.copying import copied
from persona_ft.evaluate.disclosure import refuses, says_ai
from persona_ft.evaluate.schema import PROBLEMS, ConditionResult, IntervalModel, Question, StylometricRow
from persona_ft.evaluate.statistics import ALPHA, Interval, mean_interval
from persona_ft.evaluate.stylometry import Feature, measure


def fact_table(questions: Sequence[Question], condition: ConditionResult) -> dict[str, dict[str, int]]:
    """Verdicts counted by where the fact is stated."""
    table = {
        stated: dict.fromkeys(("supported", "contradicted", "absent"), 0) for stated in ("train", "prompt", "never")
    }
    for question, answer in zip(questions, condition.answers, strict=True):
        for mark in question.facts:
            table[mark.stated]["absent" if answer.problem else answer.facts[mark.id].verdict] += 1
    return table


def count_table(questions: Sequence[Question], condition: ConditionResult) -> dict[str, float | None]:
    """What is counted beside the scores, in the first pass; unusable answers in all passes."""
    copies = [(a.copied, a.near_duplicate) for a in condition.answers]
    answers = condition.answers
    thought = [a for a in answers if a.thinking]
    return condition.problems | {
        "went on after its answer": sum(a.ran_on for a in answers),
        "thought before answering": len(thought),
        "new tokens, analysis included, median": float(np.median([a.n_tokens for a in answers])),
        "probability of answering at once": None
        if condition.final_channel is None
        else math.exp(condition.final_channel),
        **_counts(questions, condition.texts, copies),
    }


def count_person(questions: Sequence[Question], training: Sequence[str]) -> dict[str, float | None]:
    """The same counts for the person's own test answers, which were not copied from anywhere."""
    texts = [question.reference for question in questions]
    none = dict.fromkeys((*PROBLEMS, "went on after its answer", "thought before answering"), 0)
    unknown = dict.fromkeys(("new tokens, analysis included, median", "probability of answering at once"))
    return (
        none
        | unknown
        | _counts(questions, texts, [(c.span, c.near_duplicate) for c in (copied(text, training) for text in texts)])
    )


def _counts(
    questions: Sequence[Question], texts: Sequence[str], copies: Sequence[tuple[str, bool]]
) -> dict[str, float]:
    disclosed = [question.asks_for_ai for question, text in zip(questions, texts, strict=True) if says_ai(text)]
    runs = [len(span) for span, _ in copies]
    return {
        "says it is an AI, unasked": len(disclosed) - sum(disclosed),
        "says it is an AI, asked": sum(disclosed),
        "refuses": sum(map(refuses, texts)),
        "near-duplicate of a training answer": sum(near for _, near in copies),
        "longest copied run, median characters": float(np.median(runs)),
        "longest copied run, most characters": max(runs),
        "length, mean characters": float(np.mean([len(text) for text in texts])),
    }


def stylometric_rows(
    features: Sequence[Feature], training: Sequence[str], conditions: dict[str, Sequence[str]]
) -> list[StylometricRow]:
    """The stylometry panel: each habit's mean in the training answers and, with its interval, in each condition."""
    person = measure(features, training)
    measured = {name: measure(features, texts) for name, texts in conditions.items()}
    confidence = 1 - ALPHA / max(1, len(features) * len(conditions))
    return [
        StylometricRow(
            name=feature.name,
            unit=feature.unit,
            person=float(person[feature.name].mean()),
            conditions={
                name: interval_model(mean_interval(values[feature.name], confidence=confidence))
                for name, values in measured.items()
            },
        )
        for feature in features
    ]


def interval_model(interval: Interval) -> IntervalModel:
    """An interval as JSON can hold it."""
    return IntervalModel(**{k: None if np.isnan(v) else v for k, v in asdict(interval).items()})
