"""A talk without a model, for what is around it: it says back what it is told, a word at a time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from persona_ft.conversation import Conversation, write_jsonl
from persona_ft.data.persona import Profile
from persona_ft.use.load import TrainedRun
from persona_ft.use.talk import Talk


class Parrot(Talk):
    """Says the question back; "slowly" in it makes each word take a while."""

    def stream(self, question: str, tuned: bool | None = None) -> Iterator[str]:
        self.received = self.prompt_for(question)
        for word in re.findall(r"\s*\S+", question):
            time.sleep(0.3 if "slowly" in question else 0)
            yield word

    def prompt_for(self, question: str, budget: int | None = None) -> str:
        return f"{self.run.prompt}\n{question}"


def parrot(folder: Path, name: str) -> Parrot:
    """A parrot of this name with a run folder to write into."""
    for part in ("train", "test"):
        write_jsonl(folder / f"{part}.jsonl", [Conversation.pair(f"a question of the {part} part", "an answer")])
    training = {"reasoning_effort": "low", "recipe": {"system_prompt": True}, "tiny": True}
    return Parrot(TrainedRun(folder, training, Profile(name=name, system_prompt=name), "tiny"), None, None)  # type: ignore[arg-type]
