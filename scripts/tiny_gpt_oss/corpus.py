"""Write the conversations that the tiny gpt-oss is pre-trained on.

Two thirds are talks with a polite assistant. One third are group chats in which users answer each other casually: a
large model has read millions of such chats before anyone made it an assistant, and fine-tuning can only bring out what
a model already knows. The assistant itself never speaks casually, and never like a persona.

    python scripts/tiny_gpt_oss/corpus.py        # prints ten of them
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from persona_ft.dataset import comparable

HERE = Path(__file__).resolve().parent
FRIENDS_SHARE = 1 / 3
HIRAGANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ"
KATAKANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワ"
SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Sample:
    """One conversation with the reasoning effort and date that its system message states."""

    messages: list[dict[str, str]]
    effort: str
    date: str


class Corpus:
    """Draws conversations from topics.yaml.

    Parameters
    ----------
    excluded : texts that must not appear as a user's message, compared by :func:`~persona_ft.dataset.comparable`
        (the questions of the personas, so that they stay unseen).
    seed : the same seed draws the same conversations.
    """

    def __init__(self, excluded: list[str], seed: int = 0) -> None:
        self.topics = yaml.safe_load((HERE / "topics.yaml").read_text(encoding="utf-8"))
        self.excluded = {comparable(text) for text in excluded}
        self.random = random.Random(seed)

    def __iter__(self) -> Iterator[Sample]:
        while True:
            yield self.sample()

    def sample(self) -> Sample:
        draw, slots = self.random, self._slots()
        effort = draw.choices(["low", "medium", "high"], [5, 4, 1])[0]
        persona = draw.random() < 0.5
        messages = []
        if persona:
            messages.append({"role": "developer", "content": self._developer(slots)})
        friends = draw.random() < FRIENDS_SHARE
        for turn in range(n_turns := draw.choices([1, 2, 3], [5, 3, 2])[0]):
            intent, question, fill = self._question(slots)
            messages.append({"role": "user", "content": question})
            if friends:
                messages.append({"role": "user", "content": self._friend(intent, fill)})
                continue
            reply = {"role": "assistant", "content": self._answer(intent, fill, persona)}
            if turn == n_turns - 1 and effort != "low":
                reply["thinking"] = self._thinking(self._filled(intent["think"], fill), effort, persona)
            messages.append(reply)
        date = f"{draw.choice([2024, 2025, 2026])}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"
        return Sample(messages, effort, date)

    def _slots(self) -> dict[str, str]:
        slots = {name: self.random.choice(values) for name, values in self.topics["slots"].items()}
        if self.random.random() < 0.7:
            slots["name"] = self._made_up_name()
        return slots

    def _made_up_name(self) -> str:
        """A name seen nowhere else: only by copying it from the developer message can the model say it."""
        kana = self.random.choice([HIRAGANA, HIRAGANA, KATAKANA])
        name = "".join(self.random.choices(kana, k=self.random.randint(2, 4)))
        return name + self.random.choice(["", "", "", "。", "さん", "くん"])

    def _developer(self, slots: dict[str, str]) -> str:
        name, job = slots["name"], slots["job"]
        opening = self.random.choice(
            [
                f"あなたは{job}の「{name}」です。",
                f"あなたは「{name}」という名前の{job}です。",
                f"{name}という{job}として会話してください。",
                f"あなたの名前は{name}、職業は{job}です。",
            ]
        )
        manners = self.random.sample(self.topics["slots"]["manner"], self.random.randint(1, 3))
        return opening + "".join(manners)

    @cached_property
    def _kinds(self) -> dict[str, list[tuple[str, str]]]:
        return {kind: list(things.items()) for kind, things in self.topics["things"].items()}

    def _question(self, slots: dict[str, str]) -> tuple[dict, str, dict[str, str]]:
        """An intent, a question of it, and the values of its slots; drawn again while the question is excluded."""
        while True:
            form = self.random.choices(["everyday", "thing", "choice"], [64, 28, 8])[0]
            fill = dict(slots)
            if form == "everyday":
                intent = self.random.choice(self.topics["intents"])
            elif form == "thing":
                intent = self.random.choice(self.topics["thing_intents"])
                fill["x"], fill["p"] = self.random.choice(self._kinds[self.random.choice(intent["kinds"])])
            else:
                intent = self.topics["choice_intent"]
                kind = self._kinds[self.random.choice(list(self._kinds))]
                (fill["a"], fill["pa"]), (fill["b"], fill["pb"]) = self.random.sample(kind, 2)
            question = self._casual(self._pick(intent["user"], fill), self.random.choice(self.topics["prefixes"]))
            if comparable(question) not in self.excluded:
                return intent, question, fill

    def _answer(self, intent: dict, fill: dict[str, str], persona: bool) -> str:
        answer = self._pick((persona and intent.get("answer_with_persona")) or intent["answer"], fill)
        return answer if answer.isascii() else answer + self.random.choice(self.topics["closers"])

    def _friend(self, intent: dict, fill: dict[str, str]) -> str:
        reply = self._pick(intent["friend"], fill)
        if reply.isascii():
            return reply
        after = self.random.choice(self.topics["afterwords"])
        return self._casual(reply, self.random.choice(self.topics["openers"])) + (self._casual(after) if after else "")

    def _pick(self, texts: list[str], slots: dict[str, str]) -> str:
        return self._filled(self.random.choice(texts), slots)

    def _filled(self, text: str, slots: dict[str, str]) -> str:
        return SLOT.sub(lambda match: slots[match[1]], text)

    def _casual(self, text: str, prefix: str = "") -> str:
        """The text as people type it: with a word before it and a mark after it, or neither."""
        if text.isascii():
            return text
        suffix = "" if text[-1] in "？！w〜、" else self.random.choice(self.topics["suffixes"])
        return prefix + text + suffix

    def _thinking(self, think: str, effort: str, persona: bool) -> str:
        parts = [think]
        if persona:
            parts.append("The developer gave me a role, but I stay polite.")
        if effort == "high":
            parts.append("I should keep the answer short, honest and kind. One or two sentences are enough.")
        return " ".join([*parts, "Answer in the user's language."])


if __name__ == "__main__":
    for sample, _ in zip(Corpus(excluded=[]), range(10), strict=False):
        print(sample)
