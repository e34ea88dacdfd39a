"""What training shows while it runs: a line, a plot, and the cost so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from persona_ft.train.gpus import Card, Cards
from persona_ft.train.trainer import TrainingLog, training_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import TrainerCallback

    Plot = Callable[[TrainingLog], Figure]


def duration(seconds: float) -> str:
    """Seconds as people say them: ``48 s``, ``3 min 05 s``, ``1 h 02 min``."""
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def cost_text(cards: Cards, card: Card | None, seconds: float) -> str:
    """Compute units and money for some seconds, or why there are none."""
    cost = cards.cost(card, seconds)
    if cost is None:
        return "no GPU, no units" if card is None else f"no price for {card.name}"
    return f"{cost[0]:.3f} units ({cost[1]:.4f} USD)"


def progress_callback(
    live: bool, cards: Cards, card: Card | None, plot: Plot | None = None, seconds_before: float = 0.0
) -> TrainerCallback:
    """A Trainer callback that shows one line: step, losses, tokens a second, time left, memory, compute units so far.
    ``live``: somebody watches, so the line is rewritten at each step and ``plot`` draws the losses anew at each
    evaluation; else a line is printed at each evaluation and at the end. ``card`` is the one at hand,
    ``seconds_before`` the training time before this session."""
    import torch
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def __init__(self) -> None:
            self.losses, self.shown = {}, None

        def on_train_begin(self, args, state, control, **_) -> None:
            self.started, self.first_step = time.monotonic(), state.global_step
            self.first_tokens, self.printed = int(state.num_input_tokens_seen), state.global_step
            self.draw(state)  # before the first line, so that the one line stays below it

        def on_log(self, args, state, control, logs=None, **_) -> None:
            for name, short in {"loss": "loss", "eval_loss": "validation loss"}.items():
                if name in (logs or {}):
                    self.losses[short] = float(logs[name])
            if live and state.global_step > self.first_step:
                print("\r" + self.line(state), end="", flush=True)

        def on_evaluate(self, args, state, control, **_) -> None:
            self.draw(state)
            if not live and state.global_step > self.printed:  # else nothing has happened since the last line
                print(self.line(state), flush=True)
                self.printed = state.global_step

        def on_train_end(self, args, state, control, **_) -> None:
            if live:
                print("\r" + self.line(state), flush=True)
            else:
                self.on_evaluate(args, state, control)

        def draw(self, state) -> None:
            if not (live and plot):
                return
            from IPython.display import display

            figure = plot(training_log(state.log_history))
            if self.shown is None:
                self.shown = display(figure, display_id=True)
            else:
                self.shown.update(figure)

        def line(self, state) -> str:
            spent = max(time.monotonic() - self.started, 1e-9)
            steps = max(state.global_step - self.first_step, 1)
            left = spent / steps * max(state.max_steps - state.global_step, 0)
            # Counted by the trainer when include_num_input_tokens_seen is set.
            rate = (int(state.num_input_tokens_seen) - self.first_tokens) / spent
            parts = [f"step {state.global_step}/{state.max_steps}"]
            parts += [f"{name} {value:.3f}" for name, value in self.losses.items()]
            parts += [f"{rate:,.0f} tokens/s", f"{duration(spent + seconds_before)}, at most {duration(left)} left"]
            if torch.cuda.is_available():
                parts.append(f"peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
            if card is not None:
                parts.append(cost_text(cards, card, spent + seconds_before))
            return "  ".join(parts) + "  "

    return Progress()
