"""Talk to a trained persona: several turns, streamed, with the base model a word away.

    python -m persona_ft.use.talk runs/me [--model FOLDER] [--temperature 0.7]

Every answer is in the run folder's ``talks/`` before the next question is asked. Commands: /base and /tuned choose who
answers, /undo takes the last exchange back, /new begins a new talk, /prompt shows what the model received, /correct
TEXT puts a better answer into the training data, /save says where the talk is, /quit ends.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.conversation import Conversation, Message, read_jsonl, write_jsonl
from persona_ft.data.split import check_leakage
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.generate import ready_to_generate, stop_tokens, token_limit
from persona_ft.gpt_oss.harmony import FINAL, encode, final_message, parse_messages, render_prompt
from persona_ft.paths import shown
from persona_ft.use.load import TrainedRun, command, load_run

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokens of a prompt: persona, history and question.
BUDGET = 2048
# Two answers at once, in two talks over one model, would take the adapter off under each other.
ONE_AT_A_TIME = threading.Lock()
THIS_IS_A_MODEL = "This is a model, trained on somebody's answers. It is not that person, and it makes things up."


class Talk:
    """A talk of several turns with a run's model.

    Parameters
    ----------
    run, model, tokenizer : from :func:`~persona_ft.use.load.trained_run` and :func:`~persona_ft.use.load.load_run`.
    budget : most tokens of a prompt; the oldest exchanges are left out of it first, each as a whole.
    temperature : 0 is greedy, the same answer every time.

    Attributes
    ----------
    turns : the exchanges so far, user and assistant by turns.
    tuned : whether the adapter answers; False asks the base model.
    received : the text that the model received last.
    """

    def __init__(
        self,
        run: TrainedRun,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        budget: int = BUDGET,
        temperature: float = 0.0,
    ) -> None:
        self.run, self.model, self.tokenizer = run, model, tokenizer
        self.budget, self.temperature = budget, temperature
        self.effort, self.tuned, self.received = run.effort, True, ""
        self.limit = token_limit(run.think, run.effort)
        self.new()

    def new(self) -> None:
        """Begin a new talk, in a file of its own."""
        self.turns: list[Message] = []
        self.id = f"talk-{datetime.now():%Y-%m-%dT%H-%M-%S-%f}"

    @property
    def path(self) -> Path:
        """The talk's file: one conversation."""
        return self.run.folder / "talks" / f"{self.id}.jsonl"

    def prompt_for(self, question: str, budget: int | None = None) -> str:
        """The text that the model receives: the persona's prompt, as much of the talk as fits, and the question.

        Raises
        ------
        PersonaError
            The question alone is over the budget, or empty.
        """
        budget = self.budget if budget is None else budget
        if not question.strip():
            raise PersonaError("there is nothing to answer", "write something")
        for start in range(0, len(self.turns) + 1, 2):
            opening = [{"role": "developer", "content": self.run.prompt}] if self.run.prompt else []
            history = [{"role": turn.role, "content": turn.content} for turn in self.turns[start:]]
            asked = [*opening, *history, {"role": "user", "content": question.strip()}]
            prompt = render_prompt(self.tokenizer, asked, self.effort, self.run.think)
            length = len(encode(self.tokenizer, prompt))
            if length <= budget:
                return prompt
        raise PersonaError(f"with its prompt the message is {length} tokens, over {budget}", "write a shorter one")

    def stream(self, question: str, tuned: bool | None = None) -> Iterator[str]:
        """The answer piece by piece, without keeping it; while the model thinks, pieces are empty. Closing the iterator
        stops the model.

        Parameters
        ----------
        tuned : who answers; None for whom the talk is set to.
        """
        self.received = self.prompt_for(question)
        ids, shown_so_far = encode(self.tokenizer, FINAL) if self.received.endswith(FINAL) else [], ""
        for token in self._tokens(self.tuned if tuned is None else tuned):
            ids.append(token)
            final = final_message(parse_messages(self.tokenizer, ids))
            text = final.text.lstrip() if final else ""
            yield text[len(shown_so_far) :]
            shown_so_far = max(shown_so_far, text, key=len)

    def _tokens(self, tuned: bool) -> Iterator[int]:
        """New tokens as the model, in a thread of its own, writes them."""
        import torch
        from transformers.generation import BaseStreamer

        arrived: queue.Queue[Any] = queue.Queue()
        closed = threading.Event()

        class Streamer(BaseStreamer):
            prompt_is_past = False

            def put(self, value: torch.Tensor) -> None:
                if closed.is_set():
                    raise InterruptedError  # nobody reads on: end model.generate
                for token in value.flatten().tolist() if self.prompt_is_past else ():
                    arrived.put(token)
                self.prompt_is_past = True

            def end(self) -> None:
                arrived.put(None)

        how: dict[str, Any] = {"do_sample": False}
        if self.temperature:
            how = {"do_sample": True, "temperature": self.temperature}
        how |= {"max_new_tokens": self.limit, "eos_token_id": stop_tokens(self.model, self.tokenizer)}
        how["streamer"] = Streamer()
        batch = torch.tensor([encode(self.tokenizer, self.received)], device=self.model.device)

        def generate() -> None:
            try:
                adapter = nullcontext() if tuned else self.model.disable_adapter()
                with ONE_AT_A_TIME, ready_to_generate(self.model), adapter, torch.inference_mode():
                    self.model.generate(batch, attention_mask=torch.ones_like(batch), **how)
            except Exception as error:  # raised again where the answer is read
                arrived.put(error)

        thread = threading.Thread(target=generate, daemon=True)
        thread.start()
        try:
            while (token := arrived.get()) is not None:
                if isinstance(token, Exception):
                    raise token
                yield token
        finally:
            closed.set()
            thread.join()

    def say(self, question: str) -> Iterator[str]:
        """Ask, stream the answer, and keep both: they are on disk when the iterator ends.

        Raises
        ------
        PersonaError
            The model wrote no answer (after reaching its limit while it thought, for the most part).
        """
        answer = ""
        for piece in self.stream(question):
            answer += piece
            yield piece
        if not answer.strip():
            raise PersonaError("the model wrote no answer", "ask again, otherwise, or at a lower effort")
        self.turns += [Message(role="user", content=question), Message(role="assistant", content=answer)]
        self.save()

    def save(self) -> Path:
        """Write the talk as it is; one of which nothing is left has no file."""
        if self.turns:
            write_jsonl(self.path, [Conversation(id=self.id, category="talk", messages=self.turns)])
        else:
            self.path.unlink(missing_ok=True)
        return self.path

    def undo(self) -> str:
        """Take the last exchange back, on disk too.

        Returns
        -------
        The question that was asked; empty where there was none.
        """
        taken, self.turns = self.turns[-2:], self.turns[:-2]
        self.save()
        return taken[0].content if taken else ""

    def correct(self, answer: str) -> Path:
        """Put a better answer in place of the last one, and the pair, with the turns before it, into the training data.

        Its id says which talk it is from; correcting it again replaces it.

        Returns
        -------
        The file that the next training reads.

        Raises
        ------
        PersonaError
            There is nothing to correct, the answer is empty, or the question is one of the test's.
        """
        if not self.turns or not answer.strip():
            raise PersonaError("there is no answer to correct", "ask first, then write what should have been said")
        turns = [*self.turns[:-1], Message(role="assistant", content=answer)]
        number = len(turns) // 2
        pair = Conversation(id=f"{self.id}-{number}", category="corrected in a talk", messages=turns)
        check_leakage([pair], read_jsonl(self.run.folder / "test.jsonl"))
        path = self.run.folder / "train.jsonl"
        write_jsonl(path, [*(row for row in read_jsonl(path) if row.id != pair.id), pair])
        self.turns = turns
        self.save()
        return path


def printable(text: str) -> str:
    """The text without the control characters that a terminal obeys."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def obey(talk: Talk, line: str) -> str:
    """Carry a command out and say what was done. An unknown one changes nothing."""
    command, _, rest = line.partition(" ")
    if command in ("/base", "/tuned"):
        talk.tuned = command == "/tuned"
        return f"{command[1:]} answers now"
    if command == "/undo":
        return f"taken back: {talk.undo()}"
    if command == "/new":
        talk.new()
        return "a new talk"
    if command == "/prompt":
        return talk.received
    if command == "/correct":
        return f"in {shown(talk.correct(rest))} for the next training"
    if command == "/save":
        return f"saved after every answer, in {shown(talk.save())}"
    return "commands: /base /tuned /undo /new /prompt /correct TEXT /save /quit"


def talk_at_terminal(talk: Talk) -> None:
    """Read lines until /quit or the end of the input; Ctrl-C stops an answer."""
    print(f"{THIS_IS_A_MODEL}\n/quit ends; /help lists the commands.")
    while True:
        try:
            line = input("\n> ").strip()
        except (EOFError, KeyboardInterrupt):
            break
        if line == "/quit":
            break
        try:
            if line.startswith("/"):
                print(printable(obey(talk, line)))
            elif line:
                for piece in talk.say(line):
                    print(printable(piece), end="", flush=True)
                print()
        except KeyboardInterrupt:
            print("\nstopped; this answer is not kept")
        except PersonaError as error:
            print(error)
    print(f"\n{shown(talk.path)}" if talk.turns else "")


if __name__ == "__main__":
    with suppress(ImportError):
        import readline  # noqa: F401  lines can be edited
    command(
        __doc__,
        lambda run, given: talk_at_terminal(Talk(run, *load_run(run), temperature=given.temperature)),
        temperature={"type": float, "default": 0.0, "help": "0: the same answer every time"},
    )
