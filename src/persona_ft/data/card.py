"""dataset_card.md: what is in a run's data set, where it came from, and how to make it again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from persona_ft.conversation import Conversation
from persona_ft.io import write_text
from persona_ft.language import JAPANESE, LAUGHTER, POLITE


def characteristic(
    mine: Sequence[str], others: Sequence[str], n: int = 12, longest: int = 4, at_least: int = 3
) -> list[tuple[str, float, int]]:
    """Runs of 2 to ``longest`` characters that tell one's words from the others': (run, z, how often), strongest first.

    Log-odds with the two together as prior, in units of its deviation (Monroe et al., 2008, "Fightin' Words",
    doi:10.1093/pan/mpn018). Of runs that hold each other the stronger one is kept.

    Parameters
    ----------
    mine, others : texts of the person, and of everybody else.
    at_least : rarer runs are chance.
    """
    counts = [Counter(run for text in texts for run in _runs(text, longest)) for texts in (mine, others)]
    totals = [sum(count.values()) for count in counts]
    if not all(totals):
        return []
    found = []
    for run, k in counts[0].items():
        if k < at_least:
            continue
        prior = (k + counts[1][run]) / sum(totals) * 1000
        rest = counts[1][run]
        odds = math.log((k + prior) / (totals[0] + 1000 - k - prior)) - math.log(
            (rest + prior) / (totals[1] + 1000 - rest - prior)
        )
        found.append((run, odds / math.sqrt(1 / (k + prior) + 1 / (rest + prior)), k))
    kept: list[tuple[str, float, int]] = []
    for run, z, k in sorted(found, key=lambda item: (-item[1], -len(item[0]), item[0])):
        if z > 0 and not any(run in other or other in run for other, _, _ in kept):
            kept.append((run, z, k))
        if len(kept) == n:
            break
    return kept


def _runs(text: str, longest: int) -> list[str]:
    return [
        text[i : i + size]
        for size in range(2, longest + 1)
        for i in range(len(text) - size + 1)
        if not any(c.isspace() for c in text[i : i + size])
    ]


def write_dataset_card(
    path: Path | str,
    parts: dict[str, Sequence[Conversation]],
    settings: dict[str, Any],
    funnel: Sequence[dict[str, Any]] = (),
    taken_out: dict[str, int] | None = None,
    lengths: Sequence[int] = (),
) -> Path:
    """Write the card. The same data and settings give the same bytes: it holds no date and no path.

    Parameters
    ----------
    parts : ``train``, ``validation``, ``test`` with their conversations.
    settings : the notebook's parameters that make this data set again.
    funnel : rows of :meth:`~persona_ft.chat.messages.Funnel.rows`, where the data came from a chat.
    taken_out : kinds of private data and how often they were replaced.
    lengths : tokens of each training answer.
    """
    answers = [pair.answer for pair in parts["train"]]
    letters = sum(c.isalpha() for text in answers for c in text)
    style = {
        "characters in an answer, median": sorted(map(len, answers))[len(answers) // 2],
        "answers with polite forms": f"{sum(bool(POLITE.search(a)) for a in answers) / len(answers):.0%}",
        "answers with laughter": f"{sum(bool(LAUGHTER.search(a)) for a in answers) / len(answers):.0%}",
        "Japanese letters": f"{sum(len(JAPANESE.findall(a)) for a in answers) / max(letters, 1):.0%}",
    }
    if lengths:
        style["tokens in an answer, median and most"] = f"{sorted(lengths)[len(lengths) // 2]}, {max(lengths)}"
    categories = Counter(pair.category or "none" for pair in parts["train"])
    blocks = [
        "# Data set\n\nOne person's words. Keep it to yourself unless everybody in it has agreed.",
        _table("part", "pairs", {name: len(rows) for name, rows in parts.items()}),
        _table("category, in training", "pairs", dict(categories.most_common())),
        _table("style of the training answers", "", style),
    ]
    if funnel:
        blocks.append("## Where it came from\n\n" + _table("what", "n", {str(row[""]): row["n"] for row in funnel}))
    if taken_out:
        blocks.append("## Replaced by stand-ins\n\n" + _table("kind", "n", dict(sorted(taken_out.items()))))
    blocks.append("## Settings that make it again\n\n" + _table("parameter", "value", settings))
    return write_text(path, "\n\n".join(blocks) + "\n")


def _table(first: str, second: str, rows: dict[str, Any]) -> str:
    lines = [(first, second), ("---", "---"), *((key, value) for key, value in rows.items())]
    return "\n".join(f"| {key} | {str(value).replace('|', chr(92) + '|')} |" for key, value in lines)
