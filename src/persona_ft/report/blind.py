"""People as the reference: which of two answers sounds more like the person, without knowing whose answer it is.

Which answer is shown as A is drawn by a seed and kept in ``blind_key.json``; a sheet for a friend does not hold it.
"""

from __future__ import annotations

import json
import random
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from persona_ft.errors import PersonaError, reason_of
from persona_ft.evaluate.statistics import sign_test
from persona_ft.io import append_line, digest, mend_last_line, move_aside, read_text, write_text
from persona_ft.report.page import render_page

if TYPE_CHECKING:
    from ipywidgets import Widget

Choice = Literal["A", "B", "same"]
VOTES, KEY, SHEET = "blind_votes.jsonl", "blind_key.json", "blind_sheet.html"


# A question and two answers, in the order in which they are shown.
Pair = namedtuple("Pair", "id question A B")


class Vote(BaseModel):
    """A line of the votes; None takes the question's vote back. A friend's names the sheet it was given on."""

    id: str
    vote: Choice | None
    sheet: Any = None


@dataclass(frozen=True)
class Tally:
    """Votes for each condition, for neither, and the exact sign test on those that chose."""

    conditions: tuple[str, str]
    first: int
    second: int
    same: int
    p: float

    def __str__(self) -> str:
        first, second = self.conditions
        chose = f"{self.second} of {self.first + self.second} that chose"
        return f"{second} over {first}: {chose}, {self.same} the same, sign test p = {self.p:.2g}"


class BlindTest:
    """A blind comparison of two conditions in a run folder, resumable; votes on other answers that the folder holds are
    moved aside, with their key. ``questions``: (id, question, the first condition's answer, the second's) for each;
    ``seed``: for the order of questions and of answers."""

    def __init__(
        self, folder: Path, conditions: tuple[str, str], questions: Sequence[tuple[str, str, str, str]], seed: int = 0
    ) -> None:
        self.folder, self.conditions = Path(folder), conditions
        draw = random.Random(seed)
        order = draw.sample(list(questions), len(questions))
        self.swapped = {row[0]: draw.random() < 0.5 for row in order}
        self.pairs = [Pair(i, q, b, a) if self.swapped[i] else Pair(i, q, a, b) for i, q, a, b in order]
        shown = [pair._asdict() for pair in self.pairs]
        key = {"conditions": list(conditions), "pairs": shown, "swapped": self.swapped}
        self.sheet = digest(json.dumps(key, ensure_ascii=False, sort_keys=True))[:16]
        text, path, votes = json.dumps(key, ensure_ascii=False, indent=1) + "\n", self.folder / KEY, self.folder / VOTES
        if path.exists() and votes.exists() and path.read_bytes() != text.encode():
            print(f"the votes that were here are on other answers: {move_aside(votes).name} now")
            move_aside(path)
        write_text(path, text)
        mend_last_line(votes)

    def votes(self) -> dict[str, Choice]:
        """The votes so far by question, undone ones left out; a line that was cut off by a crash is ignored."""
        return read_votes(self.folder / VOTES) if (self.folder / VOTES).exists() else {}

    def vote(self, pair_id: str, choice: Choice | None) -> None:
        """Write one vote to the disk before anything else happens; None takes the question's vote back."""
        if choice not in (None, *get_args(Choice)):
            raise PersonaError(f"{choice!r} is no choice", f"use one of {', '.join(get_args(Choice))}")
        append_line(self.folder / VOTES, json.dumps({"id": pair_id, "vote": choice}) + "\n")

    def next(self) -> Pair | None:
        """The first pair without a vote."""
        done = self.votes()
        return next((pair for pair in self.pairs if pair.id not in done), None)

    def undo(self) -> Pair | None:
        """Take the latest vote back and return its pair."""
        latest = next(reversed(self.votes()), None)
        if latest is not None:
            self.vote(latest, None)
        return next((pair for pair in self.pairs if pair.id == latest), None)

    def tally(self, votes: dict[str, Choice] | None = None) -> Tally:
        """Count votes by condition: those in the folder, or a friend's."""
        counts = [0, 0, 0]
        for pair_id, choice in (self.votes() if votes is None else votes).items():
            if pair_id not in self.swapped:
                reason = f"there is a vote on {pair_id[:40]!r}, which is not asked"
                raise PersonaError(reason, "read the sheet of this run")
            counts[2 if choice == "same" else int((choice == "B") != self.swapped[pair_id])] += 1
        return Tally(self.conditions, *counts, sign_test(counts[1], counts[0]))

    def export(self, name: str) -> Path:
        """Write the sheet for a friend: one HTML file, every text escaped, without the key and without a network."""
        held = f"your {len(self.pairs)} test questions and two of the model's answers to each, and none of your answers"
        print(f"Writes {SHEET}. It holds {held}.")
        page = render_page("blind", name=name, pairs=self.pairs, sheet=self.sheet)
        return write_text(self.folder / SHEET, page)


def read_votes(path: Path | str, sheet: str | None = None) -> dict[str, Choice]:
    """Read votes: the folder's own file, or what a friend's sheet saved; votes that name another sheet than ``sheet``
    are refused. PersonaError names file and line of what is no vote; the last line may be cut off."""
    path, found = Path(path), {}
    lines = read_text(path, "give the file that the sheet saved").rstrip("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            vote = Vote.model_validate_json(line)
        except ValidationError as error:
            if number == len(lines) and error.errors()[0]["type"] == "json_invalid":
                break
            raise PersonaError(f"this is no vote ({reason_of(error)})", "remove the line", path, number) from error
        if sheet and vote.sheet not in (None, sheet):
            remedy = "send the new sheet, or read them in their own run"
            raise PersonaError("these votes are on other answers", remedy, path)
        found.pop(vote.id, None)  # the latest vote stands last
        if vote.vote:
            found[vote.id] = vote.vote
    return found


def blind_form(test: BlindTest) -> Widget:
    """The form in a notebook: buttons, or a letter and Enter in the field (a, b, s for the same, u for undo)."""
    from html import escape

    import ipywidgets as widgets

    choices: dict[str, Choice | None] = {"a": "A", "b": "B", "s": "same", "u": None}
    at = widgets.HTML()
    shown = [widgets.HTML() for _ in range(3)]
    buttons = [widgets.Button(description=text) for text in ("A", "B", "the same", "undo")]
    field = widgets.Text(placeholder="a, b, s or u, then Enter", continuous_update=False)

    def show() -> None:
        pair, done = test.next(), len(test.votes())
        at.value = f"{done} of {len(test.pairs)}" + ("" if pair else f": done. {escape(str(test.tally()))}")
        texts = (pair.question, f"A: {pair.A}", f"B: {pair.B}") if pair else ("", "", "")
        for place, button, text in zip(shown, buttons, texts, strict=False):
            place.value, button.disabled = escape(text), pair is None

    def choose(choice: Choice | None) -> None:
        if choice is None:
            test.undo()
        elif pair := test.next():
            test.vote(pair.id, choice)
        show()

    def typed(change: dict[str, Any]) -> None:
        letter = change["new"].strip().lower()
        if letter in choices:
            choose(choices[letter])
        if letter:
            field.value = ""

    for button, choice in zip(buttons, choices.values(), strict=True):
        button.on_click(lambda _, choice=choice: choose(choice))
    field.observe(typed, names="value")
    show()
    return widgets.VBox([at, *shown, widgets.HBox(buttons), field])
