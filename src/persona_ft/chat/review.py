"""The user's own look at what was found to be private: each finding in its context, to keep, replace or drop.

The originals are shown to the user and stored nowhere: what was chosen is written by the finding's number, beside a
digest of the export and the settings that the numbers belong to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from persona_ft.chat.pairing import Reply
from persona_ft.chat.privacy import Decision, Privacy
from persona_ft.conversation import digest, write_text
from persona_ft.errors import PersonaError

if TYPE_CHECKING:
    from ipywidgets import Widget

CHOICES = "privacy_choices.json"
DECISIONS: tuple[Decision, ...] = get_args(Decision)
# Characters shown on each side of a finding.
CONTEXT = 12
PAGE = 20


@dataclass(frozen=True)
class Seen:
    """Words that were found to be private, once for all their places. Holds the original."""

    kind: str
    text: str
    before: str
    after: str
    becomes: str
    times: int


@dataclass(frozen=True)
class Review:
    """All findings of one import, in the order in which they first appear.

    ``of``: a digest of the export and of the settings that give these findings their numbers.
    """

    seen: tuple[Seen, ...]
    of: str

    def rows(self) -> list[dict[str, Any]]:
        """A table for the user's eyes alone: it shows the originals."""
        return [
            {"kind": s.kind, "in context": f"{s.before}【{s.text}】{s.after}", "becomes": s.becomes, "times": s.times}
            for s in self.seen
        ]

    def choices(self, path: Path | None) -> dict[int, Decision]:
        """What was chosen before: number of the finding -> decision. None yet where there is no such file.

        Raises
        ------
        PersonaError
            The file is damaged, or belongs to another export or other settings: its numbers mean something else.
        """
        if path is None or not path.exists():
            return {}
        remedy = f"delete {path.name} and review again, with SHOW_PRIVATE = True"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            chosen = {int(number): decision for number, decision in found["choices"].items()}
            if not all(0 <= n < 10**9 and decision in DECISIONS for n, decision in chosen.items()):
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PersonaError("what was chosen in the review cannot be read", remedy, path.name) from error
        if found.get("of") != self.of or not all(number < len(self.seen) for number in chosen):
            raise PersonaError(
                "what was chosen in the review is of another export or other settings", remedy, path.name
            )
        return chosen

    def apply(self, chosen: dict[int, Decision], privacy: Privacy) -> None:
        """Let the finder do what was chosen."""
        for number, decision in chosen.items():
            privacy.decisions[self.seen[number].kind, self.seen[number].text.casefold()] = decision

    def save(self, path: Path, chosen: dict[int, Decision]) -> Path:
        """Write what was chosen, whole or not at all; nothing private is in it."""
        kept = {str(number): chosen[number] for number in sorted(chosen) if chosen[number] != "replace"}
        return write_text(path, json.dumps({"of": self.of, "choices": kept}, indent=1) + "\n")


def review_of(
    replies: Iterable[Reply], privacy: Privacy, keep: Sequence[str], path: Path | str, settings: object
) -> Review:
    """Collect what would be replaced in some pairs.

    Parameters
    ----------
    keep : kinds that are left as they are anyhow.
    path, settings : what the digest is taken of.
    """
    seen: dict[tuple[str, str], Seen] = {}
    for text in (text for reply in replies for text in (reply.question, reply.answer)):
        for f in privacy.find(text):
            if f.kind in keep:
                continue
            key = (f.kind, f.text.casefold())
            first = seen.get(key)
            before, after = text[max(0, f.start - CONTEXT) : f.start], text[f.end : f.end + CONTEXT]
            where = (first.before, first.after) if first else (before, after)
            seen[key] = Seen(f.kind, f.text, *where, privacy.stand_in(f), first.times + 1 if first else 1)
    with Path(path).expanduser().open("rb") as stream:
        export = hashlib.file_digest(stream, "sha256").hexdigest()
    return Review(tuple(seen.values()), digest(export, repr(settings), *(f"{s.kind}{s.text}" for s in seen.values())))


def review_form(review: Review, path: Path) -> Widget:
    """The findings as a form, a page at a time: keep, replace or drop; each choice is on disk at once.

    Parameters
    ----------
    path : where the choices are kept.
    """
    import ipywidgets as widgets

    chosen = review.choices(path)
    pages = max(1, -(-len(review.seen) // PAGE))
    rows, said = widgets.VBox(), widgets.HTML()
    page = widgets.BoundedIntText(
        1, min=1, max=pages, description=f"page, of {pages}", style={"description_width": "auto"}
    )

    def say() -> None:
        n = sum(decision != "replace" for decision in chosen.values())
        done = f"{n} of {len(review.seen)} are not replaced: run the import above again to apply it. " if n else ""
        said.value = f"{done}Clear this output before you share the notebook."

    def choose(number: int, decision: Decision) -> None:
        chosen[number] = decision
        review.save(path, chosen)
        say()

    def show(_: object = None) -> None:
        first = (page.value - 1) * PAGE
        rows.children = [
            _row(number, review.seen[number], chosen.get(number, "replace"), choose)
            for number in range(first, min(first + PAGE, len(review.seen)))
        ]

    page.observe(show, "value")
    show()
    say()
    return widgets.VBox([page, rows, said])


def _row(number: int, seen: Seen, decision: Decision, choose) -> Widget:
    from html import escape

    import ipywidgets as widgets

    choice = widgets.ToggleButtons(options=DECISIONS, value=decision, style={"button_width": "5em"})
    choice.observe(lambda change: choose(number, change["new"]), "value")
    before, text, after = (escape(part).replace("\n", " ") for part in (seen.before, seen.text, seen.after))
    label = f"{before}<b>{text}</b>{after} → {escape(seen.becomes)} <i>{escape(seen.kind)}, {seen.times} times</i>"
    return widgets.HBox([choice, widgets.HTML(label)])
