"""dataset_card.md: what is in a run's data set, where it came from, and how to make it again."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median_high
from typing import Any

from persona_ft.conversation import Conversation
from persona_ft.io import write_text
from persona_ft.language import JAPANESE, LAUGHTER, POLITE

# How many runs of characters are named, how long they are at most, and how often they occur at least: rarer is chance.
NAMED, LONGEST, AT_LEAST = 12, 4, 3


def characteristic(mine: Sequence[str], others: Sequence[str]) -> list[tuple[str, float, int]]:
    """Runs of 2 to 4 characters that tell one's words from the others': (run, z, how often), strongest first. Of runs
    that hold each other the stronger one is kept. Log-odds with the two together as prior, in units of its deviation
    (Monroe et al., 2008, "Fightin' Words", doi:10.1093/pan/mpn018)."""
    counts, their_counts = (Counter(run for text in texts for run in _runs(text)) for texts in (mine, others))
    total, their_total = counts.total(), their_counts.total()
    found, frequent = [], {run: k for run, k in counts.items() if k >= AT_LEAST}
    for run, k in frequent.items() if their_total else ():
        rest = their_counts[run]
        prior = (k + rest) / (total + their_total) * 1000
        odds = math.log((k + prior) / (total + 1000 - k - prior))
        odds -= math.log((rest + prior) / (their_total + 1000 - rest - prior))
        found.append((run, odds / math.sqrt(1 / (k + prior) + 1 / (rest + prior)), k))
    kept: list[tuple[str, float, int]] = []
    for run, z, k in sorted(found, key=lambda item: (-item[1], -len(item[0]), item[0])):
        if z > 0 and len(kept) < NAMED and not any(run in other or other in run for other, _, _ in kept):
            kept.append((run, z, k))
    return kept


def _runs(text: str) -> Iterator[str]:
    runs = (text[i : i + size] for size in range(2, LONGEST + 1) for i in range(len(text) - size + 1))
    return (run for run in runs if not any(map(str.isspace, run)))


def write_dataset_card(
    path: Path | str,
    parts: dict[str, Sequence[Conversation]],
    settings: dict[str, Any],
    funnel: Sequence[dict[str, Any]] = (),
    taken_out: dict[str, int] | None = None,
    lengths: Sequence[int] = (),
) -> Path:
    """Write the card of ``train``, ``validation`` and ``test``, which a notebook made with these settings. Of a chat
    come the funnel's rows and the counts of private data taken out; ``lengths`` are tokens of the training answers.
    The same data and settings give the same bytes: it holds no date and no path."""
    answers = [pair.answer for pair in parts["train"]]
    polite, laughing = (sum(bool(form.search(text)) for text in answers) for form in (POLITE, LAUGHTER))
    letters, japanese = sum(map(str.isalpha, "".join(answers))), len(JAPANESE.findall("".join(answers)))
    style = {
        "characters in an answer, median": median_high(map(len, answers)),
        "answers with polite forms": f"{polite / len(answers):.0%}",
        "answers with laughter": f"{laughing / len(answers):.0%}",
        "Japanese letters": f"{japanese / max(letters, 1):.0%}",
    }
    if lengths:
        style["tokens in an answer, median and most"] = f"{median_high(lengths)}, {max(lengths)}"
    categories = Counter(pair.category or "none" for pair in parts["train"])
    tables = [
        ("", "part", "pairs", {name: len(rows) for name, rows in parts.items()}),
        ("", "category, in training", "pairs", dict(categories.most_common())),
        ("", "style of the training answers", "", style),
        ("## Where it came from", "what", "n", {str(row[""]): row["n"] for row in funnel}),
        ("## Replaced by stand-ins", "kind", "n", dict(sorted((taken_out or {}).items()))),
        ("## Settings that make it again", "parameter", "value", settings),
    ]
    blocks = ["# Data set", "One person's words. Keep it to yourself unless everybody in it has agreed."]
    for title, first, second, rows in tables:
        if rows:
            lines = [(first, second), ("---", "---"), *rows.items()]
            table = "\n".join(f"| {key} | {str(value).replace('|', chr(92) + '|')} |" for key, value in lines)
            blocks += [title, table] if title else [table]
    return write_text(path, "\n\n".join(blocks) + "\n")
