"""Names that nobody listed, as far as their form gives them away, with rooms, houses and hospitals: offered to the
user, never replaced unasked. What was offered is in a file to be edited, which stays in the run folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from persona_ft.chat.patterns import Patterns
from persona_ft.errors import PersonaError
from persona_ft.io import read_text, write_text

if TYPE_CHECKING:
    from persona_ft.chat.review import Seen

FORMS = Patterns("likely")
KIND = "likely name"
FILE = "likely_names.txt"
HEAD = (
    "# Likely names that nobody listed. Write replace instead of keep where it is one, and run the import again.\n"
    "# This file holds other people's names: it is yours alone.\n"
)


def likely_names(text: str) -> Iterator[tuple[int, int]]:
    """Where something has the form of a name: (start, end)."""
    for pattern in (FORMS.PLACE, FORMS.PERSON):
        for match in pattern.finditer(text):
            start, end = match.span(match.lastgroup or 0)
            if not all(FORMS.NOT_NAMES.fullmatch(word) for word in text[start:end].split()):
                yield start, end


def write_likely(path: Path, offered: Iterable[Seen]) -> int:
    """Write what was offered for the user to edit, what was decided before first; how many are there to decide."""
    decided = read_likely(path)
    new = [seen for seen in offered if seen.kind == KIND and seen.text not in decided]
    lines = [f"{decision}\t{name}\n" for name, decision in decided.items()]
    for seen in sorted(new, key=lambda seen: -seen.times):
        context = seen.in_context.replace("\n", " ").replace("\t", " ")
        lines.append(f"keep\t{seen.text}\t{seen.times}\t{context}\n")
    if lines:
        write_text(path, HEAD + "".join(lines))
    return len(new)


def read_likely(path: Path | None) -> dict[str, str]:
    """What was decided: name -> ``keep`` or ``replace``; empty where there is no file."""
    decided: dict[str, str] = {}
    text = read_text(path, "save it as UTF-8, or remove it to be asked anew") if path and path.exists() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        decision, _, rest = line.partition("\t")
        if not line.strip() or line.startswith("#"):
            continue
        if decision.strip() not in ("keep", "replace") or not rest:
            raise PersonaError("the line is no decision", "begin it with keep or replace", path.name, number)
        decided[rest.partition("\t")[0].strip()] = decision.strip()
    return decided
