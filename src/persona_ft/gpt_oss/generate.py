"""Answers in batches: token limits, stop tokens, and a store that outlives a session."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss import Model, Tokenizer
from persona_ft.gpt_oss.harmony import FINAL, STOPS, HarmonyMessage, encode, final_message, own_turn, parse_messages
from persona_ft.io import read_json, write_text


@contextmanager
def ready_to_generate(model: Model) -> Iterator[None]:
    """Inside: evaluation mode, cache on, router logits off (TRL turns them on for a mixture of experts, and a batched
    ``generate`` then fails in ``load_balancing_loss_func``). After: as it was."""
    from unsloth import FastLanguageModel

    router_logits, training = model.config.output_router_logits, model.training
    FastLanguageModel.for_inference(model)
    model.config.output_router_logits = False
    try:
        yield
    finally:
        model.config.output_router_logits = router_logits
        if training:
            FastLanguageModel.for_training(model)


# New tokens that a thinking model gets, by effort; an answer without analysis gets the first.
ANSWER_TOKENS = 96
THINKING_TOKENS = {"low": 512, "medium": 1024, "high": 4096}


def token_limit(think: bool, reasoning_effort: str, wanted: int | str = "auto") -> int:
    """New tokens for one answer: ``wanted``, a whole number of at least 1, else enough for the protocol. gpt-oss-20b
    takes 24 to 47 to its final channel at low effort and about 130 at medium, with a long tail (docs/real-model.md)."""
    if wanted == "auto":
        return THINKING_TOKENS[reasoning_effort] if think else ANSWER_TOKENS
    if isinstance(wanted, str) and wanted.isdecimal():  # typed into Colab's form
        wanted = int(wanted)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise PersonaError(f"MAX_NEW_TOKENS = {wanted!r}", 'use "auto" or a whole number of at least 1')
    return wanted


@dataclass(frozen=True)
class Completion:
    """What a model generated after a prompt. ``text`` is raw, with its special tokens; answers are read from
    ``messages``. ``n_tokens`` includes the token that stopped generation; ``stopped`` is False when the limit came
    first, and ``wanted`` is what such an answer took in the end with more room; None if nobody tried."""

    text: str
    messages: tuple[HarmonyMessage, ...]
    n_tokens: int
    stopped: bool
    wanted: int | None = None

    @property
    def answer(self) -> str | None:
        """The final channel's text; None when the model never reached it."""
        final = final_message(self.messages)
        return final.text.strip() if final else None

    @property
    def thinking(self) -> str | None:
        """The text of the analysis channel before the answer; None when there is none."""
        final = final_message(self.messages)
        before = takewhile(lambda message: message is not final, own_turn(self.messages))
        return "\n".join(m.text for m in before if m.channel == "analysis").strip() or None

    @property
    def problem(self) -> str | None:
        """Why the answer cannot be used: a tool was called, no final channel, empty, or cut off by the limit."""
        final = final_message(self.messages)
        if final is None:
            return "called a tool" if any(m.calls_tool for m in own_turn(self.messages)) else "no final channel"
        if not final.complete and not self.stopped:
            return "cut off"
        return None if final.text.strip() else "empty"

    @property
    def ran_on(self) -> bool:
        """Whether it went on after its answer, with another turn or another message; that part is not read."""
        final = final_message(self.messages)
        return final is not None and self.messages[-1] is not final


def stop_tokens(model: Model, tokenizer: Tokenizer) -> list[int]:
    """The tokens that end generation: Harmony's three, and what else the checkpoint's generation_config names."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [] if named is None else [named]
    return sorted({*named, *tokenizer.convert_tokens_to_ids(list(STOPS))})


def generate_completions(
    model: Model,
    tokenizer: Tokenizer,
    prompts: list[str],
    max_new_tokens: int,
    batch_size: int = 32,
    progress: Callable[[int, int], Any] | None = None,
    **generation: Any,
) -> list[Completion]:
    """Answer many prompts of ``render_prompt``, in batches of similar length padded on the left; greedy, unless
    ``generation`` tells ``model.generate`` otherwise. ``batch_size`` is halved as often as it takes when the GPU runs
    out of memory; ``progress`` is called with (done, total) after each batch."""
    import torch

    ids = [encode(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    stops = stop_tokens(model, tokenizer)
    how = {"do_sample": False, "max_new_tokens": max_new_tokens, "eos_token_id": stops} | generation
    done: dict[int, Completion] = {}
    with ready_to_generate(model), torch.inference_mode():
        while len(done) < len(order):
            chosen = order[len(done) : len(done) + batch_size]
            batch = tokenizer.pad({"input_ids": [ids[i] for i in chosen]}, padding_side="left", return_tensors="pt")
            try:
                output = model.generate(**batch.to(model.device), **how)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                batch_size = max(1, min(batch_size, len(chosen)) // 2)
                torch.cuda.empty_cache()
                continue
            for i, row in zip(chosen, output[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
                done[i] = _completion(row, tokenizer, stops, FINAL if prompts[i].endswith(FINAL) else "")
            if progress:
                progress(len(done), len(order))
    return [done[i] for i in range(len(prompts))]


def _completion(row: list[int], tokenizer: Tokenizer, stops: list[int], opened: str) -> Completion:
    """A generated row up to the token that stopped it, after ``opened``, with which the prompt began the message."""
    last = next((n for n, token in enumerate(row, start=1) if token in stops), None)
    ids = [*encode(tokenizer, opened), *row[:last]]
    messages = tuple(parse_messages(tokenizer, ids))
    return Completion(tokenizer.decode(ids), messages, len(row[:last]), stopped=last is not None)


class AnswerStore:
    """A condition's completions, one JSON file each in ``folder``, so that a lost session does not ask twice. Answers
    of another ``identity`` (model, adapter, prompts' settings, decoding) are asked again."""

    FAULTS = (OSError, ValueError, LookupError, TypeError)

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder, self.identity = Path(folder), json.loads(json.dumps(identity))

    def get_or_ask(self, name: str, prompts: list[str], ask: Callable[..., list[Completion]]) -> list[Completion]:
        """What was answered before to exactly these prompts, else what ``ask`` returns, which is then kept."""
        wanted = {"identity": self.identity, "prompts": prompts}
        with suppress(*self.FAULTS):  # none yet, or a damaged file: ask
            kept, completions = self.kept(name)
            if {key: kept[key] for key in wanted} == wanted:
                return completions
        completions = ask(prompts)
        known = wanted | {"completions": [asdict(completion) for completion in completions]}
        write_text(self._path(name), json.dumps(known, ensure_ascii=False, indent=1) + "\n")
        return completions

    def kept(self, name: str) -> tuple[dict[str, Any], list[Completion]]:
        """What stands in a name's file, whatever it was asked with, and its completions; else one of ``FAULTS``."""
        kept = read_json(self._path(name))
        for fields in kept["completions"]:
            fields["messages"] = tuple(HarmonyMessage(**message) for message in fields["messages"])
        return kept, [Completion(**fields) for fields in kept["completions"]]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '').replace('+', '-')}.json"


def with_wanted_tokens(
    model: Model, tokenizer: Tokenizer, prompts: list[str], completions: list[Completion], limit: int
) -> list[Completion]:
    """Note how many tokens a cut-off answer takes with four times the room, if that is enough; it stays the same."""
    found = list(completions)
    if cut := [i for i, completion in enumerate(completions) if not completion.stopped and completion.problem]:
        longer = generate_completions(model, tokenizer, [prompts[i] for i in cut], 4 * limit)
        for i, whole in zip(cut, longer, strict=True):
            found[i] = replace(found[i], wanted=whole.n_tokens if whole.stopped else None)
    return found
