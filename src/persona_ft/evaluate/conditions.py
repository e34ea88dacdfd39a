"""The conditions of the comparison: which weights, and which prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from persona_ft.conversation import Conversation, persona_messages
from persona_ft.gpt_oss.harmony import FINAL, as_text
from persona_ft.gpt_oss.score import log_likelihoods

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Condition:
    """One way to be asked: with the adapter or without, with the persona's prompt or without, with examples or none."""

    name: str
    tuned: bool
    prompt: bool
    examples: int = 0

    @property
    def description(self) -> str:
        """In words."""
        said = "persona prompt" if self.prompt else "no prompt"
        said += f" and the {self.examples} most similar training pairs" if self.examples else ""
        return f"{'adapter' if self.tuned else 'base weights'}, {said}"


def conditions(examples: int = 4) -> tuple[Condition, ...]:
    """The five conditions. ``base + prompt`` is the article's base: what a prompt alone can do."""
    return (
        Condition("base", tuned=False, prompt=False),
        Condition("base + prompt", tuned=False, prompt=True),
        Condition("base + examples", tuned=False, prompt=True, examples=examples),
        Condition("tuned + prompt", tuned=True, prompt=True),
        Condition("tuned", tuned=True, prompt=False),
    )


class SimilarPairs:
    """Finds the training pairs whose questions are most like a new one: cosine on tf-idf of character 1- to 3-grams.

    scikit-learn alone, no network and no embedding model. Weakness: it sees the same letters, not the same meaning.
    """

    def __init__(self, pairs: Sequence[Conversation]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.pairs = list(pairs)
        self.vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
        self.questions = self.vectorizer.fit_transform([pair.question for pair in self.pairs])

    def most_similar(self, question: str, n: int) -> list[Conversation]:
        """The n most similar pairs, the most similar last: next to the question."""
        similarity: np.ndarray = (self.questions @ self.vectorizer.transform([question]).T).toarray()[:, 0]
        return [self.pairs[i] for i in similarity.argsort(kind="stable")[len(self.pairs) - n :]]


def condition_messages(
    condition: Condition, pair: Conversation, system_prompt: str, similar: SimilarPairs | None = None
) -> list[dict[str, str]]:
    """The messages that a condition is asked with: prompt, examples as earlier turns, question."""
    messages = persona_messages(pair, system_prompt if condition.prompt else "")
    opening = int(messages[0]["role"] in ("system", "developer"))
    examples = similar.most_similar(pair.question, min(condition.examples, len(similar.pairs))) if similar else []
    shown = [m.model_dump(exclude_none=True) for e in examples for m in e.messages if m.role in ("user", "assistant")]
    return [*messages[:opening], *shown, *messages[opening:]]


def reference_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    candidates: Sequence[Sequence[str]],
    batch_size: int = 32,
) -> np.ndarray:
    """Log-likelihood per token, in nats, of each candidate answer once the final channel is open.

    Which channel a model chooses is another question (:func:`final_channel_likelihoods`): at plausible values that
    choice would be a quarter to a third of the figure, and would hide how an answer is liked.

    Parameters
    ----------
    prompts : n rendered prompts of one condition.
    candidates : for each of them k answers, the person's own first.

    Returns
    -------
    array of shape (n, k); a candidate that is missing (fewer distractors) is -inf.
    """
    import numpy as np

    rows = [(i, j, text) for i, texts in enumerate(candidates) for j, text in enumerate(texts)]
    sums, lengths = log_likelihoods(
        model,
        tokenizer,
        [prompts[i].removesuffix(FINAL) + FINAL for i, _, _ in rows],
        [f"{as_text(text)}<|return|>" for _, _, text in rows],
        batch_size,
    )
    found = np.full((len(prompts), max(map(len, candidates))), -np.inf)
    for (i, j, _), total, n in zip(rows, sums, lengths, strict=True):
        found[i, j] = total / n
    return found


def final_channel_likelihoods(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], batch_size: int = 32
) -> list[float]:
    """Log-probability, in nats, that a model goes straight to the final channel, without analysis: one a prompt."""
    asked = [prompt.removesuffix(FINAL) for prompt in prompts]
    return log_likelihoods(model, tokenizer, asked, [FINAL] * len(asked), batch_size)[0]
