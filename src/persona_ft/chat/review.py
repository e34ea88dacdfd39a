"""The user's own look at what was found to be private: each finding in its context, to keep, replace or drop. The
originals are written to no file of ours. What was chosen is written by the places where the words stand (time of the
answer and which one of that time, side, character, kind), beside a digest of the export: with other sizes, names or
kinds it still holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from persona_ft.chat import likely
from persona_ft.chat.pairing import Pairing, Reply
from persona_ft.chat.privacy import Decision, Finding, Privacy
from persona_ft.errors import PersonaError
from persona_ft.io import digest, file_digest, write_text

if TYPE_CHECKING:
    from ipywidgets import Widget

DECISIONS, CHOICES = get_args(Decision), "privacy_choices.json"
# Characters shown on each side of a finding, and findings on a page.
CONTEXT, PAGE = 12, 20
LOWER_WORD = re.compile(r"(?<![A-Za-z'’-])[a-z]{2,}(?![A-Za-z'’])")


@dataclass(frozen=True)
class Seen:
    """Words that were found to be private, once for all their places. Holds the original; ``places`` do not."""

    kind: str
    text: str
    before: str
    after: str
    becomes: str
    places: tuple[str, ...]
    decision: Decision

    @property
    def times(self) -> int:
        """How often they stand in questions and answers; what came before those is a question and an answer too."""
        return sum("/h" not in place for place in self.places) or len(self.places)

    @property
    def in_context(self) -> str:
        """The words between what stands beside them."""
        return f"{self.before}【{self.text}】{self.after}"


@dataclass(frozen=True)
class Review:
    """All findings of one import, in the order in which they first appear. ``of``: :func:`export_digest`."""

    seen: tuple[Seen, ...]
    of: str

    def rows(self) -> list[dict[str, Any]]:
        """A table for the user's eyes alone: it shows the originals."""
        return [{"kind": s.kind, "in context": s.in_context, "becomes": s.becomes, "times": s.times} for s in self.seen]

    def likely(self) -> list[dict[str, Any]]:
        """The likely names that nobody listed, the most frequent first: keep or replace?"""
        return sorted((row for row in self.rows() if row["kind"] == likely.KIND), key=lambda row: -row["times"])

    def save(self, path: Path, chosen: dict[str, Decision]) -> Path:
        """Write what was chosen, whole or not at all; nothing private is in it."""
        return write_text(path, Choices(of=self.of, choices=chosen).model_dump_json(indent=1) + "\n")


class Choices(BaseModel):
    """The file of what was chosen: ``of`` which export, and place of the finding -> decision."""

    of: str
    choices: dict[str, Decision]


def export_digest(path: Path | str, how: Pairing) -> str:
    """What places in a file of choices belong to: the export's bytes, and how its messages become turns."""
    return digest(file_digest(Path(path).expanduser()), repr((sorted(how.me), how.merge_minutes, how.reply_minutes)))


def read_choices(path: Path | None, of: str) -> dict[str, Decision]:
    """What was chosen before: place of the finding -> decision. Those of another export or other turns are refused,
    since their places mean something else."""
    if path is None or not path.exists():
        return {}
    remedy = f"delete {path.name} and review again, with SHOW_PRIVATE = True"
    try:
        found = Choices.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:  # pydantic's is one too
        raise PersonaError("what was chosen in the review cannot be read", remedy, path.name) from error
    if found.of != of:
        reason = "what was chosen in the review is of another export, another ME, or other MERGE_ or REPLY_MINUTES"
        raise PersonaError(reason, remedy, path.name)
    return found.choices


def places(replies: Iterable[Reply], privacy: Privacy) -> Iterator[tuple[str, str, Finding]]:
    """(place, text, finding) for all that is private in replies and what came before them, likely names among it."""
    for reply in replies:
        for side, text in reply.texts():
            for f in privacy.find(text, offered=True):
                yield f"{reply.at:%Y-%m-%dT%H:%M:%S}/{reply.nth}/{side}{f.start}/{f.kind}", text, f


def apply_choices(chosen: dict[str, Decision], replies: Iterable[Reply], privacy: Privacy) -> None:
    """Let the finder do what was chosen, for the words at each place wherever else they stand; a likely name that is to
    be replaced is a name from then on."""
    if not chosen:
        return
    at = {place: finding for place, _, finding in places(replies, privacy) if place in chosen}
    # In the order of choosing: of two choices for the same words the later one counts.
    decided = {at[place].key: decision for place, decision in chosen.items() if place in at}
    names = {f.key: f.text for f in at.values() if f.kind == likely.KIND and decided[f.key] != "keep"}
    privacy.add_names(names.values())
    privacy.decisions |= {("name", words): decided[kind, words] for kind, words in names} | decided


def review_of(replies: Sequence[Reply], privacy: Privacy, keep: Sequence[str], of: str) -> Review:
    """Collect what is private in some pairs; ``keep``: kinds that are left as they are anyhow."""
    seen: dict[tuple[str, str], Seen] = {}
    # With a capital they are no names either.
    lower = {word for reply in replies for _, text in reply.texts() for word in LOWER_WORD.findall(text)}
    for place, text, f in places(replies, privacy):
        if f.kind in keep or (f.kind == likely.KIND and f.text.lower() in lower):
            continue
        if f.key in seen:
            seen[f.key] = replace(seen[f.key], places=(*seen[f.key].places, place))
        else:
            before, after = text[max(0, f.start - CONTEXT) : f.start], text[f.end : f.end + CONTEXT]
            becomes = privacy.stand_in(f) if f.kind != likely.KIND else "a letter, if you say so"
            seen[f.key] = Seen(f.kind, f.text, before, after, becomes, (place,), privacy.decision(f))
    return Review(tuple(seen.values()), of)


def review_form(review: Review, path: Path) -> Widget:
    """The findings as a form, a page at a time: keep, replace or drop; each choice is on disk (``path``) at once."""
    import ipywidgets as widgets

    chosen = read_choices(path, review.of)
    now = {seen.places: seen.decision for seen in review.seen}
    shown = {place for seen in review.seen for place in seen.places}
    pages = max(1, -(-len(review.seen) // PAGE))
    rows, said = widgets.VBox(), widgets.HTML()
    number = {"min": 1, "max": pages, "description": f"page, of {pages}", "style": {"description_width": "auto"}}
    page = widgets.BoundedIntText(1, **number)

    def say() -> None:
        kept = sum(decision != "replace" for decision in now.values())
        open_ = sum(now[seen.places] != seen.decision for seen in review.seen)
        parts = [f"{kept} of {len(review.seen)} are not replaced."] if kept else []
        if open_:
            parts.append(f"{open_} are not applied yet: <b>run the import above again</b>.")
        if any(decision == "drop" and place not in shown for place, decision in chosen.items()):
            parts.append(f"What was dropped earlier is not shown; delete {path.name} to begin anew.")
        said.value = " ".join([*parts, "Clear this output before you share the notebook."])

    def choose(seen: Seen, decision: Decision) -> None:
        now[seen.places] = decision
        for place in seen.places:  # to the end: the latest choice counts
            chosen.pop(place, None)
            chosen[place] = decision
        review.save(path, chosen)
        say()

    def row(seen: Seen) -> Widget:
        choice = widgets.ToggleButtons(options=DECISIONS, value=now[seen.places], style={"button_width": "5em"})
        choice.observe(lambda change: choose(seen, change["new"]), "value")
        before, text, after = (escape(part).replace("\n", " ") for part in (seen.before, seen.text, seen.after))
        label = f"{before}<b>{text}</b>{after} → {escape(seen.becomes)} <i>{escape(seen.kind)}, {seen.times} times</i>"
        return widgets.HBox([choice, widgets.HTML(label)])

    def show(_: object = None) -> None:
        first = (page.value - 1) * PAGE
        rows.children = [row(seen) for seen in review.seen[first : first + PAGE]]

    page.observe(show, "value")
    show()
    say()
    return widgets.VBox([page, rows, said])
