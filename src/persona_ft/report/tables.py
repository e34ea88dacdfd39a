"""A comparison as rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from persona_ft.evaluate.schema import AFTER, BEFORE, HEADLINE, HEADLINES, SCORES, Comparison, IntervalModel, Score

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler


def text_table(frame: pd.DataFrame) -> Styler:
    """A table of sentences as a notebook should show it: whole, from the left, and people's words as text: no HTML, and
    no formula, which could hold a link that runs a script."""
    import pandas as pd

    pd.set_option("display.html.use_mathjax", False)  # plain tables escape HTML themselves
    left = [{"selector": "th, td", "props": [("text-align", "left"), ("vertical-align", "top")]}]
    table = frame.style.set_table_styles(left).set_table_attributes('class="tex2jax_ignore mathjax_ignore"')
    table = table.format(escape="html").format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    return table.format_index_names(escape="html", axis=0).format_index_names(escape="html", axis=1)


def text_of(interval: IntervalModel, score: Score) -> str:
    """A value with its interval, as tables show it."""
    if interval.value is None:
        return "–"
    if interval.low is None or interval.high is None:  # one question alone
        return f"{interval.value:.2f}"
    if score.is_share:
        return f"{interval.value:.0%} [{interval.low:.0%}, {interval.high:.0%}]"
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def score_rows(comparison: Comparison) -> list[dict[str, str]]:
    """The headline scores as rows of text: a column a condition, and the person's own test answers.

    ★ is the best condition; ≈ one that cannot be told from it (p > 0.05, Holm over them). No mark: all are the same.
    """
    best, rows = comparison.best, []
    for score in HEADLINES:
        row = {"score": score.label}
        values = {
            condition.name: comparison.summary[condition.name][score.key].value for condition in comparison.conditions
        }
        for name, value in values.items():
            mark = ""
            if best[score.key] and len(set(values.values())) > 1:
                mark = " ★" if value == values[best[score.key][0]] else " ≈" if name in best[score.key] else ""
            row[name] = text_of(comparison.summary[name][score.key], score) + mark
        row["the person"] = text_of(comparison.person[score.key], score) if score.key in comparison.person else ""
        rows.append(row)
    return rows


def difference_text(score: Score, mean: float, low: float, high: float, p_adjusted: float) -> str:
    """A difference with its interval, its adjusted p, and what may be said of it."""
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}], p = {p_adjusted:.2g}: {score.word(mean, p_adjusted)}"


def difference_rows(comparison: Comparison) -> list[dict[str, str]]:
    """The paired differences as rows of text: ``tuned + prompt`` minus each other condition, with Holm's p over all;
    better or worse is said where that is below 0.05."""
    rows: dict[str, dict[str, str]] = {}
    for d in comparison.differences:
        row = rows.setdefault(d.score, {"score": SCORES[d.score].label})
        row[f"minus {d.before}"] = difference_text(SCORES[d.score], d.mean, d.low, d.high, d.p_adjusted)
    return list(rows.values())


def count_rows(comparison: Comparison) -> list[dict[str, str]]:
    """What is counted beside the scores, as rows of text."""
    names = list(next(iter(comparison.counts.values())))
    return [
        {
            "count": name,
            **{
                condition: "–" if counts[name] is None else f"{counts[name]:.3g}"
                for condition, counts in comparison.counts.items()
            },
        }
        for name in names
    ]


def fact_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Verdicts on facts by where they are stated: supported / contradicted / absent for each condition."""
    wanted = {"train": "supported", "prompt": "supported", "never": "absent"}
    labels = {"train": "stated in training", "prompt": "stated in the prompt alone", "never": "never stated"}
    return [
        {"facts": f"{labels[where]}: supported / contradicted / absent (right: {right})"}
        | {
            condition: " / ".join(str(table[where][v]) for v in ("supported", "contradicted", "absent"))
            for condition, table in comparison.facts.items()
        }
        for where, right in wanted.items()
    ]


def picked(comparison: Comparison, n: int = 3) -> tuple[list[int], list[int]]:
    """The questions to read first, by rule: n answers of ``tuned + prompt`` that pass the headline, those that fit
    their question best; and n that do not, no usable answer first, then those that fit it least."""
    answers = comparison.condition(AFTER).answers
    passed = comparison.condition(AFTER).values(HEADLINE.key) > 0.5

    def fit(i: int) -> float:
        return float("-inf") if answers[i].problem or answers[i].sense is None else answers[i].sense

    order = sorted(range(len(answers)), key=lambda i: (-fit(i), i))
    return [i for i in order if passed[i]][:n], [i for i in order[::-1] if not passed[i]][:n]


def side_by_side(comparison: Comparison, chosen: Sequence[int]) -> list[dict[str, str]]:
    """Some questions as rows of text: the answers before and after, the person's, and the training answer nearest to
    the one after."""
    before, after = (comparison.condition(name).answers for name in (BEFORE, AFTER))
    return [
        {"": q.id, "question": q.question, BEFORE: before[i].text, AFTER: after[i].text}
        | {"the person": q.reference, "nearest training answer": after[i].nearest}
        for i, q in ((i, comparison.questions[i]) for i in chosen)
    ]


def general_rows(general: dict[str, Any]) -> list[dict[str, str]]:
    """What was lost, in words: right answers of base and tuned, and the likelihood of the right answer."""
    change, low, high = general["likelihood_change"]
    return [
        {"general questions": "right, base", "value": f"{general['base_right']} of {general['n']}"},
        {"general questions": "right, tuned", "value": f"{general['tuned_right']} of {general['n']}"},
        {
            "general questions": "right before and wrong now",
            "value": f"{general['lost']} (sign test: p = {general['p']:.2g})",
        },
        {
            "general questions": "log-likelihood of the right answer, nats per token",
            "value": f"{general['base_likelihood']:.2f} → {general['tuned_likelihood']:.2f}, "
            f"{change:+.2f} [{low:+.2f}, {high:+.2f}]",
        },
    ]


def answer_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a question and condition, as answers.csv holds them."""
    rows = []
    for condition in comparison.conditions:
        for question, answer in zip(comparison.questions, condition.answers, strict=True):
            verdicts = "; ".join(f"{fact}: {found.verdict}" for fact, found in answer.facts.items())
            fields = answer.model_dump(exclude={"facts"})
            rows.append(
                {"id": question.id, "category": question.category, "question": question.question}
                | {"reference": question.reference, "condition": condition.name}
                | fields
                | {"facts": verdicts}
            )
    return rows


def as_markdown(value: Any) -> str:
    """Words as a line of Markdown that has no table's bar, no HTML, and no link or picture to fetch."""
    return " ".join(str(value).replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(").split())


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of text as a Markdown table."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(map(as_markdown, line)) + " |" for line in lines) + "\n"
