"""Talk to a trained persona: several turns, streamed, each in the run folder's ``talks/`` before the next.

    python -m persona_ft.use.talk runs/me [--model FOLDER] [--temperature 0.7]

/base and /tuned choose who answers, /undo takes the last exchange back, /new begins a new talk, /prompt shows what the
model received, /correct TEXT puts a better answer into the training data, /save says where the talk is, /quit ends.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock
from types import SimpleNamespace
from typing import Any

from persona_ft.conversation import Conversation, Message, read_jsonl, write_jsonl
from persona_ft.data.split import check_leakage
from persona_ft.errors import PersonaError, number, read_line, visible
from persona_ft.gpt_oss import Model, Tokenizer
from persona_ft.gpt_oss.generate import ready_to_generate, stop_tokens, token_limit
from persona_ft.gpt_oss.harmony import FINAL, encode, final_message, parse_messages, render_prompt
from persona_ft.paths import shown
from persona_ft.use.load import TrainedRun, command, load_run

# Tokens of a prompt: persona, history and question.
BUDGET = 2048
# Two answers at once, in two talks over one model, would take the adapter off under each other.
ONE_AT_A_TIME = Lock()
IN_TRAINING = "It is among your answers; the next training has it."
THIS_IS_A_MODEL = "This is a model, trained on somebody's answers. It is not that person, and it makes things up."
TINY = " It is the tiny model, for practice: it has some of the tone, and its sentences often break."


@dataclass(eq=False, repr=False)
class Talk:
    """A talk of several turns with what :func:`~persona_ft.use.load.load_run` loaded. ``budget`` is the most tokens of
    a prompt: the oldest exchanges are left out first, each as a whole. At ``temperature`` 0 the answer is always the
    same; with ``tuned`` off, the base gives it. ``turns`` are the exchanges, ``received`` what the model got last."""

    run: TrainedRun
    model: Model
    tokenizer: Tokenizer
    budget: int = BUDGET
    temperature: float = 0.0
    tuned: bool = True

    def __post_init__(self) -> None:
        self.effort, self.received = self.run.effort, ""
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
        PersonaError for an empty question, and for one that is over the budget alone."""
        budget = self.budget if budget is None else budget
        if not question.strip():
            raise PersonaError("there is nothing to answer", "write something")
        opening = [{"role": "developer", "content": self.run.prompt}] if self.run.prompt else []
        asked = [*self.turns, Message(role="user", content=question)]
        for start in range(0, len(asked), 2):
            messages = opening + [{"role": turn.role, "content": turn.content} for turn in asked[start:]]
            prompt = render_prompt(self.tokenizer, messages, self.effort, self.run.think)
            length = len(encode(self.tokenizer, prompt))
            if length <= budget:
                return prompt
        raise PersonaError(f"with its prompt the message is {length} tokens, over {budget}", "write a shorter one")

    def stream(self, question: str, tuned: bool | None = None) -> Iterator[str]:
        """The answer piece by piece, without keeping it; while the model thinks, pieces are empty. Closing the iterator
        stops the model. ``tuned`` says who answers; None leaves it to whom the talk is set to."""
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

        arrived: SimpleQueue[list[int] | None] = SimpleQueue()
        closed = Event()

        def put(tokens: Any) -> None:
            if closed.is_set():
                raise InterruptedError  # nobody reads on: end model.generate
            arrived.put(tokens.flatten().tolist())

        how: dict[str, Any] = {"temperature": self.temperature} if self.temperature else {}
        how |= {"do_sample": bool(how), "max_new_tokens": token_limit(self.run.think, self.effort)}
        how |= {"eos_token_id": stop_tokens(self.model, self.tokenizer)}
        how |= {"streamer": SimpleNamespace(put=put, end=lambda: None)}
        batch = torch.tensor([encode(self.tokenizer, self.received)], device=self.model.device)

        def generate() -> None:
            adapter = nullcontext() if tuned else self.model.disable_adapter()
            with ONE_AT_A_TIME, ready_to_generate(self.model), adapter, torch.inference_mode():
                self.model.generate(batch, attention_mask=torch.ones_like(batch), **how)

        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(generate)
            work.add_done_callback(lambda _: arrived.put(None))
            try:
                for tokens in islice(iter(arrived.get, None), 1, None):  # the prompt comes first
                    yield from tokens
            finally:
                closed.set()
        work.result()  # raises here what was raised there

    def say(self, question: str) -> Iterator[str]:
        """Ask, stream the answer, and keep both: they are on disk when the iterator ends. PersonaError where no answer
        came, for the most part because the model thought up to its limit."""
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
        """Take the last exchange back, on disk too; the question that was asked, empty where there was none."""
        taken, self.turns = self.turns[-2:], self.turns[:-2]
        self.save()
        return taken[0].content if taken else ""

    def correct(self, answer: str) -> Path:
        """Put a better answer in place of the last one, and the pair, with the turns before it, into the training data;
        correcting it again replaces it. Returns the file that the next training reads. PersonaError where nothing was
        asked, the answer is empty, or the question is one of the test's."""
        if not self.turns or not answer.strip():
            raise PersonaError("there is no answer to correct", "ask first, then write what should have been said")
        turns = [*self.turns[:-1], Message(role="assistant", content=answer)]
        pair = Conversation(id=f"{self.id}-{len(turns) // 2}", category="corrected in a talk", messages=turns)
        check_leakage([pair], read_jsonl(self.run.folder / "test.jsonl"))
        path = self.run.folder / "train.jsonl"
        write_jsonl(path, [*(row for row in read_jsonl(path) if row.id != pair.id), pair])
        self.turns = turns
        self.save()
        return path


def obey(talk: Talk, line: str) -> str:
    """Carry a command out and say what was done. An unknown one changes nothing."""
    command, _, rest = line.partition(" ")
    match command:
        case "/base" | "/tuned":
            talk.tuned = command == "/tuned"
            return f"{command[1:]} answers now"
        case "/undo":
            return f"taken back: {talk.undo()}"
        case "/new":
            talk.new()
            return "a new talk"
        case "/prompt":
            return talk.received
        case "/correct":
            return f"in {shown(talk.correct(rest))} for the next training"
        case "/save":
            return f"saved after every answer, in {shown(talk.save())}"
    return "commands: /base /tuned /undo /new /prompt /correct TEXT /save /quit"


def talk_at_terminal(talk: Talk) -> None:
    """Read lines until /quit or the end of the input; Ctrl-C stops an answer."""
    print(f"{THIS_IS_A_MODEL}{TINY * talk.run.tiny}\n/quit ends; /help lists the commands.")
    while True:
        try:
            line = read_line("\n> ")
        except (EOFError, KeyboardInterrupt):
            break
        if line == "/quit":
            break
        try:
            if line.startswith("/"):
                print(visible(obey(talk, line)))
            elif line:
                for piece in talk.say(line):
                    print(visible(piece), end="", flush=True)
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
        temperature={"type": number(float, 0, 2), "default": 0.0, "help": "0: the same answer every time"},
    )
