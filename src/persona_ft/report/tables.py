"""A comparison as rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from persona_ft.evaluate.schema import (
    AFTER,
    BEFORE,
    HEADLINE,
    HEADLINES,
    PERSON,
    SCORES,
    VERDICTS,
    Comparison,
    DifferenceModel,
    IntervalModel,
    Score,
)
from persona_ft.evaluate.statistics import Difference, word_for

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

Rows = list[dict[str, Any]]


def text_table(frame: pd.DataFrame) -> Styler:
    """A table of sentences as a notebook should show it: whole, from the left, and people's words as text: no HTML, and
    no formula, which could hold a link that runs a script."""
    import pandas as pd

    pd.set_option("display.html.use_mathjax", False)  # plain tables escape HTML themselves
    left = [{"selector": "th, td", "props": [("text-align", "left"), ("vertical-align", "top")]}]
    table = frame.style.set_table_styles(left).set_table_attributes('class="tex2jax_ignore mathjax_ignore"')
    table = table.format(escape="html")
    for axis in (0, 1):
        table = table.format_index(escape="html", axis=axis).format_index_names(escape="html", axis=axis)
    return table


def text_of(interval: IntervalModel, score: Score) -> str:
    """A value with its interval, as tables show it."""
    if interval.value is None:
        return "–"
    if interval.low is None or interval.high is None:  # one question alone
        return f"{interval.value:.2f}"
    form = ".0%" if score.is_share else ".2f"
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def score_rows(comparison: Comparison) -> Rows:
    """The headline scores as rows of text: a column a condition, and the person's own test answers.

    ★ is the best condition; ≈ one that cannot be told from it (p > 0.05, Holm over them). No mark: all are the same.
    """
    rows = []
    for score in HEADLINES:
        found = {name: scores[score.key] for name, scores in comparison.summary.items()}
        best, values = comparison.best[score.key], {name: interval.value for name, interval in found.items()}
        marks = dict.fromkeys(best, " ≈") | {name: " ★" for name, v in values.items() if best and v == values[best[0]]}
        if len(set(values.values())) == 1:
            marks = {}
        row = {name: text_of(interval, score) + marks.get(name, "") for name, interval in found.items()}
        own = comparison.person.get(score.key)
        rows.append({"score": score.label, **row, PERSON: text_of(own, score) if own else ""})
    return rows


def difference_text(d: Difference | DifferenceModel) -> str:
    """A difference with its interval, its adjusted p, and what may be said of it."""
    return f"{d.mean:+.2f} [{d.low:+.2f}, {d.high:+.2f}], p = {d.p_adjusted:.2g}: {word_for(d)}"


def difference_rows(comparison: Comparison) -> Rows:
    """The paired differences as rows of text: ``tuned + prompt`` minus each other condition, with Holm's p over all;
    better or worse is said where that is below 0.05."""
    rows: dict[str, dict[str, str]] = {}
    for d in comparison.differences:
        row = rows.setdefault(d.score, {"score": SCORES[d.score].label})
        row[f"minus {d.before}"] = difference_text(d)
    return list(rows.values())


def count_rows(comparison: Comparison) -> Rows:
    """What is counted beside the scores, as rows of text."""
    rows: dict[str, dict[str, str]] = {}
    for condition, counts in comparison.counts.items():
        for name, number in counts.items():
            rows.setdefault(name, {"count": name})[condition] = "–" if number is None else f"{number:.3g}"
    return list(rows.values())


def fact_rows(comparison: Comparison) -> Rows:
    """Verdicts on facts by where they are stated: supported / contradicted / absent for each condition."""
    rows = []
    for where, label, right in (
        ("train", "stated in training", "supported"),
        ("prompt", "stated in the prompt alone", "supported"),
        ("never", "never stated", "absent"),
    ):
        row = {"facts": f"{label}: {' / '.join(VERDICTS)} (right: {right})"}
        for condition, table in comparison.facts.items():
            row[condition] = " / ".join(str(table[where][verdict]) for verdict in VERDICTS)
        rows.append(row)
    return rows


def picked(comparison: Comparison, n: int = 3) -> tuple[list[int], list[int]]:
    """The questions to read first, by rule: n answers of ``tuned + prompt`` that pass the headline, those that fit
    their question best; and n that do not, no usable answer first, then those that fit it least."""
    after = comparison.condition(AFTER)
    passed = after.values(HEADLINE.key) > 0.5
    fit = [float("-inf") if a.problem or a.sense is None else a.sense for a in after.answers]
    order = sorted(range(len(fit)), key=lambda i: (-fit[i], i))
    return [i for i in order if passed[i]][:n], [i for i in order[::-1] if not passed[i]][:n]


def side_by_side(comparison: Comparison, chosen: Sequence[int]) -> Rows:
    """Some questions as rows of text: the answers before and after, the person's, and the training answer nearest to
    the one after."""
    before, after = (comparison.condition(name).answers for name in (BEFORE, AFTER))
    rows = []
    for i in chosen:
        question = comparison.questions[i]
        row = {"": question.id, "question": question.question, BEFORE: before[i].text, AFTER: after[i].text}
        rows.append(row | {PERSON: question.reference, "nearest training answer": after[i].nearest})
    return rows


def general_rows(general: dict[str, Any]) -> Rows:
    """What was lost, in words: right answers of base and tuned, and the likelihood of the right answer."""
    change, low, high = general["likelihood_change"]
    likelihoods = f"{general['base_likelihood']:.2f} → {general['tuned_likelihood']:.2f}"
    values = {
        "right, base": f"{general['base_right']} of {general['n']}",
        "right, tuned": f"{general['tuned_right']} of {general['n']}",
        "right before and wrong now": f"{general['lost']} (sign test: p = {general['p']:.2g})",
        "log-likelihood of the right answer, nats per token": f"{likelihoods}, {change:+.2f} [{low:+.2f}, {high:+.2f}]",
    }
    return [{"general questions": name, "value": value} for name, value in values.items()]


def answer_rows(comparison: Comparison) -> Rows:
    """One row a question and condition, as answers.csv holds them."""
    rows = []
    for condition in comparison.conditions:
        for question, answer in zip(comparison.questions, condition.answers, strict=True):
            asked = question.model_dump(include={"id", "category", "question", "reference"})
            facts = "; ".join(f"{fact}: {found.verdict}" for fact, found in answer.facts.items())
            rows.append(asked | {"condition": condition.name} | answer.model_dump(exclude={"facts"}) | {"facts": facts})
    return rows


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of text as a Markdown table; empty without rows."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    cells = ((" ".join(str(v).replace("|", "\\|").replace("<", "&lt;").split()) for v in line) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"
