"""A look at the loss mask, and checks that it is right."""

from collections.abc import Iterable, Sequence
from typing import Any

from persona_ft.conversation import Conversation
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss import Tokenizer
from persona_ft.gpt_oss.harmony import as_text, completion_text, encode
from persona_ft.train.recipe import Recipe
from persona_ft.train.rows import rendered_row


def graded_text(tokenizer: Tokenizer, labels: Iterable[int]) -> str:
    """The tokens that the loss counts, decoded."""
    return tokenizer.decode([token for token in labels if token != -100])


def context_text(tokenizer: Tokenizer, batch: dict[str, Any], row: int) -> str:
    """The tokens of one row of a batch that the loss does not count, decoded; padding is left out."""
    ungraded = (batch["labels"][row] == -100) & batch["attention_mask"][row].bool()
    return tokenizer.decode(batch["input_ids"][row][ungraded])


def check_graded(tokenizer: Tokenizer, labels: Iterable[int], pair: Conversation, loss_on: str = "completion") -> None:
    """PersonaError unless a row grades exactly its answer, analysis included, or what else its recipe says, token by
    token, so that control tokens in somebody's words would show."""
    graded = [label for label in labels if label != -100]
    wanted = encode(tokenizer, completion_text(pair.answer, pair.messages[-1].thinking))
    before = graded[: len(graded) - len(wanted)]
    if loss_on == "text":
        right = tokenizer.decode(before).startswith("<|start|>system")
    else:
        right = before == (encode(tokenizer, as_text(pair.question)) if loss_on == "question+completion" else [])
    if not right or graded[len(before) :] != wanted:
        reason = f"a training row grades {tokenizer.decode(graded)!r} and not {tokenizer.decode(wanted)!r}"
        remedy = "keep the rows in prompt/completion form, packing off and max_length above the longest row"
        raise PersonaError(reason, remedy)


def check_same_shape(
    tokenizer: Tokenizer, rows: Iterable[dict], pairs: Sequence[Conversation], system_prompt: str, recipe: Recipe
) -> int:
    """How many of the rows, tokenized and in the order of ``pairs``, are, token by token, what is sent at inference;
    PersonaError where the recipe promises that and a row breaks it."""
    same = 0
    for row, pair in zip(rows, pairs, strict=True):
        prompt, completion = rendered_row(tokenizer, pair, recipe.changed(system_prompt=True), system_prompt)
        alike = list(row["input_ids"]) == encode(tokenizer, prompt) + encode(tokenizer, completion)
        if recipe.same_shape and not alike:
            reason = f"the row for 「{pair.question[:30]}」 is not what will be asked at inference"
            remedy = f"raise MAX_LENGTH above {recipe.max_length} if the row is cut; else use one template for both"
            raise PersonaError(reason, remedy)
        same += alike
    return same
