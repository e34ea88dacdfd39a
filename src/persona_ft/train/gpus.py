"""Rented GPUs: what they hold, how fast they are, and what an hour of them costs."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.load import Machine
from persona_ft.io import read_yaml
from persona_ft.train.recipe import Recipe, read_recipe

TABLE = Path(__file__).parent / "gpus.yaml"


class Card(BaseModel, extra="forbid", frozen=True):
    """One kind of GPU; ``gpus.yaml`` explains the fields and their units."""

    name: str
    matches: list[str] = []
    memory_gib: float = Field(gt=0)
    bfloat16: bool
    gb_s: float | None = None
    tflops: float | None = None
    units_per_hour: float | None = None


class Cards(BaseModel, extra="forbid"):
    """The table of cards, with the day and the source of its prices."""

    checked: Annotated[str, BeforeValidator(str)]  # a month; a day would be a date to YAML
    source: str
    usd_per_unit: float
    cards: list[Card]

    def named(self, name: str) -> Card:
        """The card of one name, such as ``"L4"``; raises PersonaError where the table has none."""
        known = {card.name: card for card in self.cards}
        if name not in known:
            remedy = f'use "auto", "CPU" or one of {", ".join(known)}, or add it to {TABLE.name}'
            raise PersonaError(f"no card is called {name!r}", remedy)
        return known[name]

    def of_machine(self, machine: Machine) -> Card | None:
        """The card at hand with the memory that it really reports; None on a CPU. An unknown one has no price."""
        if not machine.cuda:
            return None
        measured = {"memory_gib": machine.memory_gib, "bfloat16": machine.bfloat16}
        unknown = Card(name=machine.name, **measured)
        known = (card for card in self.cards if machine.name.endswith(tuple(card.matches)))
        return next(known, unknown).model_copy(update=measured)

    def profile(self, name: str, machine: Machine) -> tuple[Card | None, str]:
        """The card to plan for, and why: ``"auto"`` is the one at hand; ``"CPU"`` is none; else as :meth:`named`."""
        if name == "auto":
            card = self.of_machine(machine)
            return card, f"it is here, with {machine.memory_gib:.1f} GiB" if card else "no CUDA GPU is here"
        return None if name == "CPU" else self.named(name), f'PROFILE = "{name}"'

    def cost(self, card: Card | None, seconds: float) -> tuple[float, float] | None:
        """(compute units, USD) for some seconds; None where the card has no price."""
        if card is None or card.units_per_hour is None:
            return None
        units = seconds / 3600 * card.units_per_hour
        return units, units * self.usd_per_unit


def read_cards() -> Cards:
    """Read the table of cards; an entry that is not what it should be is named in a PersonaError."""
    return read_yaml(TABLE, Cards, "undo the last edit of the table of cards")


# Under this much the recommended recipe does not fit; t4 uses 8 rows x 2 accumulation steps instead of 16 rows.
SMALL_GIB = 16.0


def choose_recipe(name: str, card: Card | None, tiny: bool = False) -> tuple[Recipe, str]:
    """The recipe that ``"auto"``, a recipe's name or a file's path stands for, and why; ``card`` is None on a CPU."""
    if name != "auto":
        return read_recipe(name), f'RECIPE = "{name}"'
    if tiny:
        return read_recipe("tiny"), "the model is the tiny one"
    if card is None:
        return read_recipe("recommended"), "there is no GPU to fill"
    found = f"{card.name} has {card.memory_gib:.1f} GiB"
    if card.bfloat16 and card.memory_gib >= SMALL_GIB:
        return read_recipe("recommended"), found
    lack = f"less than {SMALL_GIB:.0f} GiB" if card.bfloat16 else "no bfloat16"
    return read_recipe("t4"), f"{found} and {lack}"
