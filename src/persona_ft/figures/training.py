"""Figures of training: losses, memory, trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from persona_ft.evaluate.trials import Trial
from persona_ft.figures.axes import BLACK, BLUE, COLOURS, GREEN, GREY, ORANGE, legend_above, new_axes
from persona_ft.train.gpus import Card
from persona_ft.train.memory import Memory, fits
from persona_ft.train.trainer import TrainingLog

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_losses(log: TrainingLog, best_step: int | None = None) -> Figure:
    """Loss on the training batches and on the validation pairs, by optimizer step; the step that is kept is marked."""
    figure, ax = new_axes()
    if log.train:
        ax.plot(*zip(*log.train, strict=True), color=BLUE, label="training batches")
    if log.validation:
        ax.plot(*zip(*log.validation, strict=True), color=ORANGE, marker="o", label="validation pairs, not trained on")
    if best_step is not None:
        ax.axvline(best_step, color=GREEN, linestyle="--", linewidth=1.2, label=f"kept: step {best_step}")
    ax.set(xlabel="optimizer step", ylabel="loss (nats per graded token)", ylim=(0, None))
    if ax.lines:
        ax.legend(frameon=False)
    return figure


def plot_memory(estimates: Sequence[tuple[Card, Memory]]) -> Figure:
    """The parts of a training step's memory, stacked, against each card's memory (black mark)."""
    figure, ax = new_axes(9.0, 1.6 + 0.55 * len(estimates))
    rows, starts = range(len(estimates)), [0.0] * len(estimates)
    for part in Memory.PARTS:  # some are too thin to see: each one's largest value stands in the legend
        sizes = [memory.gib()[part] for _, memory in estimates]
        label = f"{part.replace('_', ' ')} {max(sizes):.2f}"
        ax.barh(rows, sizes, left=starts, color=COLOURS["memory"][part], height=0.55, label=label)
        starts = [start + size for start, size in zip(starts, sizes, strict=True)]
    for row, (card, memory), total in zip(rows, estimates, starts, strict=True):
        ax.plot([card.memory_gib] * 2, [row - 0.38, row + 0.38], color=BLACK, linewidth=2.5)
        verdict = f"{total:.1f} of {card.memory_gib:.1f}: {'fits' if fits(memory, card) else 'does not fit'}"
        end, beside = (max(total, card.memory_gib), row), {"xytext": (6, 0), "textcoords": "offset points"}
        ax.annotate(verdict, end, **beside, va="center", fontsize=9)
    ax.set_yticks(rows, [card.name for card, _ in estimates])
    ax.invert_yaxis()
    longest = max(*starts, *(card.memory_gib for card, _ in estimates))
    ax.set(xlim=(0, longest * 1.3), xlabel="GPU memory (GiB)")
    legend_above(ax, fontsize=8, ncols=3)
    return figure


def plot_trials(series: dict[str, Sequence[Trial]], setting: str, base: Trial) -> Figure:
    """Small experiments, a line for each series: style share with its 95 % interval (Clopper-Pearson), likelihood of
    the person's answers and copying, against a setting's values on a logarithmic axis. Grey is the base."""
    figure, axes = new_axes(10.5, 3.4, columns=3)
    for (name, trials), colour in zip(series.items(), (ORANGE, BLUE), strict=False):
        x = [trial.value for trial in trials]
        lows, highs = [trial.style.low for trial in trials], [trial.style.high for trial in trials]
        axes[0].fill_between(x, lows, highs, color=colour, alpha=0.15, linewidth=0)
        drawn = ([t.style.value for t in trials], [t.log_likelihood for t in trials], [t.copied for t in trials])
        for ax, y in zip(axes, drawn, strict=True):
            ax.plot(x, y, color=colour, marker="o", label=name)
    for ax, height in ((axes[0], base.style.value), (axes[1], base.log_likelihood)):
        ax.axhline(height, color=GREY, linestyle="--", linewidth=1.2, label="the base")
    shared = {trial.value: trial.person_copied for trials in series.values() for trial in trials}
    axes[2].plot(sorted(shared), [shared[x] for x in sorted(shared)], "--", color=GREEN, label="the person's own")
    axes[0].set_ylim(-0.02, 1.02)
    axes[2].set_ylim(bottom=0)
    names = ("style share of the answers", "log-likelihood (nats per token)", "longest run copied (characters, mean)")
    for ax, name in zip(axes, names, strict=True):
        ax.set(xscale="log", xlabel=setting)
        ax.set_xticks(sorted(shared), [f"{tick:g}" for tick in sorted(shared)], fontsize=8)
        ax.minorticks_off()
        ax.set_ylabel(name, fontsize=9)
        legend_above(ax, fontsize=8)
    return figure
