"""The figures that explain rather than report: gpt-oss's parts, a text as tokens, NF4's levels, LoRA's matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from persona_ft.figures.axes import BLACK, BLUE, COLOURS, GREY, LIGHT, ORANGE, drawable, legend_above, new_axes
from persona_ft.gpt_oss.harmony import Piece
from persona_ft.gpt_oss.lora import count_lora_parameters, count_parameters, lora_shapes
from persona_ft.io import packaged
from persona_ft.language import columns_of
from persona_ft.train.memory import STORED_BYTES

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from transformers import PretrainedConfig


def plot_architecture(config: PretrainedConfig, weights: str = "nf4") -> Figure:
    """gpt-oss from its config: how a token goes through it, and each part's size in GB, at 16 bit and as it is stored.
    Embedding, router, norms and head stay in 16 bit; the experts are stored in 4 bit, and in NF4 attention is too."""
    figure, (left, right) = new_axes(9.5, 5.0, columns=2)
    _draw_layers(left, config)
    counts, small = count_parameters(config), STORED_BYTES[weights]
    sizes = {part: n * 2 / 1e9 for part, n in counts.items()}
    stored = {part: n * small.get(part, 2) / 1e9 for part, n in counts.items()}
    whole = right.barh(list(sizes), list(sizes.values()), color=LIGHT, height=0.66)
    colours = [COLOURS["parts"][part] for part in stored]
    small_bars = right.barh(list(stored), list(stored.values()), color=colours, height=0.36)
    texts = [f"{n:.2f} → {stored[part]:.2f}" if part in small else f"{n:.3f}" for part, n in sizes.items()]
    right.bar_label(whole, texts, padding=4, fontsize=9)
    right.invert_yaxis()
    right.set(xlim=(0, 1.3 * max(sizes.values())), xlabel="GB")
    total, kept = sum(sizes.values()), sum(stored.values())
    right.set_title(f"all: {total:.1f} GB at 16 bit → {kept:.1f} GB as stored", fontsize=10)
    bars = {"at 16 bit": whole, f"as stored ({', '.join(small)}: 4 bit)": small_bars[list(stored).index("experts")]}
    right.legend(bars.values(), bars.keys(), frameon=False, fontsize=9, loc="lower right")
    return figure


def _draw_layers(ax, config: PretrainedConfig) -> None:
    """The way of a token, from below to above, with one layer opened (``architecture.yaml``)."""
    from matplotlib.patches import FancyBboxPatch, Rectangle

    drawing, colours = packaged("figures/architecture"), COLOURS["parts"]
    round_box = {"boxstyle": "round,pad=0.02,rounding_size=0.12", "edgecolor": "none"}
    middle = {"ha": "center", "va": "center", "color": "black"}
    for x, y, width, height, part, size, text in drawing["boxes"]:
        ax.add_patch(FancyBboxPatch((x, y), width, height, facecolor=colours[part], **round_box))
        ax.text(x + width / 2, y + height / 2, text.format(config=config), fontsize=size, **middle)
    for x, y, side, size, text in drawing["texts"]:
        ax.text(x, y, text.format(config=config), ha=side, fontsize=size)
    for below, above in drawing["arrows"]:
        ax.annotate("", (5, above), (5, below), arrowprops={"arrowstyle": "-|>", "color": BLACK, "linewidth": 0.8})
    ax.add_patch(Rectangle((0.4, 1.35), 9.2, 7.5, fill=False, edgecolor=GREY, linestyle="--"))
    experts, used = config.num_local_experts, config.num_experts_per_tok
    side, height = 8 / min(experts, 16), 1.1 if experts > 16 else 2.2
    for n in range(experts):  # which ones are picked differs from token to token; these stand for any
        row, column = divmod(n, 16)
        picked = n % max(1, experts // used) == (experts // used) // 2
        corner = (1 + column * side + 0.05, 6.0 + row * 1.15)
        colour = colours["experts"] if picked else LIGHT
        ax.add_patch(Rectangle(corner, side - 0.1, height - 0.1, facecolor=colour, edgecolor="none"))
    ax.set(xlim=(0, 10), ylim=(-0.6, 11.4))
    ax.axis("off")


def plot_tokens(pieces: Sequence[Piece], columns: int = 72) -> Figure:
    """A text as the model reads it: one box a token, coloured by what it belongs to; graded tokens are underlined. A
    line holds so many ``columns`` of half-width."""
    from matplotlib.patches import Rectangle

    colours, places, x, row = COLOURS["pieces"], [], 0, 0
    for piece in pieces:
        width = columns_of(drawable(piece.text))
        if x and x + width > columns:
            x, row = 0, row + 1
        places.append((piece, x, row, width))
        x, row = (0, row + 1) if "\n" in piece.text else (x + width + 1, row)
    n_rows = places[-1][2] + 1
    figure, ax = new_axes(9.5, 0.5 + 0.29 * n_rows)
    drawn = {}
    for piece, x, row, width in places:
        box = Rectangle((x, row - 0.4), width + 0.6, 0.8, facecolor=colours[piece.kind], edgecolor="none")
        drawn[piece.kind] = ax.add_patch(box)
        ax.text(x + width / 2 + 0.3, row, drawable(piece.text), ha="center", va="center", fontsize=9, color="black")
        if piece.graded:
            ends = [x, x + width + 0.6], [row + 0.46] * 2
            (drawn["graded"],) = ax.plot(*ends, color=BLACK, linewidth=2, solid_capstyle="butt")
    ax.set(xlim=(-0.5, columns + 1), ylim=(n_rows - 0.4, -0.6))
    ax.axis("off")
    present = [kind for kind in (*colours, "graded") if kind in drawn]
    legend_above(ax, handles=[drawn[kind] for kind in present], labels=present, fontsize=9, ncols=4)
    return figure


def plot_nf4(original: np.ndarray, levels: np.ndarray) -> Figure:
    """A weight's values, and the 16 levels (times the block's largest value) to which NF4 rounds them."""
    figure, ax = new_axes()
    ax.hist(original, bins=81, color=GREY)
    for level in levels:
        ax.axvline(level, color=ORANGE, linewidth=1)
    ax.set(xlabel="weight / largest weight of its block of 64", ylabel="weights")
    legend_above(ax, handles=[ax.patches[0], ax.lines[0]], labels=["values in this matrix", "NF4's 16 levels"])
    return figure


def plot_levels(levels: dict[str, Sequence[float]]) -> Figure:
    """The values that a block's weights can have, as shares of the largest: one row for each kind of 4 bit."""
    figure, ax = new_axes(7.0, 0.8 + 0.5 * len(levels))
    for row, (values, colour) in enumerate(zip(levels.values(), (ORANGE, BLUE, GREY), strict=False)):
        most = max(map(abs, values))
        ax.plot([value / most for value in values], [row] * len(values), "|", color=colour, ms=16, mew=2)
    ax.set_yticks(range(len(levels)), list(levels))
    ax.set(ylim=(len(levels) - 0.5, -0.5), xlabel="weight / largest weight of its block")
    ax.spines["left"].set_visible(False)
    ax.tick_params(left=False)
    return figure


def plot_lora(config: PretrainedConfig, r: int, ranks: Sequence[int] = (1, 2, 4, 8, 16, 32, 64)) -> Figure:
    """Left: W, B and A of one query projection, to scale. Right: the trained share of all parameters, by rank."""
    from matplotlib.patches import Rectangle

    figure, (left, right) = new_axes(9.5, 3.8, columns=2)
    n, m, _ = lora_shapes(config, "attention")["q_proj"]  # inputs, outputs
    thin = max(r, m // 80)  # a sliver is drawn at least this wide, or it could not be seen
    gap = m // 12
    start, start_a = n + 2 * gap, n + 4 * gap
    middle = {"ha": "center", "va": "center"}
    left.add_patch(Rectangle((0, 0), n, m, facecolor=LIGHT, edgecolor=GREY))
    left.text(n / 2, m / 2, f"W\n{m:,} x {n:,}\n= {n * m:,}\nfrozen, 4 bit", **middle)
    left.text(n + gap, m / 2, "+ s ·", fontsize=12, **middle)
    left.add_patch(Rectangle((start, 0), thin, m, facecolor=ORANGE))
    left.text(start + thin + gap / 3, m * 0.2, f"B\n{m:,} x {r}\nstarts at 0", va="center", fontsize=9)
    left.add_patch(Rectangle((start_a, m - thin), n, thin, facecolor=BLUE))
    about_a = f"A: {r} x {n:,}, starts random"
    left.text(start_a + n / 2, m - thin - gap / 3, about_a, ha="center", va="top", fontsize=9)
    trained = f"B and A: {r} ({n:,} + {m:,})\n= {r * (n + m):,}, trained"
    left.text(start_a + n / 2, m * 0.55, trained, fontsize=9, **middle)
    left.set(xlim=(-gap, start_a + n + gap), ylim=(-gap, m + gap), aspect="equal")
    left.axis("off")
    left.set_title(f"one query projection at r = {r}, to scale", fontsize=10)
    total = sum(count_parameters(config).values())
    for scope, colour in (("attention", BLUE), ("attention+experts", ORANGE)):
        shares = [count_lora_parameters(config, rank, scope) / total for rank in ranks]
        right.plot(ranks, shares, color=colour, marker="o", label=f"LoRA on {scope}")
    chosen = count_lora_parameters(config, r)
    right.annotate(f"r = {r}: {chosen:,}", (r, chosen / total), xytext=(8, -14), textcoords="offset points", fontsize=9)
    right.set(xscale="log", yscale="log", xlabel="rank r", ylabel="trained share of all parameters")
    right.set_xticks(ranks, list(map(str, ranks)))
    right.minorticks_off()
    right.yaxis.set_major_formatter(lambda share, _: f"{share:.3%}" if share < 0.001 else f"{share:.2%}")
    right.legend(frameon=False, fontsize=9)
    return figure


def plot_update(weight: np.ndarray, update: np.ndarray, singular: Sequence[float], r: int) -> Figure:
    """What training put beside a frozen matrix: the same corner of W and of s B A, (outputs, inputs) both, and the
    largest singular values of all of s B A, largest first, of which only r (in another colour) are not zero."""
    figure, axes = new_axes(9.5, 3.0, columns=3)
    for ax, matrix, name in zip(axes, (weight, update), ("W", "s B A"), strict=False):
        most = float(abs(matrix).max()) or 1.0
        drawn = ax.imshow(matrix, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
        ax.set_title(f"{name}: a corner", fontsize=10)
        ax.set(xlabel="inputs", ylabel="outputs")
        figure.colorbar(drawn, ax=ax, shrink=0.8).ax.tick_params(labelsize=7)
    colours = [ORANGE if n < r else GREY for n in range(len(singular))]
    axes[2].bar(range(1, len(singular) + 1), singular, color=colours)
    axes[2].set(xlabel=f"singular values of s B A: {r} and no more", ylabel="size")
    return figure
