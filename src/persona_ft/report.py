"""comparison.json and report.html: one comparison, as data and as a page that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.conversation import write_text
from persona_ft.errors import PersonaError
from persona_ft.evaluation import Interval, Item, Pick, verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from pandas.io.formats.style import Styler

STACK = {
    "unsloth": "loads gpt-oss in 4 bit and makes it trainable on one card",
    "unsloth_zoo": "its patches for each model and library version",
    "transformers": "the model classes and the tokenizer",
    "peft": "LoRA",
    "trl": "SFTTrainer, supervised fine-tuning",
    "bitsandbytes": "NF4, the 4-bit numbers, and 8-bit AdamW",
    "accelerate": "puts model and batches on the device",
    "datasets": "holds the training rows",
    "torch": "tensors and gradients",
}


def versions() -> dict[str, str]:
    """Installed versions of the stack; a package that is missing is left out."""
    found = {}
    for name in STACK:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_comparison(
    path: Path | str,
    summary: dict[str, Any],
    items: Sequence[Item],
    worked: Sequence[Pick],
    failed: Sequence[Pick],
    setup: dict[str, Any],
) -> Path:
    """Write comparison.json: ``setup``, ``summary``, ``verdict``, ``worked``, ``failed`` and ``items``."""
    content = {
        "setup": setup,
        "summary": summary,
        "verdict": verdict(summary),
        "worked": [asdict(pick) for pick in worked],
        "failed": [asdict(pick) for pick in failed],
        "items": [asdict(item) for item in items],
    }
    return write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_comparison(path: Path | str) -> dict[str, Any]:
    """Read what :func:`write_comparison` wrote."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PersonaError("there is no comparison", "run notebook 04_compare with the same RUN", path) from error
    except ValueError as error:
        raise PersonaError("the file is not JSON", "run notebook 04_compare again", path) from error


def text_table(frame: pd.DataFrame) -> Styler:
    """A table of sentences as a notebook should show it: whole, and from the left."""
    left = [{"selector": "th, td", "props": [("text-align", "left"), ("vertical-align", "top")]}]
    return frame.style.set_table_styles(left)


def score_rows(summary: dict[str, Any]) -> list[dict[str, str]]:
    """The summary as rows of text: score, base, tuned."""
    base, tuned, n = summary["base"], summary["tuned"], summary["n_questions"]

    def row(name: str, show: Any) -> dict[str, str]:
        return {"name": name, "base": show(base), "tuned": show(tuned)}

    def interval(arm: dict[str, Any]) -> str:
        share = Interval(**arm["style_share"])
        return f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"

    return [
        row("answers in the person's style, with exact 95 % interval", interval),
        row(
            "log-likelihood of the person's answers, nats per token",
            lambda arm: f"{arm['log_likelihood_per_token']:.2f}",
        ),
        row(f"says that it is an AI, of {n}", lambda arm: str(arm["says_ai"])),
        row(f"stated facts said, of {summary['n_stated_facts']}", lambda arm: str(arm["stated_facts_said"])),
        row(f"no usable answer, of {n}", lambda arm: str(arm["problems"])),
        row("mean length, characters", lambda arm: f"{arm['mean_characters']:.0f}"),
    ]


def write_report(path: Path | str, name: str, comparison: dict[str, Any], figures: dict[str, Figure]) -> Path:
    """Write report.html, complete in one file; every text of a person or a model is escaped.

    Parameters
    ----------
    name : the persona's name.
    comparison : what :func:`read_comparison` returns.
    figures : description -> figure, embedded as PNG.
    """
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("persona_ft", "."), autoescape=True, keep_trailing_newline=True)
    page = environment.get_template("report.html.j2").render(
        name=name,
        verdict=comparison["verdict"],
        scores=score_rows(comparison["summary"]),
        figures=[{"alt": alt, "png": _png(figure)} for alt, figure in figures.items()],
        worked=comparison["worked"],
        failed=comparison["failed"],
        items=comparison["items"],
        setup=comparison["setup"],
        tiny=comparison["setup"].get("tiny", False),
    )
    return write_text(path, page)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode("ascii")
