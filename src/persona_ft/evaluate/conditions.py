"""The conditions of the comparison: which weights, and which prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from persona_ft.conversation import Conversation, persona_messages
from persona_ft.data.persona import Profile
from persona_ft.evaluate.schema import Texts
from persona_ft.gpt_oss.harmony import FINAL, as_text
from persona_ft.gpt_oss.score import log_likelihoods

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Condition:
    """One way to be asked: with the adapter or without, with the persona's prompt or without it, with examples or facts
    in the prompt or none."""

    name: str
    description: str
    tuned: bool
    prompt: bool
    examples: int = 0
    facts: bool = False


def conditions(examples: int = 4, facts: bool = False) -> tuple[Condition, ...]:
    """The five conditions, and with ``facts`` two more whose prompt lists the persona's facts. ``base + prompt`` is the
    article's base: what a prompt alone can do."""
    base, tuned, prompt = "base weights", "adapter", "persona prompt"
    with_examples = f"{base}, {prompt} and the {examples} most similar training pairs"
    found = (
        Condition("base", f"{base}, no prompt", tuned=False, prompt=False),
        Condition("base + prompt", f"{base}, {prompt}", tuned=False, prompt=True),
        Condition("base + examples", with_examples, tuned=False, prompt=True, examples=examples),
        Condition("tuned + prompt", f"{tuned}, {prompt}", tuned=True, prompt=True),
        Condition("tuned", f"{tuned}, no prompt", tuned=True, prompt=False),
        Condition("base + facts", f"{base}, {prompt} and the facts", tuned=False, prompt=True, facts=True),
        Condition("tuned + facts", f"{tuned}, {prompt} and the facts", tuned=True, prompt=True, facts=True),
    )
    return found if facts else found[:5]


def stated_facts(profile: Profile) -> list[str]:
    """The facts that a prompt may list, a line each: all but those that are kept back from training."""
    return [f"- {fact.ja or fact.en}" for fact in profile.facts if fact.stated != "never"]


class SimilarPairs:
    """Finds the training pairs whose questions are most like a new one: cosine on tf-idf of character 1- to 3-grams.
    Weakness: it sees the same letters, not the same meaning."""

    def __init__(self, pairs: Sequence[Conversation]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.pairs = list(pairs)
        self.vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
        self.questions = self.vectorizer.fit_transform([pair.question for pair in self.pairs])

    def most_similar(self, question: str, n: int) -> list[Conversation]:
        """The n most similar pairs, or all of fewer; the most similar last: next to the question."""
        similarity = (self.questions @ self.vectorizer.transform([question]).T).toarray()[:, 0]
        return [self.pairs[i] for i in similarity.argsort(kind="stable")[max(0, len(self.pairs) - n) :]]


def condition_messages(
    condition: Condition, pair: Conversation, system_prompt: str, similar: SimilarPairs | None = None, facts: Texts = ()
) -> list[dict[str, str]]:
    """The messages that a condition is asked with: prompt, examples as earlier turns, question."""
    prompt = "\n".join([system_prompt, *facts]) if condition.facts else system_prompt
    messages = persona_messages(pair, prompt if condition.prompt else "")
    opening = int(messages[0]["role"] in ("system", "developer"))
    examples = similar.most_similar(pair.question, condition.examples) if similar else []
    shown = [m.model_dump(exclude_none=True) for e in examples for m in e.messages if m.role in ("user", "assistant")]
    return [*messages[:opening], *shown, *messages[opening:]]


def reference_likelihoods(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Texts, references: Texts, batch_size: int = 32
) -> np.ndarray:
    """Log-likelihood per token, in nats, of n reference answers after n rendered prompts once the final channel is
    open, shape (n,). Which channel a model chooses would be a quarter to a third of the figure, and hide how an answer
    is liked: that is :func:`final_channel_likelihoods`."""
    import numpy as np

    opened = [prompt.removesuffix(FINAL) + FINAL for prompt in prompts]
    endings = [f"{as_text(text)}<|return|>" for text in references]
    return np.divide(*log_likelihoods(model, tokenizer, opened, endings, batch_size))


def final_channel_likelihoods(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Texts, batch_size: int = 32
) -> list[float]:
    """Log-probability, in nats, that a model goes straight to the final channel, without analysis: one a prompt."""
    asked = [prompt.removesuffix(FINAL) for prompt in prompts]
    return log_likelihoods(model, tokenizer, asked, [FINAL] * len(asked), batch_size)[0]
