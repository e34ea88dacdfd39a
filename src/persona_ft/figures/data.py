"""Figures of the data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from persona_ft.conversation import Conversation
from persona_ft.figures.axes import BLUE, ORANGE, drawable, legend_above, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_data(pairs: Sequence[Conversation], lengths: Sequence[int]) -> Figure:
    """Answers per category (of one alone: how long questions and answers are), and tokens in an answer."""
    figure, (left, right) = new_axes(8.5, 3.4, columns=2)
    counts = Counter(pair.category or "none" for pair in pairs).most_common()[::-1]
    if len(counts) > 1:
        left.barh([name for name, _ in counts], [n for _, n in counts], color=BLUE)
        left.set_xlabel("answers")
    else:
        texts = {"answers": [len(p.answer) for p in pairs], "questions": [len(p.question) for p in pairs]}
        how = {"bins": 20, "range": (0, max(map(max, texts.values()))), "histtype": "step", "linewidth": 1.6}
        for (name, values), colour in zip(texts.items(), (BLUE, ORANGE), strict=True):
            left.hist(values, color=colour, label=name, **how)
        left.set(xlabel="characters", ylabel="texts")
        legend_above(left)
    right.hist(lengths, bins=range(0, max(lengths) + 6, 5), color=BLUE, edgecolor="white")
    right.set(xlabel="tokens in an answer", ylabel="answers")
    return figure


def plot_expressions(expressions: Sequence[tuple[str, float, int]], over_time: dict[str, int]) -> Figure:
    """The runs of characters that tell the person's words from the others' (log-odds in units of its deviation), and,
    for a chat, how many pairs each month or day gave."""
    figure, _ = new_axes(9.0, 3.6, columns=2 if over_time else 1)
    left, right = figure.axes[0], figure.axes[-1]
    shown = list(expressions)[::-1]
    left.barh([f"{drawable(run)} ({n})" for run, _, n in shown], [z for _, z, _ in shown], color=ORANGE)
    left.set_xlabel("log-odds against the questions, in standard deviations")
    if over_time:
        right.bar(range(len(over_time)), list(over_time.values()), color=BLUE)
        step = max(1, len(over_time) // 4)
        right.set_xticks(range(0, len(over_time), step), list(over_time)[::step], fontsize=8)
        right.set_ylabel("pairs in a month" if len(next(iter(over_time))) == 7 else "pairs in a day")
    return figure
