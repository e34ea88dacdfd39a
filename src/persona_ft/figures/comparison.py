"""Figures of the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_ft.evaluate.schema import AFTER, BEFORE, HEADLINE, Comparison
from persona_ft.evaluate.style import StyleClassifier
from persona_ft.figures.axes import COLOURS, GREEN, GREY, LIGHT, ORANGE, drawable, legend_above, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONDITIONS = COLOURS["conditions"]


def plot_comparison(comparison: Comparison) -> Figure:
    """Left: share of answers that sound like the person and answer the question, by condition, with 95 % intervals, the
    person's own beside them. Right: the likelihood of each of the person's answers before and after."""
    figure, (left, right) = new_axes(9.5, 5.6, columns=2)
    rows = {condition.name: comparison.summary[condition.name][HEADLINE.key] for condition in comparison.conditions}
    rows |= {"the person": comparison.person[HEADLINE.key]} if HEADLINE.key in comparison.person else {}
    for row, (name, interval) in enumerate(rows.items()):
        if interval.value is not None:
            left.barh(row, interval.value, color=CONDITIONS.get(name, GREEN), height=0.6)
            left.plot([interval.low, interval.high], [row, row], color="black", linewidth=1.5)
    left.set_yticks(range(len(rows)), list(rows))
    left.invert_yaxis()
    left.set(xlim=(0, 1.02), xlabel="sounds like the person and answers the question")
    before, after = (comparison.condition(name).values("log_likelihood") for name in (BEFORE, AFTER))
    order = (after - before).argsort()
    right.hlines(range(len(order)), before[order], after[order], color=LIGHT, zorder=1)
    for name, values in ((BEFORE, before), (AFTER, after)):
        right.scatter(values[order], range(len(order)), color=CONDITIONS[name], s=16, label=name)
    right.set_yticks(range(len(order)), [comparison.questions[i].id for i in order], fontsize=8)
    right.set_xlabel("log-likelihood of the person's answer (nats per token)")
    legend_above(right)
    return figure


def plot_stylometry(comparison: Comparison, columns: int = 4) -> Figure:
    """A small panel for each countable habit: each condition's mean with its interval, the person's value as a line."""
    habits, names = comparison.stylometry, [condition.name for condition in comparison.conditions]
    rows = -(-len(habits) // columns)
    figure, _ = new_axes(10.5, 0.5 + 1.75 * rows, columns, rows)
    for ax in figure.axes[len(habits) :]:
        ax.axis("off")
    for n, (ax, habit) in enumerate(zip(figure.axes, habits, strict=False)):
        ax.axvline(habit.person, color=GREEN, linewidth=2, zorder=1)
        for row, name in enumerate(names):
            interval = habit.conditions[name]
            ax.plot([interval.low, interval.high], [row, row], color=CONDITIONS[name], linewidth=1.5)
            ax.scatter(interval.value, row, color=CONDITIONS[name], s=22, zorder=3)
        ax.set_yticks(range(len(names)), names if n % columns == 0 else [], fontsize=8)
        ax.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, None))
        if ax.get_xlim()[1] < 0.01:  # a habit that nobody has
            ax.set_xlim(0, 1)
        ax.tick_params(axis="x", labelsize=8)
        ax.set_title(habit.name, fontsize=9)
        ax.set_xlabel(habit.unit, fontsize=8)
    return figure


def plot_marks(style: StyleClassifier, n: int = 12) -> Figure:
    """The pieces of text that give the person away, and those that give the base model away."""
    if not style.trained:
        figure, ax = new_axes(8.0, 1.0)
        ax.axis("off")
        ax.text(0, 0.5, "too few whole answers of the base to tell the two apart")
        return figure
    names, weights = style.pipeline[0].get_feature_names_out().tolist(), style.pipeline[1].coef_[0]
    figure, axes = new_axes(8.0, 3.6, columns=2)
    whose = zip(axes, style.marks(n), (ORANGE, GREY), ("the person", "others"), strict=True)
    for ax, marks, colour, title in whose:
        ax.barh(range(n), [abs(weights[names.index(mark)]) for mark in marks][::-1], color=colour)
        ax.set_yticks(range(n), [drawable(mark) for mark in marks[::-1]])
        ax.set_xlabel("weight in the classifier")
        ax.set_title(f"speaks for {title}", fontsize=10)
    return figure
