"""Training rows, a look at what is graded, and a line of progress."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persona_ft.conversation import Conversation
from persona_ft.errors import PersonaError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerCallback


def training_row(pair: Conversation, system_prompt: str, reasoning_effort: str) -> dict[str, Any]:
    """A prompt/completion row for TRL: only the completion is graded.

    The prompt is built by the same messages and template settings as at inference, so both are the same to the byte.

    Parameters
    ----------
    pair : what was asked and answered.
    system_prompt : the persona's; it becomes the developer message.
    reasoning_effort : the one that will be asked for at inference.
    """
    return {
        "prompt": persona_messages(pair, system_prompt),
        "completion": [{"role": "assistant", "content": pair.answer}],
        "chat_template_kwargs": {"reasoning_effort": reasoning_effort},
    }


def persona_messages(pair: Conversation, system_prompt: str) -> list[dict[str, str]]:
    """The messages before the answer, opened by the persona's prompt unless the pair brings its own."""
    own = pair.messages[0].role in ("system", "developer")
    return pair.prompt if own else [{"role": "developer", "content": system_prompt}, *pair.prompt]


def graded_text(tokenizer: PreTrainedTokenizerBase, labels: Iterable[int]) -> str:
    """The tokens that the loss counts, decoded."""
    return tokenizer.decode([token for token in labels if token != -100])


def context_text(tokenizer: PreTrainedTokenizerBase, row: dict[str, list[int]]) -> str:
    """The tokens of a tokenized row that the loss does not count, decoded."""
    return tokenizer.decode(
        [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == -100]
    )


def check_graded(tokenizer: PreTrainedTokenizerBase, labels: Iterable[int], pair: Conversation) -> None:
    """Make sure that a row grades exactly the final channel of its answer.

    Raises
    ------
    PersonaError
        It grades anything else.
    """
    graded, wanted = graded_text(tokenizer, labels), f"<|channel|>final<|message|>{pair.answer}<|return|>"
    if graded != wanted:
        raise PersonaError(
            f"a training row grades {graded!r} and not {wanted!r}",
            "keep the rows in prompt/completion form, packing off and max_length above the longest row",
        )


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


def progress_callback(live: bool) -> TrainerCallback:
    """A callback that shows one line: step, losses, tokens a second, time left, GPU memory.

    Parameters
    ----------
    live : rewrite the line at each report (a notebook someone looks at); False prints it at the end alone.
    """
    import torch
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def __init__(self) -> None:
            self.losses: dict[str, float] = {}

        def on_train_begin(self, args, state, control, **_) -> None:
            self.started = time.monotonic()

        def on_log(self, args, state, control, logs=None, **_) -> None:
            for name, short in {"loss": "loss", "eval_loss": "dev loss"}.items():
                if name in (logs or {}):
                    self.losses[short] = float(logs[name])
            if live and state.global_step:
                print("\r" + self.line(state), end="", flush=True)

        def on_train_end(self, args, state, control, **_) -> None:
            print(("\r" if live else "") + self.line(state), flush=True)

        def line(self, state) -> str:
            spent = time.monotonic() - self.started
            left = spent / state.global_step * (state.max_steps - state.global_step)
            parts = [f"step {state.global_step}/{state.max_steps}"]
            parts += [f"{name} {value:.3f}" for name, value in self.losses.items()]
            # Counted by the trainer when include_num_input_tokens_seen is set.
            parts += [f"{int(state.num_input_tokens_seen) / spent:,.0f} tokens/s", f"{spent:.0f} s, {left:.0f} s left"]
            if torch.cuda.is_available():
                parts.append(f"peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
            return "  ".join(parts) + "  "

    return Progress()
