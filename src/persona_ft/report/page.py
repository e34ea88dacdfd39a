"""Pages and tables for people, each complete in one file that runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.evaluate.schema import AFTER, BEFORE, Answer, Comparison, Question
from persona_ft.evaluate.summary import phrases, verdict
from persona_ft.io import write_text
from persona_ft.report import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def render_page(template: str, code: str = "", /, **values: Any) -> str:
    """The page of ``template.html.j2`` with its script ``template.js``, or another's; every value is escaped. The
    page's Content-Security-Policy lets this script run, known by its hash, and no other."""
    from jinja2 import Environment, FileSystemLoader

    folder = Path(__file__).parent
    script = (folder / f"{code or template}.js").read_text(encoding="utf-8")
    known = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    environment = Environment(loader=FileSystemLoader(folder), autoescape=True, keep_trailing_newline=True)
    page = environment.get_template(f"{template}.html.j2")
    return page.render(script=script, script_hash=f"sha256-{known}", **values)


def write_tables(folder: Path, comparison: Comparison) -> tuple[Path, Path]:
    """Write answers.csv, every answer with its scores, and comparison.md, the tables as text."""
    import pandas as pd

    # Excel reads UTF-8 only with a byte order mark, and runs what begins with = + - @ as a formula.
    frame = pd.DataFrame(tables.answer_rows(comparison))
    texts = frame.select_dtypes(exclude="number").columns
    frame[texts] = frame[texts].map(lambda v: f"'{v}" if isinstance(v, str) and v[:1] in ("=", "+", "-", "@") else v)
    csv = write_text(folder / "answers.csv", "\ufeff" + frame.to_csv(index=False))
    setup = [{"setting": key, "value": value} for key, value in comparison.setup.items()]
    said = (f"Does it sound like {comparison.persona} now?", comparison.protocol, *comparison.verdict)
    parts = ["# " + tables.as_markdown(said[0]), *map(tables.as_markdown, said[1:])]
    parts += map(tables.markdown_table, [*tables.all_rows(comparison).values(), setup])
    return csv, write_text(folder / "comparison.md", "\n\n".join(parts) + "\n")


def page_item(
    question: Question, answers: Sequence[tuple[str, Answer, str | None]], before: Answer, after: Answer, change: Any
) -> dict[str, Any]:
    """A question as the pages show it: each answer with its name, what the rulers say and, of a tuned one, the training
    answer that is most like it; its text in pieces, each with whether it is new against ``before``; and the gain of
    ``after`` over that, by which a page can be sorted. ``change``: its kind and the evidence for it."""
    shown = []
    for name, answer, nearest in answers:
        style = "" if answer.style is None else f" {answer.style:.2f}"
        label = f"{name}{style}{' ✓' if answer.values(())['headline'] == 1 else ''}"
        pieces = SequenceMatcher(None, before.text, answer.text, autojunk=False).get_opcodes()
        marked = [(answer.text[j1:j2], tag != "equal") for tag, _, _, j1, j2 in pieces if j2 > j1]
        shown.append((label, answer, marked, nearest))
    gains = {"style": (after.style or 0) - (before.style or 0)}
    gains |= {"likelihood": after.log_likelihood - before.log_likelihood}
    return {"question": question, "answers": shown, "change": change} | gains


def write_report(path: Path | str, comparison: Comparison, figures: dict[str, Figure], language: str = "en") -> Path:
    """Write report.html: answers first, then what happened, then the numbers and the figures (description -> figure),
    embedded as PNG. What it will hold is printed first. ``language``: of the page's own words, ``"en"`` or ``"ja"``."""
    say, conditions = phrases(language), comparison.conditions
    print(say["holds"].format(file=Path(path).name, n=len(comparison.questions)))
    after, before = comparison.condition(AFTER).answers, comparison.condition(BEFORE).answers
    changes = {change.id: change for change in comparison.changes}
    items = []
    for i, (question, b, a) in enumerate(zip(comparison.questions, before, after, strict=True)):
        answered = [(c.name, c.answers[i], c.answers[i].nearest if "tuned" in c.name else None) for c in conditions]
        items.append(page_item(question, answered, b, a, changes.get(question.id)))
    good, bad = (tables.side_by_side(comparison, chosen) for chosen in tables.picked(comparison))
    page = render_page(
        "report",
        say=say,
        language=language,
        comparison=comparison,
        verdict=verdict(comparison, language),
        note=say["stars"],
        marked=say["marked"],
        tables=[(say[title], rows) for title, rows in tables.all_rows(comparison).items()],
        figures=[{"alt": alt, "png": _png(figure)} for alt, figure in figures.items()],
        items=items,
        picks=[(say["good"], say["good rule"], good), (say["bad"], say["bad rule"], bad)],
    )
    return write_text(path, page)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode("ascii")
