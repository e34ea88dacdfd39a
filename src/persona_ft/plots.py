"""The figures. Colours are Okabe and Ito's, which colour-blind readers can tell apart; Japanese text has its font."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from persona_ft.conversation import Conversation
from persona_ft.evaluation.comparison import AFTER, BEFORE, Comparison
from persona_ft.evaluation.style import StyleClassifier
from persona_ft.evaluation.trials import Trial
from persona_ft.hardware import Card
from persona_ft.memory import Memory, fits
from persona_ft.training import TrainingLog

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
SKY, YELLOW, AMBER, PINK, BLACK, LIGHT = "#56B4E9", "#F0E442", "#E69F00", "#CC79A7", "#000000", "#D0D0D0"
PURPLE = "#6A3D9A"
ARM_COLOURS = {
    "base": GREY,
    "base + prompt": BLACK,
    "base + examples": BLUE,
    "tuned + prompt": ORANGE,
    "tuned": AMBER,
}
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


def new_axes(width: float = 7.0, height: float = 3.2, columns: int = 1):
    """A figure with one or more axes side by side, without frames, and a font for Japanese."""
    import matplotlib.pyplot as plt
    import matplotlib_fontja  # noqa: F401  registers the packaged Japanese font

    figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained")
    for ax in axes if columns > 1 else [axes]:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def legend_above(ax, **what) -> None:
    """A legend over the axes, where it hides no data."""
    ax.legend(**what, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


@cache
def _font_has(character: str) -> bool:
    """Whether the packaged Japanese font can draw it (an emoji it cannot)."""
    from pathlib import Path

    import matplotlib_fontja
    from matplotlib.font_manager import get_font

    (font,) = Path(matplotlib_fontja.__file__).parent.glob("fonts/*.ttf")
    return get_font(str(font)).get_char_index(ord(character)) != 0


def drawable(text: str) -> str:
    """The text with what would not show: spaces and line ends as signs, what the font lacks as its code point."""
    text = text.replace(" ", "␣").replace("\n", "\\n")
    return "".join(c if _font_has(c) else f"U+{ord(c):X}" for c in text)


def finished(figure: Figure) -> Figure:
    """Close the figure for pyplot, so that a notebook draws it once: as the cell's result."""
    import matplotlib.pyplot as plt

    plt.close(figure)
    return figure


def plot_data(pairs: Sequence[Conversation], lengths: Sequence[int]) -> Figure:
    """Answers per category (of one alone: how long questions and answers are), and tokens in an answer."""
    figure, (left, right) = new_axes(8.5, 3.4, columns=2)
    counts = Counter(pair.category or "none" for pair in pairs).most_common()[::-1]
    if len(counts) > 1:
        left.barh([name for name, _ in counts], [n for _, n in counts], color=BLUE)
        left.set_xlabel("answers")
    else:
        texts = {"answers": [len(p.answer) for p in pairs], "questions": [len(p.question) for p in pairs]}
        longest = max(max(values) for values in texts.values())
        for (name, values), colour in zip(texts.items(), (BLUE, ORANGE), strict=True):
            left.hist(values, bins=20, range=(0, longest), histtype="step", linewidth=1.6, color=colour, label=name)
        left.set_xlabel("characters")
        left.set_ylabel("texts")
        legend_above(left)
    right.hist(lengths, bins=range(0, max(lengths) + 6, 5), color=BLUE, edgecolor="white")
    right.set_xlabel("tokens in an answer")
    right.set_ylabel("answers")
    return finished(figure)


def plot_expressions(expressions: Sequence[tuple[str, float, int]], over_time: dict[str, int]) -> Figure:
    """The runs of characters that tell the person's words from the others' (log-odds in units of its deviation), and,
    for a chat, how many pairs each month or day gave."""
    figure, axes = new_axes(9.0, 3.6, columns=2 if over_time else 1)
    left, right = axes if over_time else (axes, None)
    shown = list(expressions)[::-1]
    left.barh([f"{drawable(run)} ({n})" for run, _, n in shown], [z for _, z, _ in shown], color=ORANGE)
    left.set_xlabel("log-odds against the questions, in standard deviations")
    if right is not None:
        right.bar(range(len(over_time)), list(over_time.values()), color=BLUE)
        step = max(1, len(over_time) // 4)
        right.set_xticks(range(0, len(over_time), step), list(over_time)[::step], fontsize=8)
        right.set_ylabel("pairs in a month" if len(next(iter(over_time))) == 7 else "pairs in a day")
    return finished(figure)


def plot_losses(log: TrainingLog, best_step: int | None = None) -> Figure:
    """Loss on the training batches and on the dev pairs, by optimizer step; the step that is kept is marked."""
    figure, ax = new_axes()
    if log.train:
        ax.plot(*zip(*log.train, strict=True), color=BLUE, label="training batches")
    if log.dev:
        ax.plot(*zip(*log.dev, strict=True), color=ORANGE, marker="o", label="dev pairs, not trained on")
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
    """Each arm's held-out log-likelihood against the article's, and its style share: 95 % intervals over questions.

    Grey dots are seeds.
    """
    figure, axes = new_axes(10.5, 0.9 + 0.42 * len(results), columns=2)
    article = results[0]["log_likelihood"]["mean"]
    for row, result in enumerate(results):
        likelihood, style = result["log_likelihood"], result["style"]
        colour = ORANGE if "recommended" in result["arm"] else BLUE
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
    names = [result["arm"] if result["arm"].startswith(alone) else f"+ {result['arm']}" for result in results]
    axes[0].set_yticks(range(len(results)), names)
    axes[1].set_xlim(-0.02, 1.02)
    return finished(figure)


def plot_comparison(comparison: Comparison) -> Figure:
    """Left: share of answers in the person's style for each arm, exact 95 % intervals, the person's own beside them.
    Right: the likelihood of each of the person's answers before and after."""
    figure, (left, right) = new_axes(9.5, 5.6, columns=2)
    rows = [(arm.name, comparison.summary[arm.name]["style"]) for arm in comparison.arms]
    for row, (name, interval) in enumerate([*rows, ("the person", comparison.person["style"])]):
        colour = ARM_COLOURS.get(name, GREEN)
        left.barh(row, interval.value, color=colour, height=0.6)
        left.plot([interval.low, interval.high], [row, row], color="black", linewidth=1.5)
    left.set_yticks(range(len(rows) + 1), [*(name for name, _ in rows), "the person"])
    left.set_xlim(0, 1.02)
    left.invert_yaxis()
    left.set_xlabel("share of answers in the person's style")
    before, after = (comparison.arm(name).values("log_likelihood") for name in (BEFORE, AFTER))
    order = (after - before).argsort()
    for row, i in enumerate(order):
        right.plot([before[i], after[i]], [row, row], color=LIGHT, zorder=1)
    right.scatter(before[order], range(len(order)), color=ARM_COLOURS[BEFORE], s=16, label=BEFORE)
    right.scatter(after[order], range(len(order)), color=ARM_COLOURS[AFTER], s=16, label=AFTER)
    right.set_yticks(range(len(order)), [comparison.questions[i].id for i in order], fontsize=8)
    right.set_xlabel("log-likelihood of the person's answer (nats per token)")
    legend_above(right)
    return finished(figure)


def plot_surface(comparison: Comparison, columns: int = 4) -> Figure:
    """One small panel for each countable habit: each arm's mean with its interval, and the person's value as a line."""
    import matplotlib.pyplot as plt
    import matplotlib_fontja  # noqa: F401  registers the packaged Japanese font

    rows = -(-len(comparison.surface) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(10.5, 0.5 + 1.75 * rows), layout="constrained", squeeze=False)
    names = [arm.name for arm in comparison.arms]
    for n, ax in enumerate(axes.flat):
        if n >= len(comparison.surface):
            ax.axis("off")
            continue
        habit = comparison.surface[n]
        ax.axvline(habit.person, color=GREEN, linewidth=2, zorder=1)
        for row, name in enumerate(names):
            interval = habit.arms[name]
            ax.plot([interval.low, interval.high], [row, row], color=ARM_COLOURS[name], linewidth=1.5)
            ax.scatter(interval.value, row, color=ARM_COLOURS[name], s=22, zorder=3)
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
    for ax, marks, colour, title in zip(axes, (person, base), (ORANGE, GREY), ("the person", "the base"), strict=True):
        values = [abs(weights[names.index(mark)]) for mark in marks][::-1]
        ax.barh(range(n), values, color=colour)
        ax.set_yticks(range(n), [drawable(mark) for mark in marks[::-1]])
        ax.set_xlabel("weight in the classifier")
        ax.set_title(f"speaks for {title}", fontsize=10)
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


def plot_style_map(style: StyleClassifier, voices: dict[str, Sequence[str]]) -> Figure:
    """Answers as dots in the two strongest directions of the classifier's tf-idf (truncated SVD, all voices together).

    Parameters
    ----------
    voices : name -> answers; the arms have their colours, the person's are green.
    """
    from sklearn.decomposition import TruncatedSVD

    figure, ax = new_axes(7.0, 4.2)
    vectors = style.pipeline[0].transform([style.prepared(text) for texts in voices.values() for text in texts])
    places = TruncatedSVD(2, random_state=0).fit_transform(vectors)
    start = 0
    for name, texts in voices.items():
        x, y = places[start : start + len(texts)].T
        hollow = {"facecolors": "none", "edgecolors": GREEN} if name.endswith("training") else {}
        ax.scatter(x, y, s=26, label=name, alpha=0.8, **(hollow or {"color": ARM_COLOURS.get(name, GREEN)}))
        start += len(texts)
    ax.set_xlabel("first direction")
    ax.set_ylabel("second direction")
    legend_above(ax)
    return finished(figure)
