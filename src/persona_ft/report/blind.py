"""People as the reference: which of two answers sounds more like the person, without knowing whose answer it is.

Which answer is shown as A is drawn by a seed and kept in ``blind_key.json``; a sheet for a friend does not hold it.
Votes are written one by one, so that a closed tab loses none.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from persona_ft.errors import PersonaError
from persona_ft.evaluate.statistics import sign_test
from persona_ft.io import append_line, digest, mend_last_line, write_text
from persona_ft.report.render import render_page

if TYPE_CHECKING:
    from ipywidgets import Widget

Choice = Literal["A", "B", "same"]
CHOICES: tuple[Choice, ...] = ("A", "B", "same")
VOTES, KEY, SHEET = "blind_votes.jsonl", "blind_key.json", "blind_sheet.html"


@dataclass(frozen=True)
class Pair:
    """A question and two answers, in the order in which they are shown."""

    id: str
    question: str
    A: str
    B: str


@dataclass(frozen=True)
class Tally:
    """Votes for each condition, for neither, and the exact sign test on those that chose."""

    conditions: tuple[str, str]
    first: int
    second: int
    same: int
    p: float

    def __str__(self) -> str:
        n = self.first + self.second
        return (
            f"{self.conditions[1]} over {self.conditions[0]}: {self.second} of {n} that chose, {self.same} the same, "
            f"sign test p = {self.p:.2g}"
        )


class BlindTest:
    """A blind comparison of two conditions in a run folder, resumable.

    Parameters
    ----------
    folder : the run folder.
    conditions : the two conditions' names.
    questions : (id, question, the first condition's answer, the second's) for each question.
    seed : for the order of questions and of answers.

    Votes on other answers that the folder holds are moved aside, with their key.
    """

    def __init__(
        self, folder: Path, conditions: tuple[str, str], questions: Sequence[tuple[str, str, str, str]], seed: int = 0
    ) -> None:
        self.folder, self.conditions = Path(folder), conditions
        draw = random.Random(seed)
        order = draw.sample(list(questions), len(questions))
        self.swapped = {row[0]: draw.random() < 0.5 for row in order}
        self.pairs = [Pair(i, q, b, a) if self.swapped[i] else Pair(i, q, a, b) for i, q, a, b in order]
        key = {"conditions": list(conditions), "pairs": [asdict(pair) for pair in self.pairs], "swapped": self.swapped}
        path = self.folder / KEY
        self.sheet = digest(json.dumps(key, ensure_ascii=False, sort_keys=True))[:16]
        if path.exists() and (self.folder / VOTES).exists() and _read_key(path) != key:
            number = next(n for n in range(1, 10_000) if not (self.folder / f"blind_votes-{n}.jsonl").exists())
            (self.folder / VOTES).rename(self.folder / f"blind_votes-{number}.jsonl")
            path.rename(self.folder / f"blind_key-{number}.json")
            print(f"the votes that were here are on other answers: blind_votes-{number}.jsonl now")
        write_text(path, json.dumps(key, ensure_ascii=False, indent=1) + "\n")
        mend_last_line(self.folder / VOTES)

    def votes(self) -> dict[str, Choice]:
        """The votes so far by question, undone ones left out; a line that was cut off by a crash is ignored."""
        return read_votes(self.folder / VOTES) if (self.folder / VOTES).exists() else {}

    def vote(self, pair_id: str, choice: Choice | None) -> None:
        """Write one vote to the disk before anything else happens; None takes the question's vote back."""
        if choice is not None and choice not in CHOICES:
            raise PersonaError(f"{choice!r} is no choice", f"use one of {', '.join(CHOICES)}")
        append_line(self.folder / VOTES, json.dumps({"id": pair_id, "vote": choice}) + "\n")

    def next(self) -> Pair | None:
        """The first pair without a vote."""
        done = self.votes()
        return next((pair for pair in self.pairs if pair.id not in done), None)

    def undo(self) -> Pair | None:
        """Take the latest vote back and return its pair."""
        done = list(self.votes())
        if not done:
            return None
        self.vote(done[-1], None)
        return next(pair for pair in self.pairs if pair.id == done[-1])

    def tally(self, votes: dict[str, Choice] | None = None) -> Tally:
        """Count votes by condition: those in the folder, or a friend's."""
        counts = [0, 0, 0]
        for pair_id, choice in (self.votes() if votes is None else votes).items():
            if pair_id not in self.swapped:
                raise PersonaError(
                    f"there is a vote on {pair_id[:40]!r}, which is not asked", "read the sheet of this run"
                )
            counts[2 if choice == "same" else int((choice == "B") != self.swapped[pair_id])] += 1
        p = sign_test([1.0] * counts[1] + [0.0] * counts[0], [0.5] * (counts[0] + counts[1]))[2]
        return Tally(self.conditions, *counts, p)

    def export(self, name: str) -> Path:
        """Write the sheet for a friend: one HTML file, every text escaped, without the key and without a network."""
        page = render_page("blind", name=name, pairs=self.pairs, sheet=self.sheet)
        return write_text(self.folder / SHEET, page)


def _read_key(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_votes(path: Path | str, sheet: str | None = None) -> dict[str, Choice]:
    """Read votes: the folder's own file, or what a friend's sheet saved.

    Parameters
    ----------
    sheet : :attr:`BlindTest.sheet`; votes that name another sheet are refused.

    Raises
    ------
    PersonaError
        Names file and line of what is no vote; the last line may be cut off.
    """
    path, found = Path(path), {}
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PersonaError("the votes cannot be read", "give the file that the sheet saved", path) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                break
            raise PersonaError("this is no vote", "remove the line", path, number) from error
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or "vote" not in row:
            raise PersonaError("this is no vote", "remove the line", path, number)
        pair_id, choice = row["id"], row["vote"]
        if sheet and row.get("sheet", sheet) != sheet:
            raise PersonaError(
                "these votes are on other answers", "send the new sheet, or read them in their own run", path
            )
        found.pop(pair_id, None)
        if choice in CHOICES:
            found[pair_id] = choice
        elif choice is not None:
            raise PersonaError("this is no choice", f"use one of {', '.join(CHOICES)}", path, number)
    return found


def blind_form(test: BlindTest) -> Widget:
    """The form in a notebook: buttons, or a letter and Enter in the field (a, b, s for the same, u for undo)."""
    import ipywidgets as widgets

    at = widgets.HTML()
    shown = [widgets.HTML() for _ in range(3)]
    buttons = [widgets.Button(description=text) for text in ("A", "B", "the same", "undo")]
    field = widgets.Text(placeholder="a, b, s or u, then Enter", continuous_update=False)
    box = widgets.VBox([at, *shown, widgets.HBox(buttons), field])

    def show() -> None:
        from html import escape

        pair, done = test.next(), len(test.votes())
        at.value = f"{done} of {len(test.pairs)}" + ("" if pair else f": done. {escape(str(test.tally()))}")
        texts = (pair.question, f"A: {pair.A}", f"B: {pair.B}") if pair else ("", "", "")
        for place, text in zip(shown, texts, strict=True):
            place.value = escape(text)
        for button in buttons[:3]:
            button.disabled = pair is None

    def choose(choice: Choice | None) -> None:
        pair = test.next()
        if choice is None:
            test.undo()
        elif pair:
            test.vote(pair.id, choice)
        show()

    for button, choice in zip(buttons, (*CHOICES, None), strict=True):
        button.on_click(lambda _, choice=choice: choose(choice))

    def typed(change: dict[str, Any]) -> None:
        choices = {"a": "A", "b": "B", "s": "same", "u": None}
        letter = change["new"].strip().lower()
        if letter in choices:
            choose(choices[letter])  # type: ignore[arg-type]
        if letter:
            field.value = ""

    field.observe(typed, names="value")
    show()
    return box
