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


def duration(seconds: float) -> str:
    """Seconds as people say them: ``48 s``, ``3 min 05 s``, ``1 h 02 min``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def cost_text(cards: Cards, card: Card | None, seconds: float) -> str:
    """Compute units and money for some seconds, or why there are none."""
    cost = cards.cost(card, seconds)
    if cost is None:
        return "no GPU, no units" if card is None else f"no price for {card.name}"
    return f"{cost[0]:.3f} units ({cost[1]:.4f} USD)"


def progress_callback(
    live: bool,
    cards: Cards,
    card: Card | None,
    plot: Callable[[TrainingLog], Figure] | None = None,
    seconds_before: float = 0.0,
) -> TrainerCallback:
    """A Trainer callback that shows one line: step, losses, tokens a second, time left, memory, compute units so far.

    Parameters
    ----------
    live : someone looks: the line is rewritten at each step and the plot is drawn anew at each evaluation. False
        prints a line at each evaluation and at the end, for whoever follows a log.
    cards, card : the price table and the card at hand, for the cost so far.
    plot : draws the losses; used live alone.
    seconds_before : training time spent before this session.
    """
    import torch
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def __init__(self) -> None:
            self.losses: dict[str, float] = {}
            self.shown = None
            self.printed = ""

        def on_train_begin(self, args, state, control, **_) -> None:
            self.started, self.first_step = time.monotonic(), state.global_step
            self.first_tokens = int(state.num_input_tokens_seen)
            if live and plot:  # before the first line, so that the one line stays below it
                self.draw(plot(training_log(state.log_history)))

        def on_log(self, args, state, control, logs=None, **_) -> None:
            for name, short in {"loss": "loss", "eval_loss": "validation loss"}.items():
                if name in (logs or {}):
                    self.losses[short] = float(logs[name])
            if live and state.global_step > self.first_step:
                print("\r" + self.line(state), end="", flush=True)

        def on_evaluate(self, args, state, control, **_) -> None:
            if live and plot:
                self.draw(plot(training_log(state.log_history)))
            elif not live:
                self.say(state)

        def on_train_end(self, args, state, control, **_) -> None:
            if live:
                print("\r" + self.line(state), flush=True)
            else:
                self.say(state)

        def say(self, state) -> None:
            """Print the line unless nothing has happened since it was last printed."""
            if state.global_step > self.first_step and f"step {state.global_step}/" not in self.printed:
                self.printed = self.line(state)
                print(self.printed, flush=True)

        def draw(self, figure: Figure) -> None:
            from IPython.display import display

            if self.shown is None:
                self.shown = display(figure, display_id=True)
            else:
                self.shown.update(figure)

        def line(self, state) -> str:
            spent = max(time.monotonic() - self.started, 1e-9)
            steps = max(state.global_step - self.first_step, 1)
            left = spent / steps * max(0, state.max_steps - state.global_step)
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
