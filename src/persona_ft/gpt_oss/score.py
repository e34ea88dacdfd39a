"""Log-likelihoods of given answers, in batches."""

import math
from collections.abc import Sequence
from functools import partial

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss import Model, Tokenizer
from persona_ft.gpt_oss.generate import ready_to_generate
from persona_ft.gpt_oss.harmony import encode


def log_likelihoods(
    model: Model, tokenizer: Tokenizer, prompts: list[str], completions: list[str], batch_size: int = 16
) -> tuple[list[float], list[int]]:
    """How likely a model finds n given completions, special tokens such as ``<|return|>`` included, after rendered
    prompts: n log-likelihoods in nats, each summed over its completion's tokens, and n token counts."""
    before, after = ([encode(tokenizer, text) for text in texts] for texts in (prompts, completions))
    scores = token_scores(model, tokenizer, before, after, batch_size)
    return [math.fsum(row) for row in scores], [len(row) for row in scores]


def token_scores(
    model: Model, tokenizer: Tokenizer, before: Sequence[list[int]], after: Sequence[list[int]], batch_size: int = 16
) -> list[list[float]]:
    """Log-probability, in nats, of each token of ``after[i]`` given ``before[i]`` and the tokens that precede it.
    Both are n rows of token ids; ``batch_size`` rows of similar length are scored at once, padded on the right."""
    import torch

    order = sorted(range(len(before)), key=lambda i: len(before[i]) + len(after[i]))
    scores: list[list[float]] = [[] for _ in before]
    with ready_to_generate(model), torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            rows = {"input_ids": [before[i] + after[i] for i in chosen]}
            batch = tokenizer.pad(rows, padding_side="right", return_tensors="pt").to(model.device)
            # Only the positions that predict a completion: 201,088 logits for each of the others are not needed.
            keep = 1 + max(batch["input_ids"].shape[1] - len(before[i]) for i in chosen)
            logits = model(**batch, use_cache=False, logits_to_keep=keep).logits
            offset = batch["input_ids"].shape[1] - logits.shape[1]
            for row, i in enumerate(chosen):
                first = len(before[i]) - 1 - offset
                predicted = torch.log_softmax(logits[row, first : first + len(after[i])].float(), dim=-1)
                targets = torch.tensor(after[i], device=predicted.device)
                scores[i] = predicted.gather(1, targets[:, None])[:, 0].tolist()
    return scores


# Mean difference per token, over three times what rounding is seen to do, that is still called agreement; a dropped
# causal mask gave over 2 nats.
SCORE_TOLERANCE = 0.1


def check_scores(model: Model, tokenizer: Tokenizer, prompts: list[str], completions: list[str]) -> dict[str, float]:
    """Make sure that no broken attention mask corrupts scores, which can happen while the text stays fluent. The first
    half of each completion must score the same alone and inside the whole row, since a token may not see what follows
    it; and each row must score the same alone and in a padded batch. In 16 bit no two batch shapes give the same
    numbers, least of all where rounding decides which experts a token visits. How much that is here is measured first,
    on rows among copies of themselves, where a mask can make no difference. Returns for rounding and for each check the
    largest difference over rows, in nats per token. PersonaError where scores depend on what follows or lies beside."""
    before, after = ([encode(tokenizer, text) for text in texts] for texts in (prompts, completions))
    n, halves = len(before), [row[: max(1, len(row) // 2)] for row in after]
    scores = partial(token_scores, model, tokenizer)

    def largest(some: list[list[float]], others: list[list[float]]) -> float:
        pairs = [list(zip(row, other, strict=False)) for row, other in zip(some, others, strict=True)]
        return max(sum(abs(a - b) for a, b in row) / len(row) for row in pairs)

    alone, together = scores(before, after, 1), scores(before, after, n)
    copies = [scores([b] * n, [a] * n, n)[-1] for b, a in zip(before, after, strict=True)]
    rounding = largest(alone, copies)
    found = {
        "prefix alone against prefix in its row": largest(together, scores(before, halves, n)),
        "row alone against row in a batch": largest(together, alone),
    }
    for name, difference in found.items():
        if not difference < SCORE_TOLERANCE + 3 * rounding:
            reason = f"{name}: scores differ by {difference:.2f} nats per token where rounding makes {rounding:.2f}"
            remedy = "use the pinned versions of unsloth, unsloth_zoo and transformers, and leave compile off"
            raise PersonaError(f"{reason}, so the attention mask is broken", remedy)
    return {"rounding alone, a row among copies of itself": rounding, **found}
