"""The figures that explain rather than report: gpt-oss's parts, a text as tokens, NF4's levels, LoRA's matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from persona_ft.figures.axes import BLACK, BLUE, GREY, LIGHT, ORANGE, SKY, drawable, finished, legend_above, new_axes
from persona_ft.gpt_oss.harmony import Piece
from persona_ft.gpt_oss.lora import count_lora_parameters, count_parameters, lora_shapes
from persona_ft.language import columns_of
from persona_ft.train.memory import STORED_BYTES

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from transformers import PretrainedConfig

# Light, so that black text can be read on them; each far enough from the others for colour-blind readers.
PART_COLOURS = {
    "embedding": "#A6CEE3",
    "attention": "#FDBF6F",
    "router": "#F0E442",
    "experts": SKY,
    "norms": "#E5E5E5",
    "head": "#CAB2D6",
}
PIECE_COLOURS = {
    "special token": "#C9C9C9",
    "name of a role or channel": "#F0E442",
    "system": "#BFE3F7",
    "developer": "#CAB2D6",
    "user": "#B5E3CF",
    "assistant": "#FDC99A",
}


def plot_architecture(config: PretrainedConfig, weights: str = "nf4") -> Figure:
    """gpt-oss from its config: how a token goes through it, and each part's size in GB, at 16 bit and as it is stored.

    Embedding, router, norms and head stay in 16 bit; the experts are stored in 4 bit, and in NF4 attention is too.
    """
    from matplotlib.patches import Patch

    figure, (left, right) = new_axes(9.5, 5.0, columns=2)
    _draw_layers(left, config)
    counts, small = count_parameters(config), STORED_BYTES[weights]
    sizes = {part: n * 2 / 1e9 for part, n in counts.items()}
    stored = {part: n * small.get(part, 2) / 1e9 for part, n in counts.items()}
    for row, part in enumerate(sizes):
        right.barh(row, sizes[part], color=LIGHT, height=0.66)
        right.barh(row, stored[part], color=PART_COLOURS[part], height=0.36)
        right.annotate(
            f"{sizes[part]:.2f} → {stored[part]:.2f}" if part in small else f"{sizes[part]:.3f}",
            (sizes[part], row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    right.set_yticks(range(len(sizes)), list(sizes))
    right.invert_yaxis()
    right.set_xlim(0, 1.3 * max(sizes.values()))
    right.set_xlabel("GB")
    total, kept = sum(sizes.values()), sum(stored.values())
    right.set_title(f"all: {total:.1f} GB at 16 bit → {kept:.1f} GB as stored", fontsize=10)
    handles = [Patch(color=LIGHT, label="at 16 bit"), Patch(color=SKY, label=f"as stored ({', '.join(small)}: 4 bit)")]
    right.legend(handles=handles, frameon=False, fontsize=9, loc="lower right")
    return finished(figure)


def _draw_layers(ax, config: PretrainedConfig) -> None:
    """The way of a token, from below to above, with one layer opened."""
    from matplotlib.patches import FancyBboxPatch, Rectangle

    def box(x: float, y: float, width: float, height: float, colour: str, text: str, size: float = 9) -> None:
        shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.02,rounding_size=0.12", facecolor=colour)
        shape.set(edgecolor="none")
        ax.add_patch(shape)
        ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size, color="black")

    experts, used = config.num_local_experts, config.num_experts_per_tok
    window = config.sliding_window
    ax.set(xlim=(0, 10), ylim=(-0.6, 11.4))
    ax.axis("off")
    ax.text(5, -0.35, "tokens", ha="center", fontsize=9)
    box(1.5, 0.1, 7, 0.8, PART_COLOURS["embedding"], f"embedding: {config.vocab_size:,} x {config.hidden_size:,}")
    ax.add_patch(Rectangle((0.4, 1.35), 9.2, 7.5, fill=False, edgecolor=GREY, linestyle="--"))
    ax.text(9.5, 8.95, f"x {config.num_hidden_layers} layers", ha="right", fontsize=11)
    heads = f"{config.num_attention_heads} heads of {config.head_dim}, {config.num_key_value_heads} for keys and values"
    look = f"in turn: last {window} tokens | all tokens;  + a sink a head"
    box(1, 1.6, 8, 0.45, PART_COLOURS["norms"], "norm", 8)
    box(1, 2.3, 8, 1.75, PART_COLOURS["attention"], f"attention\n{heads}\n{look}", 8.5)
    box(1, 4.3, 8, 0.45, PART_COLOURS["norms"], "norm", 8)
    box(1, 5.0, 8, 0.75, PART_COLOURS["router"], f"router: picks {used} of {experts} for each token")
    columns = min(experts, 16)
    side = 8 / columns
    for n in range(experts):  # which ones are picked differs from token to token; these stand for any
        row, column = divmod(n, columns)
        picked = n % max(1, experts // used) == (experts // used) // 2
        height = 1.1 if experts > 16 else 2.2
        corner = (1 + column * side + 0.05, 6.0 + row * 1.15)
        colour = PART_COLOURS["experts"] if picked else LIGHT
        ax.add_patch(Rectangle(corner, side - 0.1, height - 0.1, facecolor=colour, edgecolor="none"))
    size = f"experts: {config.hidden_size:,} → 2 x {config.intermediate_size:,} → {config.hidden_size:,}"
    ax.text(5, 8.4, size, ha="center", fontsize=8.5)
    box(1.5, 9.2, 7, 0.45, PART_COLOURS["norms"], "norm", 8)
    box(1.5, 9.85, 7, 0.8, PART_COLOURS["head"], f"head: {config.hidden_size:,} x {config.vocab_size:,}")
    ax.text(5, 10.95, "a score for every possible next token", ha="center", fontsize=9)
    for below, above in ((0.92, 1.58), (2.07, 2.28), (4.07, 4.28), (4.77, 4.98), (8.85, 9.18), (9.67, 9.83)):
        ax.annotate("", (5, above), (5, below), arrowprops={"arrowstyle": "-|>", "color": BLACK, "linewidth": 0.8})


def plot_tokens(pieces: Sequence[Piece], columns: int = 72) -> Figure:
    """A text as the model reads it: one box a token, coloured by what it belongs to; graded tokens are underlined.

    Parameters
    ----------
    pieces : from :func:`persona_ft.gpt_oss.harmony.pieces_of`.
    columns : how much stands in a line, in half-width characters.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle

    lines: list[list[tuple[Piece, str, int]]] = [[]]
    for piece in pieces:
        text = drawable(piece.text)
        n = columns_of(text)
        if lines[-1] and sum(w + 1 for *_, w in lines[-1]) + n > columns:
            lines.append([])
        lines[-1].append((piece, text, n))
        if "\n" in piece.text:
            lines.append([])
    lines = [line for line in lines if line]
    figure, ax = new_axes(9.5, 0.5 + 0.29 * len(lines))
    for row, line in enumerate(lines):
        x = 0.0
        for piece, text, n in line:
            ax.add_patch(Rectangle((x, row - 0.4), n + 0.6, 0.8, facecolor=PIECE_COLOURS[piece.kind], edgecolor="none"))
            ax.text(x + n / 2 + 0.3, row, text, ha="center", va="center", fontsize=9, color="black")
            if piece.graded:
                ax.plot([x, x + n + 0.6], [row + 0.46] * 2, color=BLACK, linewidth=2, solid_capstyle="butt")
            x += n + 1
    ax.set(xlim=(-0.5, columns + 1), ylim=(len(lines) - 0.4, -0.6))
    ax.axis("off")
    present = [kind for kind in PIECE_COLOURS if any(piece.kind == kind for piece in pieces)]
    handles = [Patch(color=PIECE_COLOURS[kind], label=kind) for kind in present]
    if any(piece.graded for piece in pieces):
        handles.append(Line2D([], [], color=BLACK, linewidth=2, label="graded"))
    ax.legend(handles=handles, frameon=False, fontsize=9, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return finished(figure)


def plot_nf4(original: np.ndarray, levels: np.ndarray) -> Figure:
    """A weight's values, and the 16 levels (times the block's largest value) to which NF4 rounds them."""
    figure, ax = new_axes()
    ax.hist(original, bins=81, color=GREY)
    for level in levels:
        ax.axvline(level, color=ORANGE, linewidth=1)
    ax.set_xlabel("weight / largest weight of its block of 64")
    ax.set_ylabel("weights")
    legend_above(ax, handles=[ax.patches[0], ax.lines[0]], labels=["values in this matrix", "NF4's 16 levels"])
    return finished(figure)


def plot_levels(levels: dict[str, Sequence[float]]) -> Figure:
    """The values that a block's weights can have, as shares of the largest: one row for each kind of 4 bit."""
    figure, ax = new_axes(7.0, 0.8 + 0.5 * len(levels))
    for row, (values, colour) in enumerate(zip(levels.values(), (ORANGE, BLUE, GREY), strict=False)):
        most = max(abs(value) for value in values)
        ax.plot([value / most for value in values], [row] * len(values), "|", color=colour, ms=16, mew=2)
    ax.set_yticks(range(len(levels)), list(levels))
    ax.set(ylim=(len(levels) - 0.5, -0.5), xlabel="weight / largest weight of its block")
    ax.spines["left"].set_visible(False)
    ax.tick_params(left=False)
    return finished(figure)


def plot_lora(config: PretrainedConfig, r: int, ranks: Sequence[int] = (1, 2, 4, 8, 16, 32, 64)) -> Figure:
    """Left: W, B and A of one query projection, to scale. Right: the trained share of all parameters, by rank."""
    from matplotlib.patches import Rectangle

    figure, (left, right) = new_axes(9.5, 3.8, columns=2)
    inputs, outputs, _ = lora_shapes(config, "attention")["q_proj"]
    thin = max(r, outputs // 80)  # a sliver is drawn at least this wide, or it could not be seen
    gap = outputs // 12
    left.add_patch(Rectangle((0, 0), inputs, outputs, facecolor=LIGHT, edgecolor=GREY))
    left.text(
        inputs / 2,
        outputs / 2,
        f"W\n{outputs:,} x {inputs:,}\n= {inputs * outputs:,}\nfrozen, 4 bit",
        ha="center",
        va="center",
    )
    left.text(inputs + gap, outputs / 2, "+ s ·", ha="center", va="center", fontsize=12)
    start = inputs + 2 * gap
    left.add_patch(Rectangle((start, 0), thin, outputs, facecolor=ORANGE))
    left.text(start + thin + gap / 3, outputs * 0.2, f"B\n{outputs:,} x {r}\nstarts at 0", va="center", fontsize=9)
    left.add_patch(Rectangle((start + 2 * gap, outputs - thin), inputs, thin, facecolor=BLUE))
    left.text(
        start + 2 * gap + inputs / 2,
        outputs - thin - gap / 3,
        f"A: {r} x {inputs:,}, starts random",
        ha="center",
        va="top",
        fontsize=9,
    )
    trained = f"B and A: {r} ({inputs:,} + {outputs:,})\n= {r * (inputs + outputs):,}, trained"
    left.text(start + 2 * gap + inputs / 2, outputs * 0.55, trained, ha="center", va="center", fontsize=9)
    left.set(xlim=(-gap, start + 2 * gap + inputs + gap), ylim=(-gap, outputs + gap), aspect="equal")
    left.axis("off")
    left.set_title(f"one query projection at r = {r}, to scale", fontsize=10)
    total = sum(count_parameters(config).values())
    for scope, colour in (("attention", BLUE), ("attention+experts", ORANGE)):
        counts = [count_lora_parameters(config, rank, scope) for rank in ranks]
        right.plot(ranks, [n / total for n in counts], color=colour, marker="o", label=f"LoRA on {scope}")
    chosen = count_lora_parameters(config, r)
    right.annotate(f"r = {r}: {chosen:,}", (r, chosen / total), xytext=(8, -14), textcoords="offset points", fontsize=9)
    right.set(xscale="log", yscale="log", xlabel="rank r", ylabel="trained share of all parameters")
    right.set_xticks(ranks, [str(rank) for rank in ranks])
    right.minorticks_off()
    right.yaxis.set_major_formatter(lambda share, _: f"{share:.3%}" if share < 0.001 else f"{share:.2%}")
    right.legend(frameon=False, fontsize=9)
    return finished(figure)


def plot_update(weight: np.ndarray, update: np.ndarray, singular: Sequence[float], r: int) -> Figure:
    """What training put beside a frozen matrix: a corner of W, the same corner of s B A, and the latter's singular
    values, of which only r are not zero.

    Parameters
    ----------
    weight, update : the same corner of W and of s B A, shape (outputs, inputs) both.
    singular : the largest singular values of all of s B A, largest first; the first r are drawn in another colour.
    """
    figure, axes = new_axes(9.5, 3.0, columns=3)
    for ax, matrix, name in ((axes[0], weight, "W"), (axes[1], update, "s B A")):
        most = float(abs(matrix).max()) or 1.0
        drawn = ax.imshow(matrix, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
        ax.set_title(f"{name}: a corner", fontsize=10)
        ax.set(xlabel="inputs", ylabel="outputs")
        figure.colorbar(drawn, ax=ax, shrink=0.8).ax.tick_params(labelsize=7)
    colours = [ORANGE if n < r else GREY for n in range(len(singular))]
    axes[2].bar(range(1, len(singular) + 1), singular, color=colours)
    axes[2].set_xlabel(f"singular values of s B A: {r} and no more")
    axes[2].set_ylabel("size")
    return finished(figure)
