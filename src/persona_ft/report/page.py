"""A comparison as files for people: report.html, comparison.md, answers.csv."""

from __future__ import annotations

import base64
import io
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

from persona_ft.evaluate.schema import AFTER, BEFORE, Comparison
from persona_ft.evaluate.summary import phrases, verdict
from persona_ft.io import write_text
from persona_ft.report.render import render_page
from persona_ft.report.tables import (
    answer_rows,
    as_markdown,
    count_rows,
    difference_rows,
    fact_rows,
    markdown_table,
    picked,
    score_rows,
    side_by_side,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_tables(folder: Path, comparison: Comparison) -> tuple[Path, Path]:
    """Write answers.csv, every answer with its scores, and comparison.md, the tables as text."""
    import pandas as pd

    # Excel reads UTF-8 only with a byte order mark, and runs what begins with = + - @ as a formula.
    frame = pd.DataFrame(answer_rows(comparison))
    texts = frame.select_dtypes(exclude="number").columns
    frame[texts] = frame[texts].map(lambda v: f"'{v}" if isinstance(v, str) and v[:1] in ("=", "+", "-", "@") else v)
    csv = write_text(folder / "answers.csv", "\ufeff" + frame.to_csv(index=False))
    said = (f"Does it sound like {comparison.persona} now?", comparison.protocol, *comparison.verdict)
    parts = ["# " + as_markdown(said[0]), *map(as_markdown, said[1:])]
    parts += [markdown_table(rows) for rows in (score_rows(comparison), difference_rows(comparison))]
    parts += [markdown_table(rows) for rows in (fact_rows(comparison), count_rows(comparison))]
    parts += [markdown_table([{"setting": k, "value": v} for k, v in comparison.setup.items()])]
    return csv, write_text(folder / "comparison.md", "\n\n".join(parts) + "\n")


def marked(before: str, after: str) -> list[tuple[str, bool]]:
    """A text in pieces, each with whether it is new against another text."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return [(after[j1:j2], tag != "equal") for tag, _, _, j1, j2 in matcher.get_opcodes() if j2 > j1]


def write_report(path: Path | str, comparison: Comparison, figures: dict[str, Figure], language: str = "en") -> Path:
    """Write report.html, complete in one file: answers first, then what happened, then the numbers. Every text of a
    person or a model is escaped, and the page's policy lets no script run but its own.

    Parameters
    ----------
    figures : description -> figure, embedded as PNG.
    language : of the page's own words, ``"en"`` or ``"ja"``.
    """
    say = phrases(language)
    after, before = comparison.condition(AFTER).answers, comparison.condition(BEFORE).answers
    changes = {change.id: change for change in comparison.changes}
    good, bad = picked(comparison)
    page = render_page(
        "report",
        say=say,
        language=language,
        comparison=comparison,
        verdict=verdict(comparison, language),
        tables=[
            (say["scores"], score_rows(comparison)),
            (say["differences"], difference_rows(comparison)),
            (say["fact table"], fact_rows(comparison)),
            (say["counts"], count_rows(comparison)),
        ],
        figures=[{"alt": alt, "png": _png(figure)} for alt, figure in figures.items()],
        items=[
            {
                "question": question,
                "answers": [
                    (condition.name, condition.answers[i], marked(before[i].text, condition.answers[i].text))
                    for condition in comparison.conditions
                ],
                "nearest": after[i].nearest,
                "change": changes.get(question.id),
                "style": (after[i].style or 0) - (before[i].style or 0),
                "likelihood": after[i].log_likelihood - before[i].log_likelihood,
            }
            for i, question in enumerate(comparison.questions)
        ],
        picks=[
            (say["good"], say["good rule"], side_by_side(comparison, good)),
            (say["bad"], say["bad rule"], side_by_side(comparison, bad)),
        ],
    )
    return write_text(path, page)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode("ascii")
