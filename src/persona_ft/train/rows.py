"""Training examples: prompt, completion, and the base's analysis where the recipe thinks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from persona_ft.conversation import CONTROL_WORD, Conversation, persona_messages
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss import Model, Tokenizer
from persona_ft.gpt_oss.generate import AnswerStore, generate_completions, token_limit
from persona_ft.gpt_oss.harmony import as_text, completion_text, encode, render_prompt
from persona_ft.train.recipe import Recipe


def training_row(pair: Conversation, system_prompt: str, reasoning_effort: str) -> dict[str, Any]:
    """A prompt/completion row for TRL, of which the completion is graded: the answer, after its ``thinking`` if any.
    Messages and template settings are those of inference, so both prompts are the same to the byte."""
    return {
        "prompt": persona_messages(pair, system_prompt),
        "completion": [pair.messages[-1].model_dump(exclude_none=True)],
        "chat_template_kwargs": {"reasoning_effort": reasoning_effort},
    }


def training_rows(
    pairs: Sequence[Conversation], recipe: Recipe, system_prompt: str, tokenizer: Tokenizer, watched: bool = False
) -> list[dict[str, Any]]:
    """Rows for TRL as the recipe wants them. ``loss_on: completion`` gives prompt/completion rows; ``loss_on: text``
    gives the rendered conversation as one text, all of which is graded; ``loss_on: question+completion`` gives the
    prompt/completion row as tokens, with the words of the last question graded beside the answer ("Instruction Tuning
    With Loss Over Instructions", arXiv 2405.14394, has the loss on all of the prompt). In a chat those are somebody
    else's words: use it for an interview's questions. Rows are tokens too where somebody's words look like control
    tokens, which TRL would read as control, and where some rows have an analysis and others none: a column that a row
    lacks would reach the template as None. ``watched`` rows, the validation pairs, are always tokens, with the loss on
    the answer alone, so that it compares: TRL goes by the training rows' form for all and would grade their prompts."""
    rows = [training_row(pair, system_prompt * recipe.system_prompt, recipe.reasoning_effort) for pair in pairs]
    words = (text for row in rows for m in (*row["prompt"], *row["completion"]) for text in m.values())
    mixed = len({"thinking" in row["completion"][0] for row in rows}) > 1
    watched = watched and recipe.loss_on != "text"
    if watched or mixed or recipe.loss_on == "question+completion" or any(map(CONTROL_WORD.search, words)):
        loss_on = "completion" if watched else recipe.loss_on
        return [_as_tokens(tokenizer, pair, recipe, system_prompt, loss_on) for pair in pairs]
    if recipe.loss_on == "completion":
        return rows
    render = partial(tokenizer.apply_chat_template, tokenize=False, reasoning_effort=recipe.reasoning_effort)
    return [{"text": render(row["prompt"] + row["completion"])} for row in rows]


def _as_tokens(tokenizer: Tokenizer, pair: Conversation, recipe: Recipe, system_prompt: str, loss_on: str) -> dict:
    """A row as tokens, with -100 as the label of what is not graded."""
    prompt, completion = rendered_row(tokenizer, pair, recipe, system_prompt)
    before, question, after = prompt.rpartition(as_text(pair.question))
    parts = [  # Control tokens stand between them, so they have the same tokens apart as together.
        (before, loss_on == "text"),
        (question, loss_on != "completion"),
        (after, loss_on == "text"),
        (completion, True),
    ]
    tokens = [(token, graded) for text, graded in parts for token in encode(tokenizer, text)]
    labels = [token if graded else -100 for token, graded in tokens]
    return {"input_ids": [token for token, _ in tokens], "labels": labels}


def rendered_row(tokenizer: Tokenizer, pair: Conversation, recipe: Recipe, system_prompt: str) -> tuple[str, str]:
    """A row's prompt, which ends with ``<|start|>assistant``, and its completion, both for :func:`encode`."""
    messages = persona_messages(pair, system_prompt * recipe.system_prompt)
    prompt = render_prompt(tokenizer, messages, recipe.reasoning_effort)
    return prompt, completion_text(pair.answer, pair.messages[-1].thinking)


# What a base's analysis takes for the estimate of memory, before it is written (docs/real-model.md).
ANALYSIS_TOKENS = {"low": 64, "medium": 256, "high": 1024}


def row_lengths(
    pairs: Sequence[Conversation], recipe: Recipe, system_prompt: str, tokenizer: Tokenizer
) -> tuple[list[int], list[int]]:
    """Tokens of each row, and how many of them are graded; an analysis still to be written is a guess. PersonaError for
    a row longer than ``max_length`` (TRL would cut its answer off), or an analysis that the recipe would leave out."""
    having = [pair for pair in pairs if pair.messages[-1].thinking]
    if having and recipe.think == "no":
        reason = f'{len(having)} pairs have "thinking", which the recipe drops, such as 「{having[0].question[:30]}」'
        raise PersonaError(reason, 'set THINK = "yes", or take "thinking" out of train.jsonl')
    totals, graded = [], []
    for pair in pairs:
        prompt, completion = rendered_row(tokenizer, pair, recipe, system_prompt)
        n_answer = len(encode(tokenizer, completion))
        if recipe.think == "yes" and not pair.messages[-1].thinking:
            n_answer += ANALYSIS_TOKENS[recipe.reasoning_effort]
        totals.append(len(encode(tokenizer, prompt)) + n_answer)
        n_question = len(encode(tokenizer, as_text(pair.question)))
        graded.append({"text": totals[-1], "completion": n_answer}.get(recipe.loss_on, n_question + n_answer))
    longest = max(totals, default=0)
    if longest > recipe.max_length:
        reason = f"the longest row, for 「{pairs[totals.index(longest)].question[:30]}」, has {longest} tokens"
        remedy = f"set MAX_LENGTH = {longest} if that fits the card, or shorten or leave out the longest pairs"
        raise PersonaError(f"{reason}; {recipe.max_length} are allowed", remedy)
    return totals, graded


def with_thinking(pairs: Sequence[Conversation], thoughts: Sequence[str | None]) -> list[Conversation]:
    """The pairs, each with an analysis before its answer: its own, else the given one, else none. A model that is tuned
    on answers without analysis unlearns to think; the base's own analysis of the question keeps that as it is."""
    found = []
    for pair, thought in zip(pairs, thoughts, strict=True):
        *before, last = pair.messages
        last = last.model_copy(update={"thinking": last.thinking or thought})
        found.append(pair.model_copy(update={"messages": [*before, last]}))
    return found


def base_thinking(
    model: Model, tokenizer: Tokenizer, pairs: Sequence[Conversation], system_prompt: str, recipe: Recipe, run: Path
) -> list[str | None]:
    """What the base thinks before it would answer each question, greedily; kept in the run folder for a lost session. A
    pair with a ``thinking`` of its own, or that the base answers at once or never ends thinking about, has None."""
    asked = [pair for pair in pairs if not pair.messages[-1].thinking]
    prompts = [render_prompt(tokenizer, persona_messages(p, system_prompt), recipe.reasoning_effort) for p in asked]
    limit = token_limit(True, recipe.reasoning_effort)
    store = AnswerStore(run / "answers", {"max_new_tokens": limit, "model": Path(model.config._name_or_path).name})
    with model.disable_adapter():
        ask = partial(generate_completions, model, tokenizer, max_new_tokens=limit)
        found = store.get_or_ask("analysis", prompts, ask)
    thoughts = iter(completion.thinking if completion.problem is None else None for completion in found)
    return [None if pair.messages[-1].thinking else next(thoughts) for pair in pairs]
