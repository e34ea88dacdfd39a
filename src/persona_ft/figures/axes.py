"""Colours, fonts and axes that all figures share."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"


SKY, YELLOW, AMBER, PINK, BLACK, LIGHT = "#56B4E9", "#F0E442", "#E69F00", "#CC79A7", "#000000", "#D0D0D0"


PURPLE = "#6A3D9A"


def new_axes(width: float = 7.0, height: float = 3.2, columns: int = 1):
    """A figure with one or more axes side by side, without frames, and a font for Japanese."""
    import matplotlib.pyplot as plt
    import matplotlib_fontja  # noqa: F401  registers the packaged Japanese font

    plt.rcParams["text.parse_math"] = False  # a $ in somebody's words is no formula
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
