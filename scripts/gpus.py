"""Write the table of cards into the guide of both languages: an hour's price, memory, time.

    python scripts/gpus.py

Everything is worked out as notebook 03 does it, for まさき。's pairs on gpt-oss-20b; prices are those of gpus.yaml.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from pathlib import Path

from persona_ft.data.persona import read_persona
from persona_ft.train.gpus import Card, choose_recipe, read_cards
from persona_ft.train.memory import GIB, estimate_step, estimate_training
from persona_ft.train.progress import duration
from persona_ft.train.rows import row_lengths

ROOT = Path(__file__).resolve().parents[1]
HEADERS = {
    "docs/guide.md": (
        "card",
        "an hour on Colab",
        "recipe",
        "memory, of what it has",
        "training, at most 40 steps",
        "that is",
    ),
    "docs/guide.ja.md": ("GPU", "Colab での 1 時間", "レシピ", "メモリ / 搭載量", "学習（最大 40 ステップ）", "費用"),
}
UNKNOWN = {"docs/guide.md": "not known", "docs/guide.ja.md": "不明"}
N_VALIDATION = 8  # pairs that notebook 02 sets aside


@cache
def rows() -> list[list[str | None]]:
    """The cards' cells; None is what is not known."""
    from transformers import AutoTokenizer, GptOssConfig

    config = GptOssConfig(num_hidden_layers=24, num_local_experts=32)
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "data/tiny-gpt-oss")
    persona, cards = read_persona(ROOT / "data/masaki"), read_cards()

    def row(card: Card) -> list[str | None]:
        recipe, _ = choose_recipe("auto", card)
        tokens, graded = map(max, row_lengths(persona.train, recipe, persona.profile.system_prompt, tokenizer))
        memory = estimate_training(config, recipe, tokens, graded, card.bfloat16)
        step = estimate_step(config, recipe, tokens, card)
        seconds = step and step.total * recipe.steps(len(persona.train) - N_VALIDATION)
        hour, cost = cards.cost(card, 3600), seconds and cards.cost(card, seconds)
        return [
            card.name,
            f"{hour[0]:.2f} units, {hour[1]:.2f} USD" if hour else None,
            f"`{recipe.name}`",
            f"{memory.total / GIB:.1f} / {card.memory_gib:.1f} GiB",
            duration(seconds) if seconds else None,
            f"{cost[0]:.2f} units" if cost else None,
        ]

    return [row(card) for card in cards.cards]


def table(page: str) -> str:
    """The table as Markdown, in the page's language."""
    header, unknown = HEADERS[page], UNKNOWN[page]
    lines = [header, ["---"] * len(header), *([cell or unknown for cell in row] for row in rows())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_table(page: str) -> str:
    """A page's text with the table of today between its two marks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"(<!-- cards -->\n).*?(?=<!-- /cards -->)", lambda m: f"{m[1]}{table(page)}\n", text, flags=re.S)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for page in HEADERS:
        (ROOT / page).write_text(with_table(page), encoding="utf-8")
        print(page)
