"""Figures of the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_ft.evaluate.schema import AFTER, BEFORE, HEADLINE, Comparison
from persona_ft.evaluate.style import StyleClassifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure
from persona_ft.figures.axes import (
    AMBER,
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    drawable,
    finished,
    legend_above,
    new_axes,
)

CONDITION_COLOURS = {
    "base": GREY,
    "base + prompt": BLACK,
    "base + examples": BLUE,
    "tuned + prompt": ORANGE,
    "tuned": AMBER,
    "base + facts": BLUE,
    "tuned + facts": AMBER,
}


def plot_comparison(comparison: Comparison) -> Figure:
    """Left: share of answers that sound like the person and answer the question, by condition, with 95 % intervals, the
    person's own beside them. Right: the likelihood of each of the person's answers before and after."""
    figure, (left, right) = new_axes(9.5, 5.6, columns=2)
    rows = [(condition.name, comparison.summary[condition.name][HEADLINE.key]) for condition in comparison.conditions]
    rows += [("the person", comparison.person[HEADLINE.key])] if HEADLINE.key in comparison.person else []
    for row, (name, interval) in enumerate((name, i) for name, i in rows if i.value is not None):
        colour = CONDITION_COLOURS.get(name, GREEN)
        left.barh(row, interval.value, color=colour, height=0.6)
        left.plot([interval.low, interval.high], [row, row], color="black", linewidth=1.5)
    left.set_yticks(range(len(rows)), [name for name, _ in rows])
    left.set_xlim(0, 1.02)
    left.invert_yaxis()
    left.set_xlabel("sounds like the person and answers the question")
    before, after = (comparison.condition(name).values("log_likelihood") for name in (BEFORE, AFTER))
    order = (after - before).argsort()
    for row, i in enumerate(order):
        right.plot([before[i], after[i]], [row, row], color=LIGHT, zorder=1)
    right.scatter(before[order], range(len(order)), color=CONDITION_COLOURS[BEFORE], s=16, label=BEFORE)
    right.scatter(after[order], range(len(order)), color=CONDITION_COLOURS[AFTER], s=16, label=AFTER)
    right.set_yticks(range(len(order)), [comparison.questions[i].id for i in order], fontsize=8)
    right.set_xlabel("log-likelihood of the person's answer (nats per token)")
    legend_above(right)
    return finished(figure)


def plot_stylometry(comparison: Comparison, columns: int = 4) -> Figure:
    """A small panel for each countable habit: each condition's mean with its interval, the person's value as a line."""
    import matplotlib.pyplot as plt
    import matplotlib_fontja  # noqa: F401  registers the packaged Japanese font

    rows = -(-len(comparison.stylometry) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(10.5, 0.5 + 1.75 * rows), layout="constrained", squeeze=False)
    names = [condition.name for condition in comparison.conditions]
    for n, ax in enumerate(axes.flat):
        if n >= len(comparison.stylometry):
            ax.axis("off")
            continue
        habit = comparison.stylometry[n]
        ax.axvline(habit.person, color=GREEN, linewidth=2, zorder=1)
        for row, name in enumerate(names):
            interval = habit.conditions[name]
            ax.plot([interval.low, interval.high], [row, row], color=CONDITION_COLOURS[name], linewidth=1.5)
            ax.scatter(interval.value, row, color=CONDITION_COLOURS[name], s=22, zorder=3)
        ax.set_yticks(range(len(names)), names if n % columns == 0 else [], fontsize=8)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlim(left=0)
        if ax.get_xlim()[1] < 0.01:  # a habit that nobody has
            ax.set_xlim(0, 1)
        ax.tick_params(axis="x", labelsize=8)
        ax.set_title(habit.name, fontsize=9)
        ax.set_xlabel(habit.unit, fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    return finished(figure)


def plot_marks(style: StyleClassifier, n: int = 12) -> Figure:
    """The pieces of text that give the person away, and those that give the base model away."""
    person, base = style.marks(n)
    if not style.trained:
        figure, ax = new_axes(8.0, 1.0)
        ax.axis("off")
        ax.text(0, 0.5, "too few whole answers of the base to tell the two apart")
        return finished(figure)
    names = style.pipeline[0].get_feature_names_out().tolist()
    weights = style.pipeline[1].coef_[0]
    figure, axes = new_axes(8.0, 3.6, columns=2)
    for ax, marks, colour, title in zip(axes, (person, base), (ORANGE, GREY), ("the person", "others"), strict=True):
        values = [abs(weights[names.index(mark)]) for mark in marks][::-1]
        ax.barh(range(n), values, color=colour)
        ax.set_yticks(range(n), [drawable(mark) for mark in marks[::-1]])
        ax.set_xlabel("weight in the classifier")
        ax.set_title(f"speaks for {title}", fontsize=10)
    return finished(figure)
