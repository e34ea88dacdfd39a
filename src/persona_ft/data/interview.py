"""The interview: one question at a time, every answer on disk before the next; in the notebook or at a terminal.

    python -m persona_ft.data.interview --run runs/me [--language en] [--endpoint http://localhost:8080/v1 --model NAME]

Answers are appended to ``interview.jsonl``; an edited one is appended again, and the last one counts. After a very
short answer something is asked back: by a model where one is at hand, else one of a few set phrases.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from persona_ft.conversation import Conversation, Text, jsonl_line, read_jsonl
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.ask import Ask, endpoint
from persona_ft.io import append_line, mend_last_line, read_rows
from persona_ft.language import POLITE
from persona_ft.paths import resolve, run_folder

if TYPE_CHECKING:
    from ipywidgets import Widget

BANK = "data/questions.jsonl"
ANSWERS = "interview.jsonl"
# Asked after a short answer, where no model is at hand to think of something better.
FOLLOW_UPS = {
    "ja": ("もうちょっと詳しく！", "なんで？", "最近だといつ？", "それで、どうなった？"),
    "en": ("Tell me a bit more!", "Why is that?", "When was the last time?", "And then what happened?"),
}
SHORT, LONG = 8, 80
ASK_BACK = {
    "ja": "あなたは友だちに話を聞いています。相手の短い返事に、くだけた口調で一つだけ聞き返してください。"
    "聞き返す一文だけを書き、30字以内にしてください。",
    "en": "You are chatting with a friend to get to know them. Their answer was very short: ask back one casual "
    "question, at most 12 words. Write the question and nothing else.",
}


class BankQuestion(BaseModel):
    """A question of the bank, in Japanese and in English."""

    model_config = ConfigDict(extra="forbid")

    id: Text
    category: Text
    ja: Text
    en: Text


def read_bank(language: Literal["ja", "en"] | str = "ja", path: Path | str | None = None) -> list[Conversation]:
    """The bank's questions in one language, as conversations whose answer is still open (…).

    Raises
    ------
    PersonaError
        Names file and line of what cannot be used.
    """
    remedy = 'write {"id": …, "category": …, "ja": …, "en": …}'
    return [
        Conversation.pair(row.en if language == "en" else row.ja, "…", id=row.id, category=row.category)
        for row in read_rows(path or resolve(BANK), BankQuestion, remedy).values()
    ]


def questions_for(source: Path | str, language: str) -> list[Conversation]:
    """The interview's questions: ``"bank"``, or those of a JSONL file."""
    return read_bank(language) if str(source) == "bank" else read_jsonl(resolve(source))


class Interview:
    """An interview that can be left at any moment and gone on with on another day.

    Parameters
    ----------
    questions : what is asked, in order; their own answers are not looked at.
    path : the JSONL file that collects the answers.
    language : of the follow-up questions.
    ask : a model that thinks of the follow-up questions; without one they are set phrases.

    Raises
    ------
    PersonaError
        The file holds a line that is not a conversation.
    """

    def __init__(
        self, questions: Sequence[Conversation], path: Path | str, language: str = "ja", ask: Ask | None = None
    ) -> None:
        self.questions, self.path = list(questions), Path(path)
        self.language, self.ask, self.trouble = "en" if language == "en" else "ja", ask, ""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        mend_last_line(self.path)
        self.skipped: set[str] = set()
        self.extra: Conversation | None = None
        self.editing: Conversation | None = None
        self.pairs()

    def pairs(self) -> list[Conversation]:
        """The answers so far, in the order of their last change; of several to one question the last."""
        if not self.path.exists() or not self.path.read_bytes().strip():
            return []
        found: dict[str, Conversation] = {}
        for pair in read_jsonl(self.path):
            found.pop(pair.question, None)
            found[pair.question] = pair
        return [pair for pair in found.values() if not self._is_stale(pair, found)]

    @staticmethod
    def _is_stale(pair: Conversation, found: dict[str, Conversation]) -> bool:
        """Whether it follows up an answer that has been changed since: its question still quotes the old one."""
        if not (pair.id or "").endswith("+"):
            return False
        base = next((q for q in found if pair.question.startswith(f"{q}\n")), None)
        return base is None or not pair.question.startswith(f"{base}\n{found[base].answer}\n")

    def current(self) -> Conversation | None:
        """What is asked now: an answer being edited, a follow-up, else the first question without an answer."""
        if self.editing or self.extra:
            return self.editing or self.extra
        done = {pair.question for pair in self.pairs()} | self.skipped
        return next((question for question in self.questions if question.question not in done), None)

    def answer(self, text: str) -> None:
        """Write the answer to the current question; after a very short one something is asked back."""
        question, text = self.current(), text.strip()
        if question is None or not text:
            return
        pair = Conversation.pair(question.question, text, category=question.category, id=question.id)
        append_line(self.path, jsonl_line(pair))
        was_question = not (self.editing or self.extra)
        self.editing = self.extra = None
        if was_question and len(text) < SHORT:
            number = len(self.pairs())
            back = self.follow_up(question.question, text, number)
            known = {"category": question.category, "id": f"{question.id or number}+"}
            # Asked together with what it follows, so that the pair makes sense by itself.
            self.extra = Conversation.pair(f"{question.question}\n{text}\n{back}", "…", **known)

    def follow_up(self, question: str, answer: str, number: int) -> str:
        """What is asked back after a short answer; a model that fails or rambles is replaced by a set phrase."""
        phrases = FOLLOW_UPS[self.language]
        if self.ask:
            text = f"{question}\n{answer}"
            told = [{"role": "developer", "content": ASK_BACK[self.language]}, {"role": "user", "content": text}]
            try:
                back = self.ask([told])[0].strip().strip('「」"')
                if 0 < len(back) <= LONG and "\n" not in back:
                    return back
            except PersonaError as error:  # the answer is on disk already: an interview goes on without a model
                self.ask, self.trouble = None, str(error)
        return phrases[number % len(phrases)]

    def skip(self) -> None:
        """Leave the current question out for today."""
        if self.extra or self.editing:
            self.extra = self.editing = None
        elif question := self.current():
            self.skipped.add(question.question)

    def something_else(self) -> None:
        """Move what is left of the current category to the end."""
        if self.extra or self.editing:
            self.skip()
        question = self.current()
        if question is None:
            return
        self.questions.sort(key=lambda other: other.category == question.category)

    def back(self) -> None:
        """Take up the answer before: its text can be changed, and the old one stays in the file until it is."""
        pairs = self.pairs()
        if self.editing:
            at = [pair.question for pair in pairs].index(self.editing.question)
            self.editing = pairs[max(0, at - 1)]
        elif pairs:
            self.editing = pairs[-1]

    def progress(self) -> str:
        """How many are answered, and what is left by category."""
        done = {pair.question for pair in self.pairs()}
        left = Counter(q.category or "other" for q in self.questions if q.question not in done)
        answered = sum(question.question in done for question in self.questions)
        rest = ", ".join(f"{category} {n}" for category, n in left.items())
        return f"{answered}/{len(self.questions)}" + (f" · left: {rest}" if rest else " · all answered")

    def hint(self, text: str) -> str:
        """A word on an answer before it is kept: too long, more formal than the others, or nothing to learn from."""
        text = text.strip()
        others = [pair.answer for pair in self.pairs()]
        if not text:
            return ""
        usual = statistics.median(map(len, others)) if others else 20
        if len(text) > max(LONG, 3 * usual):
            return f"{len(text)} characters, usually {usual:g}: would you type that to a friend?"
        formal = sum(bool(POLITE.search(other)) for other in others)
        if len(others) >= 5 and formal / len(others) < 0.3 and POLITE.search(text):
            return "more formal than your other answers"
        if len(text) <= 2 or text.lower() in ("yes", "no", "はい", "いいえ"):
            return "little to learn a tone from: add a few words?"
        return ""


def interview_form(interview: Interview) -> Widget:
    """The interview in a notebook: answer, skip, back, something else; nothing is lost when the tab is closed."""
    import ipywidgets as widgets

    progress, question, hint = widgets.HTML(), widgets.HTML(), widgets.HTML()
    text = widgets.Textarea(layout=widgets.Layout(width="95%", height="5em"))
    names = ("answer", "skip", "back", "ask me something else")
    buttons = [widgets.Button(description=name, layout=widgets.Layout(width="auto")) for name in names]
    box = widgets.VBox([progress, question, text, hint, widgets.HBox(buttons)])

    def show() -> None:
        from html import escape

        now = interview.current()
        progress.value = escape(interview.progress())
        question.value = (
            f"<b>{escape(now.question)}</b>".replace("\n", "<br>") if now else "<b>All done. Thank you!</b>"
        )
        text.value = interview.editing.answer if interview.editing else ""
        hint.value, interview.trouble = escape(interview.trouble), ""
        text.disabled = buttons[0].disabled = now is None

    warned = ""

    def answer(_) -> None:
        nonlocal warned
        said = interview.hint(text.value)
        if said and warned != text.value:  # once: pressing again keeps the answer as it is
            warned, hint.value = text.value, f"{said} (press again to keep it)"
            return
        interview.answer(text.value)
        show()

    def then(action) -> None:
        action()
        show()

    buttons[0].on_click(answer)
    for button, action in zip(buttons[1:], (interview.skip, interview.back, interview.something_else), strict=True):
        button.on_click(lambda _, action=action: then(action))
    show()
    return box


def at_terminal(interview: Interview) -> None:
    """The interview at a terminal: Enter skips, b goes back, e asks something else, q stops for today."""
    while (question := interview.current()) is not None:
        print(f"\n[{interview.progress()}]\n{question.question}")
        if interview.editing:
            print(f"(so far: {interview.editing.answer})")
        if interview.trouble:
            print(f"({interview.trouble})")
            interview.trouble = ""
        try:
            text = input("(Enter skips, b back, e something else, q stops) > ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        word = text.lower()
        if word in ("q", "quit", "exit"):
            return
        if word in ("b", "back"):
            interview.back()
        elif word == "e":
            interview.something_else()
        elif not text:
            interview.skip()
        else:
            if said := interview.hint(text):
                print(f"  note: {said}; b takes it up again")
            interview.answer(text)
    left = "Those that were skipped come back another day." if interview.skipped else "All answered."
    print(f"{left} Thank you!")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/mine")
    parser.add_argument("--language", choices=("ja", "en"), default="ja")
    parser.add_argument("--endpoint", help="an OpenAI-compatible address whose model asks back; answers are sent there")
    parser.add_argument("--model", default="", help="the name of that model")
    options = parser.parse_args(arguments)
    try:
        ask = endpoint(options.endpoint, options.model) if options.endpoint else None
        interview = Interview(read_bank(options.language), run_folder(options.run) / ANSWERS, options.language, ask)
        at_terminal(interview)
        print(interview.progress())
    except PersonaError as error:
        print(f"\n{error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
