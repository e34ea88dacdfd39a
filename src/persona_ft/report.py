"""One comparison as data (comparison.json, answers.csv), as text (comparison.md) and as a page (report.html)."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from difflib import SequenceMatcher
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.conversation import write_text
from persona_ft.errors import PersonaError
from persona_ft.evaluation.comparison import AFTER, BEFORE, HEADLINES, SCORES, Comparison, IntervalModel, Score
from persona_ft.pages import render_page
from persona_ft.settings import shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from pandas.io.formats.style import Styler

STACK = {
    "unsloth": "loads gpt-oss in 4 bit and makes it trainable on one card",
    "unsloth_zoo": "its patches for each model and library version",
    "transformers": "the model classes and the tokenizer",
    "peft": "LoRA",
    "trl": "SFTTrainer, supervised fine-tuning",
    "bitsandbytes": "NF4, the 4-bit numbers, and 8-bit AdamW",
    "accelerate": "puts model and batches on the device",
    "datasets": "holds the training rows",
    "torch": "tensors and gradients",
}


def versions() -> dict[str, str]:
    """Installed versions of the stack; a package that is missing is left out."""
    found = {}
    for name in STACK:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_comparison(path: Path | str, comparison: Comparison) -> Path:
    """Write comparison.json; its schema is :class:`~persona_ft.evaluation.comparison.Comparison`."""
    return write_text(path, comparison.model_dump_json(indent=1) + "\n")


def read_comparison(path: Path | str) -> Comparison:
    """Read what :func:`write_comparison` wrote.

    Raises
    ------
    PersonaError
        The file is missing, or is not a comparison of this version.
    """
    path = Path(path)
    try:
        return Comparison.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PersonaError(
            "there is no comparison", "run notebook 04_compare with the same RUN", shown(path)
        ) from error
    except ValueError as error:
        raise PersonaError(
            "this is no comparison of this version", "run notebook 04_compare again", shown(path)
        ) from error


def text_table(frame: pd.DataFrame) -> Styler:
    """A table of sentences as a notebook should show it: whole, and from the left."""
    left = [{"selector": "th, td", "props": [("text-align", "left"), ("vertical-align", "top")]}]
    return frame.style.set_table_styles(left)


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
    """The headline scores as rows of text: a column an arm, and the person's own test answers.

    ★ is the best arm; ≈ one that cannot be told from it (p > 0.05, Holm over the arms). No mark: all are the same.
    """
    best, rows = comparison.best, []
    for score in HEADLINES:
        row = {"score": score.label + ("" if score.more_is_better else " (less is better)")}
        values = {arm.name: comparison.summary[arm.name][score.key].value for arm in comparison.arms}
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
    """The paired differences as rows of text: ``tuned + prompt`` minus each other arm, with Holm's p over all of them;
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
                arm: "–" if counts[name] is None else f"{counts[name]:.3g}" for arm, counts in comparison.counts.items()
            },
        }
        for name in names
    ]


def fact_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Verdicts on facts by where they are stated: supported / contradicted / absent for each arm."""
    wanted = {"train": "supported", "prompt": "supported", "never": "absent"}
    labels = {"train": "stated in training", "prompt": "stated in the prompt alone", "never": "never stated"}
    return [
        {"facts": f"{labels[where]}: supported / contradicted / absent (right: {right})"}
        | {
            arm: " / ".join(str(table[where][v]) for v in ("supported", "contradicted", "absent"))
            for arm, table in comparison.facts.items()
        }
        for where, right in wanted.items()
    ]


def rightness(comparison: Comparison) -> str:
    """Is it still right? A sentence on general questions and on whether answers fit their questions."""
    general, true_first = comparison.general, comparison.summary[AFTER]["true_first"]
    said = f"Right: for {AFTER} {true_first.value:.0%} of the person's answers are the likeliest of four, "
    said += "where guessing gives 25%"
    if general is None:
        return said + "."
    said += (
        f"; of {general['n']} general questions it answers {general['tuned_right']}, the base {general['base_right']}"
    )
    return said + (", and a base that answers none has nothing to lose." if not general["base_right"] else ".")


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
    """One row a question and arm, as answers.csv holds them."""
    rows = []
    for arm in comparison.arms:
        for question, answer in zip(comparison.questions, arm.answers, strict=True):
            verdicts = "; ".join(f"{fact}: {found.verdict}" for fact, found in answer.facts.items())
            fields = answer.model_dump(exclude={"facts"})
            rows.append(
                {"id": question.id, "category": question.category, "question": question.question}
                | {"reference": question.reference, "arm": arm.name}
                | fields
                | {"facts": verdicts}
            )
    return rows


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of text as a Markdown table."""

    def cell(value: Any) -> str:
        return " ".join(str(value).replace("|", "\\|").replace("<", "&lt;").split())

    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines) + "\n"


def write_tables(folder: Path, comparison: Comparison) -> tuple[Path, Path]:
    """Write answers.csv, every answer with its scores, and comparison.md, the tables as text."""
    import pandas as pd

    # Excel reads UTF-8 only with a byte order mark, and runs what begins with = + - @ as a formula.
    frame = pd.DataFrame(answer_rows(comparison))
    texts = frame.select_dtypes(exclude="number").columns
    frame[texts] = frame[texts].map(lambda v: f"'{v}" if isinstance(v, str) and v[:1] in ("=", "+", "-", "@") else v)
    csv = write_text(folder / "answers.csv", "\ufeff" + frame.to_csv(index=False))
    parts = [f"# Does it sound like {comparison.persona} now?", comparison.protocol, *comparison.verdict]
    parts += [markdown_table(rows) for rows in (score_rows(comparison), difference_rows(comparison))]
    parts += [markdown_table(rows) for rows in (fact_rows(comparison), count_rows(comparison))]
    parts += [markdown_table([{"setting": k, "value": v} for k, v in comparison.setup.items()])]
    return csv, write_text(folder / "comparison.md", "\n\n".join(parts) + "\n")


def marked(before: str, after: str) -> list[tuple[str, bool]]:
    """A text in pieces, each with whether it is new against another text."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return [(after[j1:j2], tag != "equal") for tag, _, _, j1, j2 in matcher.get_opcodes() if j2 > j1]


def write_report(path: Path | str, comparison: Comparison, figures: dict[str, Figure]) -> Path:
    """Write report.html, complete in one file; every text of a person or a model is escaped, and the page's policy lets
    no script run but its own.

    Parameters
    ----------
    figures : description -> figure, embedded as PNG.
    """
    before = {q.id: a.text for q, a in zip(comparison.questions, comparison.arm(BEFORE).answers, strict=True)}
    page = render_page(
        "report",
        comparison=comparison,
        tables=[
            ("Scores", score_rows(comparison)),
            (f"{AFTER} minus the others, paired by question", difference_rows(comparison)),
            ("Facts: supported / contradicted / absent", fact_rows(comparison)),
            ("Counts", count_rows(comparison)),
        ],
        figures=[{"alt": alt, "png": _png(figure)} for alt, figure in figures.items()],
        items=[
            {
                "question": question,
                "answers": [
                    (arm.name, arm.answers[i], marked(before[question.id], arm.answers[i].text))
                    for arm in comparison.arms
                ],
                "change": next((c for c in comparison.changes if c.id == question.id), None),
                "style": (comparison.arm(AFTER).answers[i].style or 0) - (comparison.arm(BEFORE).answers[i].style or 0),
                "likelihood": comparison.arm(AFTER).answers[i].log_likelihood
                - comparison.arm(BEFORE).answers[i].log_likelihood,
            }
            for i, question in enumerate(comparison.questions)
        ],
        picks=[
            ("What worked", [c for c in comparison.changes if c.good and c.kind != "tone"][:5]),
            ("What failed", [c for c in comparison.changes if not c.good][:5]),
        ],
    )
    return write_text(path, page)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode("ascii")
