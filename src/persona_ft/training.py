"""Training rows, a look at what is graded, and the loss."""

from __future__ import annotations

import gc
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

from persona_ft.conversation import CONTROL_WORD, Conversation, persona_messages
from persona_ft.errors import PersonaError
from persona_ft.harmony import as_text, completion_text, encode, render_prompt
from persona_ft.model import AnswerStore, generate_completions, lora_in_float32, ready_to_generate, token_limit
from persona_ft.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import SFTTrainer


def training_row(pair: Conversation, system_prompt: str, reasoning_effort: str) -> dict[str, Any]:
    """A prompt/completion row for TRL: only the completion is graded.

    The prompt is built by the same messages and template settings as at inference, so both are the same to the byte.

    Parameters
    ----------
    pair : what was asked and answered; ``thinking`` of the answer is part of the completion.
    system_prompt : the persona's; it becomes the developer message. Empty leaves it out.
    reasoning_effort : the one that will be asked for at inference.
    """
    return {
        "prompt": persona_messages(pair, system_prompt),
        "completion": [pair.messages[-1].model_dump(exclude_none=True)],
        "chat_template_kwargs": {"reasoning_effort": reasoning_effort},
    }


def training_rows(
    pairs: Sequence[Conversation],
    recipe: Recipe,
    system_prompt: str,
    tokenizer: PreTrainedTokenizerBase,
    watched: bool = False,
) -> list[dict[str, Any]]:
    """Rows for TRL as the recipe wants them.

    ``loss_on: completion`` gives prompt/completion rows; ``loss_on: text`` gives the rendered conversation as one text,
    all of which is graded; ``loss_on: question+completion`` gives the prompt/completion row as tokens, with the words
    of the last question graded beside the answer ("Instruction Tuning With Loss Over Instructions", arXiv 2405.14394,
    has the loss on all of the prompt). In a chat those are somebody else's words: use it for an interview's questions.
    Where somebody's words look like control tokens, rows are given as tokens too: TRL would read them as control.

    ``watched``: the rows are the dev pairs, whose loss is of the answer alone even then, so that it compares.
    """
    rows = [training_row(pair, system_prompt * recipe.system_prompt, recipe.reasoning_effort) for pair in pairs]
    words = (text for row in rows for m in (*row["prompt"], *row["completion"]) for text in m.values())
    if recipe.loss_on == "question+completion" or any(map(CONTROL_WORD.search, words)):
        return [_as_tokens(pair, recipe, system_prompt, tokenizer, watched) for pair in pairs]
    if recipe.loss_on == "completion":
        return rows
    return [
        {
            "text": tokenizer.apply_chat_template(
                row["prompt"] + row["completion"], tokenize=False, **row["chat_template_kwargs"]
            )
        }
        for row in rows
    ]


def _as_tokens(
    pair: Conversation, recipe: Recipe, system_prompt: str, tokenizer: PreTrainedTokenizerBase, watched: bool
) -> dict[str, list[int]]:
    """A row as tokens, with -100 as the label of what is not graded."""
    prompt, completion = rendered_row(tokenizer, pair, recipe, system_prompt)
    loss_on = "completion" if watched and recipe.loss_on != "text" else recipe.loss_on
    question = as_text(pair.question)
    first = prompt.rindex(question)
    parts = [  # Control tokens stand between them, so they have the same tokens apart as together.
        (prompt[:first], loss_on == "text"),
        (question, loss_on != "completion"),
        (prompt[first + len(question) :], loss_on == "text"),
        (completion, True),
    ]
    tokens = [(encode(tokenizer, text), graded) for text, graded in parts]
    return {
        "input_ids": [token for ids, _ in tokens for token in ids],
        "labels": [token if graded else -100 for ids, graded in tokens for token in ids],
    }


def rendered_row(
    tokenizer: PreTrainedTokenizerBase, pair: Conversation, recipe: Recipe, system_prompt: str
) -> tuple[str, str]:
    """A row's prompt, which ends with ``<|start|>assistant``, and its completion, both for :func:`encode`."""
    messages = persona_messages(pair, system_prompt * recipe.system_prompt)
    prompt = render_prompt(tokenizer, messages, recipe.reasoning_effort)
    return prompt, completion_text(pair.answer, pair.messages[-1].thinking)


# What a base's analysis takes for the estimate of memory, before it is written (docs/real-model.md).
ANALYSIS_TOKENS = {"low": 64, "medium": 256, "high": 1024}


def row_lengths(
    pairs: Sequence[Conversation], recipe: Recipe, system_prompt: str, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[int]]:
    """Tokens of each row, and how many of them are graded. Analysis that is still to be written counts with a guess.

    Raises
    ------
    PersonaError
        A row is longer than the recipe's ``max_length``: TRL would cut its answer off. Or a pair has an analysis that
        the recipe would leave out.
    """
    check_thinking(pairs, recipe)
    totals, graded = [], []
    for pair in pairs:
        prompt, completion = rendered_row(tokenizer, pair, recipe, system_prompt)
        n_answer = len(encode(tokenizer, completion))
        if recipe.think == "yes" and not pair.messages[-1].thinking:
            n_answer += ANALYSIS_TOKENS[recipe.reasoning_effort]
        totals.append(len(encode(tokenizer, prompt)) + n_answer)
        if totals[-1] > recipe.max_length:
            raise PersonaError(
                f"the row for 「{pair.question[:30]}」 has {totals[-1]} tokens, more than {recipe.max_length}",
                f"set MAX_LENGTH = {totals[-1]} if that fits the card, or shorten or leave out the pair",
            )
        n_question = len(encode(tokenizer, as_text(pair.question)))
        graded.append({"text": totals[-1], "completion": n_answer}.get(recipe.loss_on, n_question + n_answer))
    return totals, graded


def check_thinking(pairs: Sequence[Conversation], recipe: Recipe) -> None:
    """Refuse analysis in the pairs that the recipe would leave out.

    Raises
    ------
    PersonaError
        A pair has ``thinking`` and the recipe answers without.
    """
    having = [pair for pair in pairs if pair.messages[-1].thinking]
    if having and recipe.think == "no":
        raise PersonaError(
            f'{len(having)} pairs have "thinking", which an answer without analysis would drop; the first is '
            f"「{having[0].question[:30]}」",
            'set THINK = "yes", or take "thinking" out of train.jsonl',
        )


def with_thinking(pairs: Sequence[Conversation], thoughts: Sequence[str | None]) -> list[Conversation]:
    """The pairs, each with an analysis before its answer: its own, else the given one, else none.

    A model that is tuned on answers without analysis unlearns to think. The base's own analysis of the same question
    keeps that as it is, and only the answer is new.
    """
    found = []
    for pair, thought in zip(pairs, thoughts, strict=True):
        last = pair.messages[-1]
        last = last.model_copy(update={"thinking": last.thinking or thought})
        found.append(pair.model_copy(update={"messages": [*pair.messages[:-1], last]}))
    return found


def base_thinking(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Conversation],
    system_prompt: str,
    recipe: Recipe,
    run: Path,
) -> list[str | None]:
    """What the base thinks before it would answer each question, greedily; kept in the run folder, so that a lost
    session does not ask twice.

    A pair with a ``thinking`` of its own is not asked; one that the base answers at once, or never ends thinking
    about, has None.
    """
    asked = [pair for pair in pairs if not pair.messages[-1].thinking]
    prompts = [render_prompt(tokenizer, persona_messages(p, system_prompt), recipe.reasoning_effort) for p in asked]
    limit = token_limit(True, recipe.reasoning_effort)
    store = AnswerStore(run / "answers", {"max_new_tokens": limit, "model": Path(model.config._name_or_path).name})
    with model.disable_adapter():
        found = store.get_or_ask(
            "analysis", prompts, lambda texts: generate_completions(model, tokenizer, texts, limit)
        )
    thoughts = iter(completion.thinking if completion.problem is None else None for completion in found)
    return [None if pair.messages[-1].thinking else next(thoughts) for pair in pairs]


def graded_text(tokenizer: PreTrainedTokenizerBase, labels: Iterable[int]) -> str:
    """The tokens that the loss counts, decoded."""
    return tokenizer.decode([token for token in labels if token != -100])


def context_text(tokenizer: PreTrainedTokenizerBase, batch: dict[str, Any], row: int) -> str:
    """The tokens of one row of a batch that the loss does not count, decoded; padding is left out."""
    columns = (batch[name][row].tolist() for name in ("input_ids", "labels", "attention_mask"))
    return tokenizer.decode([token for token, label, seen in zip(*columns, strict=True) if seen and label == -100])


def check_graded(
    tokenizer: PreTrainedTokenizerBase, labels: Iterable[int], pair: Conversation, loss_on: str = "completion"
) -> None:
    """Make sure that a row grades exactly its answer, analysis included where it has some, or what else its recipe
    says, token by token: control tokens in somebody's words would show.

    Raises
    ------
    PersonaError
        It grades anything else.
    """
    graded = [label for label in labels if label != -100]
    wanted = encode(tokenizer, completion_text(pair.answer, pair.messages[-1].thinking))
    before = graded[: len(graded) - len(wanted)]
    if graded[len(before) :] == wanted:
        if loss_on == "text" and tokenizer.decode(before).startswith("<|start|>system"):
            return
        if before == {"question+completion": encode(tokenizer, as_text(pair.question))}.get(loss_on, []):
            return
    raise PersonaError(
        f"a training row grades {tokenizer.decode(graded)!r} and not {tokenizer.decode(wanted)!r}",
        "keep the rows in prompt/completion form, packing off and max_length above the longest row",
    )


def check_same_shape(
    tokenizer: PreTrainedTokenizerBase,
    rows: Iterable[dict[str, list[int]]],
    pairs: Sequence[Conversation],
    system_prompt: str,
    recipe: Recipe,
) -> int:
    """Count the rows whose prompt is, token by token, the one that is sent at inference.

    Parameters
    ----------
    rows : tokenized training rows, in the order of ``pairs``.

    Raises
    ------
    PersonaError
        The recipe promises the same shape and a row breaks it.
    """
    same = 0
    for row, pair in zip(rows, pairs, strict=True):
        prompt, completion = rendered_row(tokenizer, pair, recipe.changed(system_prompt=True), system_prompt)
        alike = list(row["input_ids"]) == encode(tokenizer, prompt) + encode(tokenizer, completion)
        if recipe.same_shape and not alike:
            raise PersonaError(
                f"the row for 「{pair.question[:30]}」 is not what will be asked at inference",
                f"raise MAX_LENGTH above {recipe.max_length} if the row is cut; else use the same template for both",
            )
        same += alike
    return same


def use_graded_logits(trainer: SFTTrainer) -> None:
    """Compute the loss from the graded tokens' logits alone.

    gpt-oss scores 201,088 words at each position. TRL's fused head scores only the positions that are graded, the
    smaller part of a row, in tiles; on a GPU Unsloth replaces that by a loss over every position, whose memory depends
    on what else is free. This puts TRL's back (``trl.trainer.utils.add_fused_lm_head``); the loss is the same number.
    """
    import torch

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**{**inputs, "use_cache": False}, fused_lm_head=True)
        n_graded = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
        loss = -outputs.log_probs.sum() / torch.as_tensor(n_graded).clamp(min=1)
        if self.aux_loss_enabled:
            # Averaged over the batches of a step, since the loss above is divided by all of their tokens.
            batches = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / batches
        return (loss, outputs) if return_outputs else loss

    trainer.compute_loss = MethodType(compute_loss, trainer)


def use_fused_swiglu() -> None:
    """Let the experts' activation run as one kernel each way instead of about twenty-five, on a GPU without compile.

    Unsloth has that kernel (``unsloth_zoo.temporary_patches.moe_fused_swiglu``) and does not use it for the experts of
    a 4-bit gpt-oss. It rounds as the operations that it stands for, one by one: the losses of a training on an H100
    were the same to the last digit with and without it. On a CPU the old one stays.
    """
    from unsloth_zoo.temporary_patches import gpt_oss, moe_fused_swiglu

    unfused = gpt_oss.swiglu_torch_forward
    if getattr(unfused, "fused", False):
        return
    act = moe_fused_swiglu.ACT_GPTOSS

    def swiglu(a, alpha, limit, dtype=None):
        if dtype in (None, a.dtype) and moe_fused_swiglu.fused_swiglu_supported(a):
            return moe_fused_swiglu.moe_fused_swiglu(a, act, True, alpha, limit, True)
        return unfused(a, alpha, limit, dtype=dtype)

    swiglu.fused = True
    gpt_oss.swiglu_torch_forward = swiglu


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Around ``trainer.train()``: what is loaded by now is left out of garbage collection until the end.

    The Trainer and Accelerate collect several times; each time Python would walk a million objects of the model, half a
    second on gpt-oss-20b.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@dataclass
class TrainingLog:
    """What the trainer reported: optimizer step -> loss, on the training batch and on the dev pairs."""

    train: list[tuple[int, float]]
    dev: list[tuple[int, float]]


def training_log(history: list[dict[str, float]]) -> TrainingLog:
    """Take ``trainer.state.log_history`` apart."""
    return TrainingLog(
        train=[(int(row["step"]), float(row["loss"])) for row in history if "loss" in row],
        dev=[(int(row["step"]), float(row["eval_loss"])) for row in history if "eval_loss" in row],
    )


def router_loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """The router's load-balancing loss on some texts, which the training loss leaves out (Switch Transformers,
    arXiv 2101.03961, equation 4; transformers sums it over the experts that a token visits).

    It is ``num_experts_per_tok`` when every expert gets the same share, and grows as a few take over. The router is
    frozen; its inputs are not, so the figure says whether tuning has upset the routing.
    """
    import torch
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    ids = [encode(tokenizer, text) for text in texts]
    config, total = model.config, 0.0
    with ready_to_generate(model), torch.inference_mode():
        for row in ids:
            batch = torch.tensor([row], device=model.device)
            outputs = model(input_ids=batch, use_cache=False, output_router_logits=True, logits_to_keep=1)
            total += float(
                load_balancing_loss_func(outputs.router_logits, config.num_local_experts, config.num_experts_per_tok)
            )
    return total / len(ids)


def short_training(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    recipe: Recipe,
    bfloat16: bool,
    cuda: bool,
) -> list[float]:
    """Train as notebook 03 does, without dev pairs, checkpoints or a word; for experiments of a few steps.

    Parameters
    ----------
    model : with its LoRA in place.
    rows : from :func:`training_rows`.

    Returns
    -------
    The loss of each step, in nats per graded token.
    """
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    recipe = recipe.changed(dev_pairs=False, early_stopping_patience=None, checkpoint_every=None)
    how = recipe.sft_arguments(len(rows), model.config.hidden_size, bfloat16, cuda) | {"dataset_num_proc": 1}
    # Unsloth says the same few lines before each training.
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(rows),
            args=SFTConfig(**how, output_dir=folder),
        )
        trainer.remove_callback(PrinterCallback)
        lora_in_float32(model)
        if recipe.logits == "graded":
            use_graded_logits(trainer)
        if not recipe.compile:
            use_fused_swiglu()
        trainer.train()
    return [loss for _, loss in training_log(trainer.state.log_history).train]
