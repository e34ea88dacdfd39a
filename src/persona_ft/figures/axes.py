"""Colours, fonts and axes that all figures share."""

from functools import cache
from pathlib import Path

from persona_ft.io import packaged

COLOURS = packaged("figures/colours")
NAMES = ("black", "blue", "green", "grey", "light", "orange")
BLACK, BLUE, GREEN, GREY, LIGHT, ORANGE = (COLOURS["palette"][name] for name in NAMES)


def new_axes(width: float = 7.0, height: float = 3.2, columns: int = 1, rows: int = 1):
    """A figure with axes side by side or in a grid, without frames, and a font for Japanese. It is closed for pyplot,
    so that a notebook draws it once: as the cell's result."""
    import matplotlib.pyplot as plt
    import matplotlib_fontja  # noqa: F401  registers the packaged Japanese font

    plt.rcParams["text.parse_math"] = False  # a $ in somebody's words is no formula
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained")
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    plt.close(figure)
    return figure, axes


def legend_above(ax, **what) -> None:
    """A legend over the axes, where it hides no data."""
    ax.legend(**{"frameon": False, "loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2} | what)


@cache
def _font_has(character: str) -> bool:
    """Whether the packaged Japanese font can draw it (an emoji it cannot)."""
    import matplotlib_fontja
    from matplotlib.font_manager import get_font

    (font,) = Path(matplotlib_fontja.__file__).parent.glob("fonts/*.ttf")
    return get_font(str(font)).get_char_index(ord(character)) != 0


def drawable(text: str) -> str:
    """The text with what would not show: spaces and line ends as signs, what the font lacks as its code point."""
    text = text.replace(" ", "␣").replace("\n", "\\n")
    return "".join(c if _font_has(c) else f"U+{ord(c):X}" for c in text)
