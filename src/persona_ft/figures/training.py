"""Figures of training: losses, memory, ablation, trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from persona_ft.evaluate.trials import Trial
from persona_ft.train.gpus import Card
from persona_ft.train.memory import Memory, fits
from persona_ft.train.trainer import TrainingLog

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
    PINK,
    PURPLE,
    SKY,
    YELLOW,
    finished,
    legend_above,
    new_axes,
)

MEMORY_COLOURS = {
    "weights": BLUE,
    "lora": PURPLE,
    "gradients": PINK,
    "optimizer": YELLOW,
    "unpacked_experts": SKY,
    "activations": GREEN,
    "attention_scores": AMBER,
    "logits": ORANGE,
    "reserve": GREY,
    "context": LIGHT,
}


def plot_losses(log: TrainingLog, best_step: int | None = None) -> Figure:
    """Loss on the training batches and on the validation pairs, by optimizer step; the step that is kept is marked."""
    figure, ax = new_axes()
    if log.train:
        ax.plot(*zip(*log.train, strict=True), color=BLUE, label="training batches")
    if log.validation:
        ax.plot(*zip(*log.validation, strict=True), color=ORANGE, marker="o", label="validation pairs, not trained on")
    if best_step is not None:
        ax.axvline(best_step, color=GREEN, linestyle="--", linewidth=1.2, label=f"kept: step {best_step}")
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("loss (nats per graded token)")
    ax.set_ylim(bottom=0)
    if ax.lines:
        ax.legend(frameon=False)
    return finished(figure)


def plot_memory(estimates: Sequence[tuple[Card, Memory]]) -> Figure:
    """The parts of a training step's memory, stacked, against each card's memory (black mark)."""
    figure, ax = new_axes(9.0, 1.6 + 0.55 * len(estimates))
    for row, (card, memory) in enumerate(estimates):
        start, parts = 0.0, memory.gib()
        for part in Memory.PARTS:
            ax.barh(row, parts[part], left=start, color=MEMORY_COLOURS[part], height=0.55)
            start += parts[part]
        ax.plot([card.memory_gib] * 2, [row - 0.38, row + 0.38], color=BLACK, linewidth=2.5)
        verdict = "fits" if fits(memory, card) else "does not fit"
        ax.annotate(
            f"{parts['total']:.1f} of {card.memory_gib:.1f}: {verdict}",
            (max(start, card.memory_gib), row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    longest = max(max(memory.gib()["total"], card.memory_gib) for card, memory in estimates)
    ax.set_xlim(0, longest * 1.3)
    ax.set_yticks(range(len(estimates)), [card.name for card, _ in estimates])
    ax.invert_yaxis()
    ax.set_xlabel("GPU memory (GiB)")
    from matplotlib.patches import Patch

    # The slivers are too thin to see: each part's largest value stands in the legend.
    most = {part: max(memory.gib()[part] for _, memory in estimates) for part in Memory.PARTS}
    handles = [Patch(color=MEMORY_COLOURS[part], label=f"{part.replace('_', ' ')} {most[part]:.2f}") for part in most]
    ax.legend(handles=handles, frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return finished(figure)


def plot_ablation(results: Sequence[dict[str, Any]]) -> Figure:
    """Each condition's held-out log-likelihood against the article's, and its style share, with 95 % intervals.

    Grey dots are seeds.
    """
    figure, axes = new_axes(10.5, 0.9 + 0.42 * len(results), columns=2)
    article = results[0]["log_likelihood"]["mean"]
    for row, result in enumerate(results):
        likelihood, style = result["log_likelihood"], result["style"]
        colour = ORANGE if "recommended" in result["condition"] else BLUE
        for ax, middle, low, high, seeds in (
            (
                axes[0],
                likelihood["gain"],
                likelihood["gain_low"],
                likelihood["gain_high"],
                [value - article for value in likelihood["by_seed"]],
            ),
            (axes[1], style["mean"], style["low"], style["high"], style["by_seed"]),
        ):
            ax.plot([low, high], [row, row], color=colour, linewidth=2)
            ax.scatter(seeds, [row] * len(seeds), color=GREY, s=12, zorder=2)
            ax.scatter(middle, row, color=colour, s=40, zorder=3)
    axes[0].axvline(0, color=GREY, linestyle=":", linewidth=1.2)
    axes[0].set_xlabel("log-likelihood against the article's (nats a token)")
    axes[1].set_xlabel("share of answers in the person's style")
    for ax in axes:
        ax.set_yticks(range(len(results)), [])
        ax.invert_yaxis()
        ax.grid(axis="x", color=LIGHT, linewidth=0.6)
    alone = ("article", "recommended")
    names = [
        result["condition"] if result["condition"].startswith(alone) else f"+ {result['condition']}"
        for result in results
    ]
    axes[0].set_yticks(range(len(results)), names)
    axes[1].set_xlim(-0.02, 1.02)
    return finished(figure)


def plot_trials(series: dict[str, Sequence[Trial]], setting: str, base: Trial) -> Figure:
    """Small experiments: style share, likelihood of the person's answers and copying against a setting's values, on a
    logarithmic axis.

    Parameters
    ----------
    series : name of a line -> its trials; 95 % intervals of the style share (Clopper-Pearson).
    setting : the axis' name.
    base : the base on the same questions, drawn as a grey line.
    """
    figure, axes = new_axes(10.5, 3.4, columns=3)
    names = ("style share of the answers", "log-likelihood (nats per token)", "longest run copied (characters, mean)")
    for (name, trials), colour in zip(series.items(), (ORANGE, BLUE), strict=False):
        x = [trial.value for trial in trials]
        low, high = ([getattr(trial.style, end) for trial in trials] for end in ("low", "high"))
        axes[0].fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        for ax, y in zip(
            axes,
            ([t.style.value for t in trials], [t.log_likelihood for t in trials], [t.copied for t in trials]),
            strict=True,
        ):
            ax.plot(x, y, color=colour, marker="o", label=name)
    for ax, height in ((axes[0], base.style.value), (axes[1], base.log_likelihood)):
        ax.axhline(height, color=GREY, linestyle="--", linewidth=1.2, label="the base")
    shared = {trial.value: trial.person_copied for trials in series.values() for trial in trials}
    axes[2].plot(sorted(shared), [shared[x] for x in sorted(shared)], "--", color=GREEN, label="the person's own")
    axes[0].set_ylim(-0.02, 1.02)
    axes[2].set_ylim(bottom=0)
    for ax, name in zip(axes, names, strict=True):
        ax.set_xscale("log")
        ax.set_xticks(sorted(shared), [f"{tick:g}" for tick in sorted(shared)], fontsize=8)
        ax.minorticks_off()
        ax.set_xlabel(setting)
        ax.set_ylabel(name, fontsize=9)
        legend_above(ax, fontsize=8)
    return finished(figure)
