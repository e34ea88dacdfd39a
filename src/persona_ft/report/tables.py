"""A comparison as rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from persona_ft.evaluate.schema import AFTER, BEFORE, HEADLINES, PERSON, SCORES, VERDICTS, Comparison, Score
from persona_ft.evaluate.statistics import Difference, Interval, word_for

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


def rows_of(title: str, columns: dict[str, dict[str, str]]) -> Rows:
    """Columns (name -> row -> text) as rows of text; the first entry of each is its own name, under ``title``."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [{title: name} | {head: column.get(name, "") for head, column in columns.items()} for name in names]


def text_of(interval: Interval, score: Score) -> str:
    """A value with its interval, as tables show it."""
    if interval.value is None or interval.value != interval.value:
        return "–"
    if interval.low is None or interval.high is None:  # one question alone
        return f"{interval.value:.2f}"
    form = ".0%" if score.is_share else ".2f"
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def difference_text(d: Difference) -> str:
    """A difference with its interval, its adjusted p, and what may be said of it."""
    return f"{d.mean:+.2f} [{d.low:+.2f}, {d.high:+.2f}], p = {d.p_adjusted:.2g}: {word_for(d)}"


def score_rows(comparison: Comparison) -> Rows:
    """The headline scores as rows of text: a column a condition, and the person's own test answers.

    ★ is the best condition; ≈ one that cannot be told from it (p > 0.05, Holm over them). No mark: all are the same."""

    def mark(name: str, key: str) -> str:
        best, values = comparison.best[key], {n: found[key].value for n, found in comparison.summary.items()}
        if not best or len(set(values.values())) == 1:
            return ""
        return " ★" if values[name] == values[best[0]] else " ≈" if name in best else ""

    columns = {
        name: {score.label: text_of(found[score.key], score) + mark(name, score.key) for score in HEADLINES}
        for name, found in comparison.summary.items()
    }
    own = {SCORES[key].label: text_of(interval, SCORES[key]) for key, interval in comparison.person.items()}
    return rows_of("score", columns | {PERSON: own})


def difference_rows(comparison: Comparison) -> Rows:
    """The paired differences as rows of text: ``tuned + prompt`` minus each other condition, with Holm's p over all;
    better or worse is said where that is below 0.05."""
    columns: dict[str, dict[str, str]] = {}
    for d in comparison.differences:
        columns.setdefault(f"minus {d.before}", {})[SCORES[d.score].label] = difference_text(d)
    return rows_of("score", columns)


def count_rows(comparison: Comparison) -> Rows:
    """What is counted beside the scores, as rows of text."""
    columns = {
        condition: {name: "–" if number is None else f"{number:.3g}" for name, number in counts.items()}
        for condition, counts in comparison.counts.items()
    }
    return rows_of("count", columns)


def fact_rows(comparison: Comparison) -> Rows:
    """Verdicts on facts by where they are stated: supported / contradicted / absent for each condition."""
    order = " / ".join(VERDICTS)
    labels = {
        "train": f"stated in training: {order} (right: supported)",
        "prompt": f"stated in the prompt alone: {order} (right: supported)",
        "never": f"never stated: {order} (right: absent)",
    }
    columns = {
        condition: {label: " / ".join(str(table[where][v]) for v in VERDICTS) for where, label in labels.items()}
        for condition, table in comparison.facts.items()
    }
    return rows_of("facts", columns)


def all_rows(comparison: Comparison) -> dict[str, Rows]:
    """The four tables of numbers, by their keys in phrases.yaml."""
    made = {"scores": score_rows, "differences": difference_rows, "fact table": fact_rows, "counts": count_rows}
    return {title: make(comparison) for title, make in made.items()}


def picked(comparison: Comparison, n: int = 3) -> tuple[list[int], list[int]]:
    """The questions to read first, by rule: n answers of ``tuned + prompt`` that pass the headline, those that fit
    their question best; and n that do not, no usable answer first, then those that fit it least."""
    after = comparison.condition(AFTER)
    passed = after.values("headline") > 0.5
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
    return rows_of("general questions", {"value": values})


def answer_rows(comparison: Comparison) -> Rows:
    """One row a question and condition, as answers.csv holds them."""
    rows = []
    for condition in comparison.conditions:
        for question, answer in zip(comparison.questions, condition.answers, strict=True):
            asked = question.model_dump(include={"id", "category", "question", "reference"})
            facts = "; ".join(f"{fact}: {found.verdict}" for fact, found in answer.facts.items())
            rows.append(asked | {"condition": condition.name} | answer.model_dump(exclude={"facts"}) | {"facts": facts})
    return rows


def as_markdown(value: Any) -> str:
    """Words as a line of Markdown that has no table's bar, no HTML, and no link or picture to fetch."""
    return " ".join(str(value).replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(").split())


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of text as a Markdown table; empty without rows."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(map(as_markdown, line))} |" for line in lines) + "\n"
