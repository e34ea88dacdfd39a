"""The model: expert classes, LoRA targets and their count, batched answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.conversation import write_text
from persona_ft.errors import PersonaError
from persona_ft.harmony import FINAL, STOPS, HarmonyMessage, encode, final_message, own_turn, parse_messages

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
EXPERTS = ("gate_up_projs", "down_projs")
SCOPES = ("attention", "attention+experts")


def use_split_experts() -> None:
    """Load gpt-oss's experts as one Linear4bit each, as the pre-quantised checkpoints store them.

    On a GPU Unsloth does this by itself; its CPU backend leaves it to the caller. Call it after ``import unsloth`` and
    before ``from_pretrained``: without it the CPU would load the experts with random weights.
    """
    from unsloth_zoo.temporary_patches.gpt_oss import patch_gpt_oss_bnb4bit

    patch_gpt_oss_bnb4bit()


def compute_in_float32(model: PreTrainedModel) -> None:
    """On a CPU, let a loaded model compute in 32 bit; on a GPU nothing changes. Call it right after loading.

    The checkpoints name bfloat16, which few processors multiply in hardware: with AVX2 a training step of the tiny
    model took 10 times as long in it (``benchmarks/cpu_precision.py``), and its rounding depended on the processor. The
    weights stay in 4 bit; what they are unpacked to, and what is stored in 16 bit, becomes float32.
    """
    import torch
    from bitsandbytes.nn import Linear4bit

    if model.device.type != "cpu":
        return
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.compute_dtype, layer.compute_type_is_set = torch.float32, True
            layer.weight.quant_state.dtype = torch.float32
    model.config.dtype = torch.float32


def lora_targets(scope: str, n_experts: int) -> list[str]:
    """Module names for ``get_peft_model(target_modules=...)``, spelt out so that no version decides for the reader.

    The seven usual names (q, k, v, o, gate, up, down) reached attention alone in Unsloth before July 2026 and 1,536
    expert matrices since; naming the modules keeps the trainable count what the text says.

    Parameters
    ----------
    scope : ``"attention"`` or ``"attention+experts"``.
    n_experts : experts a layer, ``config.num_local_experts``.
    """
    if scope not in SCOPES:
        raise PersonaError(f"the LoRA scope {scope!r} is unknown", f"use one of {', '.join(SCOPES)}")
    experts = [f"{name}.{i}" for name in EXPERTS for i in range(n_experts)] if scope != "attention" else []
    return [*ATTENTION, *experts]


def lora_shapes(config: PretrainedConfig, scope: str) -> dict[str, tuple[int, int, int]]:
    """What LoRA is attached to: name -> (inputs, outputs, number of such matrices in the model)."""
    hidden, head = config.hidden_size, config.head_dim
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    layers = config.num_hidden_layers
    shapes = {
        "q_proj": (hidden, queries, layers),
        "k_proj": (hidden, keys, layers),
        "v_proj": (hidden, keys, layers),
        "o_proj": (queries, hidden, layers),
    }
    if scope != "attention":
        experts = layers * config.num_local_experts
        shapes["gate_up_projs"] = (hidden, 2 * config.intermediate_size, experts)
        shapes["down_projs"] = (config.intermediate_size, hidden, experts)
    return shapes


def count_lora_parameters(config: PretrainedConfig, r: int, scope: str = "attention") -> int:
    """Trainable parameters of rank-r LoRA: r x (inputs + outputs) a matrix (arXiv 2106.09685, section 4)."""
    return sum(r * (inputs + outputs) * n for inputs, outputs, n in lora_shapes(config, scope).values())


def lora_in_float32(model: torch.nn.Module) -> None:
    """Keep what is trained in 32 bit, as Unsloth does on a GPU; TRL puts LoRA on 4-bit weights in bfloat16.

    Call it once the trainer is made. In bfloat16 an update smaller than 1/256 of a weight is lost; and PEFT loads a
    checkpoint's LoRA in 32 bit, so that a resumed run would not be the run that was interrupted.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def count_trainable(model: torch.nn.Module) -> int:
    """Parameters that the optimizer will change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_parameters(config: PretrainedConfig) -> dict[str, int]:
    """gpt-oss's parameters by part, from its config alone."""
    hidden, layers, experts = config.hidden_size, config.num_hidden_layers, config.num_local_experts
    attention = sum(n * (i * o + o) for i, o, n in lora_shapes(config, "attention").values())
    attention += layers * config.num_attention_heads  # sinks
    expert = 3 * hidden * config.intermediate_size + 2 * config.intermediate_size + hidden
    return {
        "embedding": config.vocab_size * hidden,
        "attention": attention,
        "router": layers * (hidden + 1) * experts,
        "experts": layers * experts * expert,
        "norms": (2 * layers + 1) * hidden,
        "head": config.vocab_size * hidden,
    }


@contextmanager
def ready_to_generate(model: PreTrainedModel) -> Iterator[None]:
    """Inside: evaluation mode, cache on, router logits off. After: as it was.

    TRL turns ``output_router_logits`` on for a mixture of experts, to add the router's auxiliary loss; left on, a
    batched ``generate`` after training fails in ``load_balancing_loss_func``.
    """
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
    """New tokens for one answer: what was asked for, else enough for the protocol.

    Published low-effort outputs of gpt-oss-20b reach the final channel after 24 to 47 tokens and medium ones after
    about 130 (docs/real-model.md), but the tail is long: an answer that is cut off is lost.

    Raises
    ------
    PersonaError
        ``wanted`` is no whole number of at least 1, nor ``"auto"``.
    """
    if wanted == "auto":
        return THINKING_TOKENS[reasoning_effort] if think else ANSWER_TOKENS
    if isinstance(wanted, str) and wanted.isdecimal():  # typed into Colab's form
        wanted = int(wanted)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise PersonaError(f"MAX_NEW_TOKENS = {wanted!r}", 'use "auto" or a whole number of at least 1')
    return wanted


@dataclass(frozen=True)
class Completion:
    """What a model generated after a prompt.

    Attributes
    ----------
    text : the raw text with its special tokens, for eyes.
    messages : the same taken apart; read answers from here.
    n_tokens : new tokens up to the one that stopped generation, that one included.
    stopped : False when the limit came first.
    wanted : tokens that it took in the end when it was given more, of one that was cut off; None if nobody tried.
    """

    text: str
    messages: tuple[HarmonyMessage, ...]
    n_tokens: int
    stopped: bool
    wanted: int | None = None

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Completion:
        """What :func:`dataclasses.asdict` made of one."""
        return cls(**fields | {"messages": tuple(HarmonyMessage(**message) for message in fields["messages"])})

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


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end generation: Harmony's three, and what else the checkpoint's generation_config names."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [] if named is None else [named]
    return sorted({*named, *tokenizer.convert_tokens_to_ids(list(STOPS))})


def generate_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    max_new_tokens: int,
    batch_size: int = 32,
    progress: Callable[[int, int], Any] | None = None,
    **generation: Any,
) -> list[Completion]:
    """Answer many prompts, in batches of similar length padded on the left; greedy unless told otherwise.

    Parameters
    ----------
    prompts : from :func:`~persona_ft.harmony.render_prompt`; one that opens the final channel is answered at once.
    max_new_tokens : limit for each answer; one that hits it has ``stopped=False``.
    batch_size : prompts generated at once; halved, as often as it takes, when the GPU runs out of memory.
    progress : called with (done, total) after each batch.
    **generation : passed to ``model.generate``, e.g. ``do_sample=True, temperature=0.7``.

    Returns
    -------
    list of Completion, in the order of the prompts.
    """
    import torch

    ids = [encode(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    stops = stop_tokens(model, tokenizer)
    opened = encode(tokenizer, FINAL)
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
                done[i] = _completion(row, tokenizer, stops, opened if prompts[i].endswith(FINAL) else [])
            if progress:
                progress(len(done), len(order))
    return [done[i] for i in range(len(prompts))]


def _completion(row: list[int], tokenizer: PreTrainedTokenizerBase, stops: list[int], opened: list[int]) -> Completion:
    """Cut a generated row at the token that stopped it; what follows is padding. ``opened`` is what the prompt began of
    the answer's message."""
    last = next((n for n, token in enumerate(row, start=1) if token in stops), None)
    kept = row[:last]
    messages = parse_messages(tokenizer, [*opened, *kept])
    return Completion(tokenizer.decode([*opened, *kept]), tuple(messages), len(kept), last is not None)


class AnswerStore:
    """A condition's completions on disk, so that a lost session does not ask twice.

    Parameters
    ----------
    folder : where to keep them, one JSON file each.
    identity : everything that the answers depend on (model, adapter, prompts' settings, decoding). Answers of another
        identity are asked again.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder, self.identity = Path(folder), json.loads(json.dumps(identity))

    def get_or_ask(
        self, name: str, prompts: list[str], ask: Callable[[list[str]], list[Completion]]
    ) -> list[Completion]:
        """What was answered before to exactly these prompts, else what ``ask`` returns, which is then kept."""
        path = self.folder / f"{name.replace(' ', '').replace('+', '-')}.json"
        wanted = {"identity": self.identity, "prompts": prompts}
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if {key: kept[key] for key in wanted} == wanted:
                return [Completion.from_dict(fields) for fields in kept["completions"]]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none yet, or a damaged file: ask
        completions = ask(prompts)
        write_text(
            path,
            json.dumps(wanted | {"completions": [asdict(c) for c in completions]}, ensure_ascii=False, indent=1) + "\n",
        )
        return completions


def with_wanted_tokens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    completions: list[Completion],
    limit: int,
    times: int = 4,
) -> list[Completion]:
    """Ask again, greedily, what was cut off, with ``times`` as much room, and note how many tokens it took.

    The answers stay as they were: the limit was the same for all. One that runs out of this room too stays without.
    """
    cut = [i for i, completion in enumerate(completions) if not completion.stopped and completion.problem]
    if not cut:
        return completions
    longer = generate_completions(model, tokenizer, [prompts[i] for i in cut], times * limit)
    found = list(completions)
    for i, whole in zip(cut, longer, strict=True):
        found[i] = replace(found[i], wanted=whole.n_tokens if whole.stopped else None)
    return found


def log_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    completions: list[str],
    batch_size: int = 16,
) -> tuple[list[float], list[int]]:
    """How likely a model finds given completions after their prompts.

    Parameters
    ----------
    prompts : rendered prompts, n of them.
    completions : what follows each, special tokens included, such as ``…<|return|>`` after an opened final channel.
    batch_size : rows scored at once, padded on the right.

    Returns
    -------
    sums : n log-likelihoods in nats, each summed over its completion's tokens.
    lengths : n token counts.
    """
    before = [encode(tokenizer, prompt) for prompt in prompts]
    after = [encode(tokenizer, completion) for completion in completions]
    scores = token_scores(model, tokenizer, before, after, batch_size)
    return [math.fsum(row) for row in scores], [len(row) for row in scores]


def token_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    before: Sequence[list[int]],
    after: Sequence[list[int]],
    batch_size: int = 16,
) -> list[list[float]]:
    """Log-probability, in nats, of each token of ``after[i]`` given ``before[i]`` and the tokens that precede it.

    Parameters
    ----------
    before, after : n rows of token ids each.
    batch_size : rows scored at once, of similar length, padded on the right.
    """
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


def check_scores(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str], completions: list[str]
) -> dict[str, float]:
    """Make sure that no broken attention mask corrupts scores: a judge can be wrong while the text stays fluent.

    The first half of each completion must score the same alone and inside the whole row, since a token may not see what
    follows it; and each row must score the same alone and in a padded batch. In 16 bit no two batch shapes give the
    same numbers, least of all where rounding decides which experts a token visits. How much that is on this model and
    machine is measured first, on rows among copies of themselves, where a mask can make no difference.

    Returns
    -------
    dict
        For rounding alone and for each check the largest difference over rows, in nats per token.

    Raises
    ------
    PersonaError
        Scores depend on what follows or on what lies beside them.
    """
    before = [encode(tokenizer, prompt) for prompt in prompts]
    after = [encode(tokenizer, completion) for completion in completions]
    n = len(before)
    halves = [row[: max(1, len(row) // 2)] for row in after]
    alone = token_scores(model, tokenizer, before, after, batch_size=1)
    together = token_scores(model, tokenizer, before, after, batch_size=n)
    copies = [token_scores(model, tokenizer, [b] * n, [a] * n, n)[-1] for b, a in zip(before, after, strict=True)]

    def largest(some: list[list[float]], others: list[list[float]]) -> float:
        pairs = [list(zip(row, other, strict=False)) for row, other in zip(some, others, strict=True)]
        return max(sum(abs(a - b) for a, b in row) / len(row) for row in pairs)

    rounding = largest(alone, copies)
    found = {
        "prefix alone against prefix in its row": largest(
            together, token_scores(model, tokenizer, before, halves, batch_size=n)
        ),
        "row alone against row in a batch": largest(together, alone),
    }
    for name, difference in found.items():
        if not difference < SCORE_TOLERANCE + 3 * rounding:
            raise PersonaError(
                f"{name}: scores differ by {difference:.2f} nats per token where rounding makes {rounding:.2f}, "
                "so the attention mask is broken",
                "use the pinned versions of unsloth, unsloth_zoo and transformers, and leave compile off",
            )
    return {"rounding alone, a row among copies of itself": rounding, **found}
