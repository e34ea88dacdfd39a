"""The user's own look at what was found to be private: each finding in its context, to keep, replace or drop.

The originals are shown to the user and stored nowhere. What was chosen is written by the place where the finding first
stands (time of the answer, side, character, kind), beside a digest of the export: other sizes, names or kinds may be
set afterwards, and what was chosen still holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from persona_ft.chat.pairing import Pairing, Reply
from persona_ft.chat.privacy import Decision, Finding, Privacy
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
    """Words that were found to be private, once for all their places. Holds the original; ``place`` does not."""

    kind: str
    text: str
    before: str
    after: str
    becomes: str
    times: int
    place: str
    decision: Decision


@dataclass(frozen=True)
class Review:
    """All findings of one import, in the order in which they first appear. ``of``: :func:`export_digest`."""

    seen: tuple[Seen, ...]
    of: str

    def rows(self) -> list[dict[str, Any]]:
        """A table for the user's eyes alone: it shows the originals."""
        return [
            {"kind": s.kind, "in context": f"{s.before}【{s.text}】{s.after}", "becomes": s.becomes, "times": s.times}
            for s in self.seen
        ]

    def save(self, path: Path, chosen: dict[str, Decision]) -> Path:
        """Write what was chosen, whole or not at all; nothing private is in it."""
        return write_text(path, json.dumps({"of": self.of, "choices": dict(sorted(chosen.items()))}, indent=1) + "\n")


def export_digest(path: Path | str, how: Pairing) -> str:
    """What the places in a file of choices belong to: the export's bytes, and how its messages become turns."""
    with Path(path).expanduser().open("rb") as stream:
        export = hashlib.file_digest(stream, "sha256").hexdigest()
    return digest(export, repr((sorted(how.me), how.merge_minutes, how.reply_minutes)))


def read_choices(path: Path | None, of: str) -> dict[str, Decision]:
    """What was chosen before: place of the finding -> decision. None yet where there is no such file.

    Raises
    ------
    PersonaError
        The file is damaged, or belongs to another export or other turns: its places mean something else.
    """
    if path is None or not path.exists():
        return {}
    remedy = f"delete {path.name} and review again, with SHOW_PRIVATE = True"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        chosen = {str(place): decision for place, decision in found["choices"].items()}
        if not all(decision in DECISIONS for decision in chosen.values()):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PersonaError("what was chosen in the review cannot be read", remedy, path.name) from error
    if found.get("of") != of:
        reason = "what was chosen in the review is of another export, another ME, or other MERGE_ or REPLY_MINUTES"
        raise PersonaError(reason, remedy, path.name)
    return chosen


def places(reply: Reply, privacy: Privacy) -> Iterator[tuple[str, str, Finding]]:
    """(place, text, finding) for all that is private in a reply."""
    for side, text in (("q", reply.question), ("a", reply.answer)):
        for f in privacy.find(text):
            yield f"{reply.at:%Y-%m-%dT%H:%M:%S}/{side}{f.start}/{f.kind}", text, f


def apply_choices(chosen: dict[str, Decision], replies: Iterable[Reply], privacy: Privacy) -> None:
    """Let the finder do what was chosen, for the words at each place wherever else they stand; the last one counts."""
    if not chosen:
        return
    for reply in replies:
        for place, _, f in places(reply, privacy):
            if place in chosen:
                privacy.decisions[f.kind, f.text.casefold()] = chosen[place]


def review_of(replies: Iterable[Reply], privacy: Privacy, keep: Sequence[str], of: str) -> Review:
    """Collect what is private in some pairs; ``keep``: kinds that are left as they are anyhow."""
    seen: dict[tuple[str, str], Seen] = {}
    for reply in replies:
        for place, text, f in places(reply, privacy):
            if f.kind in keep:
                continue
            key = (f.kind, f.text.casefold())
            if key in seen:
                seen[key] = replace(seen[key], times=seen[key].times + 1)
                continue
            before, after = text[max(0, f.start - CONTEXT) : f.start], text[f.end : f.end + CONTEXT]
            seen[key] = Seen(f.kind, f.text, before, after, privacy.stand_in(f), 1, place, privacy.decision(f))
    return Review(tuple(seen.values()), of)


def review_form(review: Review, path: Path) -> Widget:
    """The findings as a form, a page at a time: keep, replace or drop; each choice is on disk at once.

    Parameters
    ----------
    path : where the choices are kept.
    """
    import ipywidgets as widgets

    chosen = read_choices(path, review.of)
    now = {seen.place: seen.decision for seen in review.seen}
    pages = max(1, -(-len(review.seen) // PAGE))
    rows, said = widgets.VBox(), widgets.HTML()
    page = widgets.BoundedIntText(
        1, min=1, max=pages, description=f"page, of {pages}", style={"description_width": "auto"}
    )

    def say() -> None:
        n = sum(decision != "replace" for decision in now.values())
        done = f"{n} of {len(review.seen)} are not replaced: run the import above again to apply it. " if n else ""
        gone = any(decision == "drop" and place not in now for place, decision in chosen.items())
        hidden = f"What was dropped earlier is not shown; delete {path.name} to begin anew. " if gone else ""
        said.value = f"{done}{hidden}Clear this output before you share the notebook."

    def choose(place: str, decision: Decision) -> None:
        chosen[place] = now[place] = decision
        review.save(path, chosen)
        say()

    def show(_: object = None) -> None:
        first = (page.value - 1) * PAGE
        rows.children = [_row(seen, now[seen.place], choose) for seen in review.seen[first : first + PAGE]]

    page.observe(show, "value")
    show()
    say()
    return widgets.VBox([page, rows, said])


def _row(seen: Seen, decision: Decision, choose) -> Widget:
    from html import escape

    import ipywidgets as widgets

    choice = widgets.ToggleButtons(options=DECISIONS, value=decision, style={"button_width": "5em"})
    choice.observe(lambda change: choose(seen.place, change["new"]), "value")
    before, text, after = (escape(part).replace("\n", " ") for part in (seen.before, seen.text, seen.after))
    label = f"{before}<b>{text}</b>{after} → {escape(seen.becomes)} <i>{escape(seen.kind)}, {seen.times} times</i>"
    return widgets.HBox([choice, widgets.HTML(label)])
