"""The interview: one question at a time, every answer on disk before the next; in the notebook or at a terminal.

    python -m persona_ft.data.interview --run runs/me [--language en] [--endpoint http://localhost:8080/v1 --model NAME]

Answers are appended to ``interview.jsonl``; an edited one is appended again, and the last one counts. After a very
short answer something is asked back: by a model where one is at hand, else one of a few set phrases.
"""

from __future__ import annotations

import argparse
import statistics
import unicodedata
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from persona_ft.conversation import Conversation, jsonl_line, rows_in
from persona_ft.data.bank import is_test, questions_for, words
from persona_ft.errors import PersonaError, as_command, read_line
from persona_ft.gpt_oss.ask import Ask, endpoint
from persona_ft.io import append_line, mend_last_line
from persona_ft.language import POLITE
from persona_ft.paths import run_folder

if TYPE_CHECKING:
    from ipywidgets import Widget

ANSWERS = "interview.jsonl"
# Characters of an answer after which something is asked back, and of one that is long for a chat.
SHORT, LONG = 8, 80
# The category of a line that takes an answer back: the file keeps what was said, and the question is open again.
REMOVED = "removed"


def latest(path: Path) -> dict[str, Conversation]:
    """The last line for each question of a file of answers, which may take its answer back (:data:`REMOVED`)."""
    found: dict[str, Conversation] = {}
    for pair in rows_in(path):
        found.pop(pair.question, None)
        found[pair.question] = pair
    return found


class Interview:
    """An interview that can be left at any moment and gone on with on another day. The questions, whose own answers are
    not looked at, are asked in order; the JSONL file at ``path`` collects the answers. Follow-up questions are thought
    of by ``ask``, a model; without one they are set phrases."""

    def __init__(
        self, questions: Sequence[Conversation], path: Path | str, language: str = "ja", ask: Ask | None = None
    ) -> None:
        self.questions, self.path = list(questions), Path(path)
        self.words, self.ask, self.trouble = words(language), ask, ""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        mend_last_line(self.path)
        self.skipped: set[str] = set()
        self.extra: Conversation | None = None
        self.editing: Conversation | None = None
        self.pairs()

    def pairs(self) -> list[Conversation]:
        """The answers so far, in the order of their last change. What follows up an answer that has been changed since
        is left out: its question still quotes the old one."""
        found = latest(self.path).values()
        quotes = tuple(f"{pair.question}\n{pair.answer}\n" for pair in found)
        given = [pair for pair in found if pair.category != REMOVED]
        return [pair for pair in given if not (pair.id or "").endswith("+") or pair.question.startswith(quotes)]

    def current(self) -> Conversation | None:
        """What is asked now: an answer being edited, a follow-up, else the first question without an answer."""
        done = {pair.question for pair in self.pairs()} | self.skipped
        still_open = (question for question in self.questions if question.question not in done)
        return self.editing or self.extra or next(still_open, None)

    def answer(self, text: str) -> None:
        """Write the answer to the current question; after a very short one something is asked back."""
        question, text = self.current(), text.strip()
        if question is None or not text:
            return
        known = {"category": question.category, "id": question.id}
        append_line(self.path, jsonl_line(Conversation.pair(question.question, text, **known)))
        first = not (self.editing or self.extra)
        self.editing = self.extra = None
        if first and len(text) < SHORT and not is_test(question):  # it would quote a test question in training
            number = len(self.pairs())
            known["id"] = f"{question.id or number}+"
            # Asked together with what it follows, so that the pair makes sense by itself.
            asked = f"{question.question}\n{text}"
            self.extra = Conversation.pair(f"{asked}\n{self._ask_back(asked, number)}", "…", **known)

    def _ask_back(self, said: str, number: int) -> str:
        """What is asked after a short answer; a model that fails or rambles is replaced by a set phrase."""
        messages = [{"role": "developer", "content": self.words["ask_back"]}, {"role": "user", "content": said}]
        try:
            back = self.ask([messages])[0].strip().strip('「」"') if self.ask else ""
        except PersonaError as error:  # the answer is on disk already: an interview goes on without a model
            back, self.ask, self.trouble = "", None, str(error)
        phrases = self.words["follow_ups"]
        return back if 0 < len(back) <= LONG and "\n" not in back else phrases[number % len(phrases)]

    def skip(self) -> None:
        """Leave the current question out for today."""
        if self.extra or self.editing:
            self.extra = self.editing = None
        elif question := self.current():
            self.skipped.add(question.question)

    def something_else(self) -> None:
        """Move what is left of the current category to the end."""
        self.extra = self.editing = None
        if question := self.current():
            self.questions.sort(key=lambda other: other.category == question.category)

    def back(self) -> None:
        """Take up the answer before: its text can be changed, and the old one stays in the file until it is."""
        pairs = self.pairs()
        at = [pair.question for pair in pairs].index(self.editing.question) if self.editing else len(pairs)
        self.editing = pairs[max(0, at - 1)] if pairs else None

    def category(self, question: Conversation) -> str:
        """The name of a question's category, in the reader's language."""
        name = question.category or "other"
        return self.words["categories"].get(name, name)

    def progress(self) -> str:
        """How many are answered, and what is left by category."""
        done = {pair.question for pair in self.pairs()}
        open_ones = [question for question in self.questions if question.question not in done]
        rest = ", ".join(f"{name} {n}" for name, n in Counter(map(self.category, open_ones)).items())
        said = f"{self.words['left']} {rest}" if rest else self.words["all_answered"]
        return f"{len(self.questions) - len(open_ones)}/{len(self.questions)} · {said}"

    def hint(self, text: str) -> str:
        """A word on an answer before it is kept: too long, more formal than the others, or nothing to learn from."""
        text, others = text.strip(), [pair.answer for pair in self.pairs()]
        usual = statistics.median(map(len, others)) if others else 20
        formal = sum(bool(POLITE.search(other)) for other in others)
        if len(text) > max(LONG, 3 * usual):
            return self.words["too_long"].format(n=len(text), usual=usual)
        if len(others) >= 5 and formal / len(others) < 0.3 and POLITE.search(text):
            return self.words["formal"]
        if 0 < len(text) <= 2 or text.lower() in ("yes", "no", "はい", "いいえ"):
            return self.words["little"]
        return ""


def interview_form(interview: Interview) -> Widget:
    """The interview in a notebook: answer, skip, back, something else; nothing is lost when the tab is closed."""
    import ipywidgets as widgets

    progress, question, hint = widgets.HTML(), widgets.HTML(), widgets.HTML()
    text = widgets.Textarea(layout=widgets.Layout(width="95%", height="5em"))
    said, warned = interview.words, ""
    buttons = [widgets.Button(description=name, layout=widgets.Layout(width="auto")) for name in said["buttons"]]
    actions = (lambda: interview.answer(text.value), interview.skip, interview.back, interview.something_else)

    def show() -> None:
        now = interview.current()
        progress.value = escape(interview.progress())
        question.value = f"<b>{escape(now.question if now else said['done'])}</b>".replace("\n", "<br>")
        text.value = interview.editing.answer if interview.editing else ""
        hint.value, interview.trouble = escape(interview.trouble), ""
        text.disabled = buttons[0].disabled = now is None

    def press(button: widgets.Button) -> None:
        nonlocal warned
        note = interview.hint(text.value) if button is buttons[0] else ""
        if note and warned != text.value:  # once: pressing again keeps the answer as it is
            warned, hint.value = text.value, said["again"].format(hint=note)
            return
        try:
            actions[buttons.index(button)]()
            show()
        except PersonaError as error:
            hint.value = escape(str(error))

    for button in buttons:
        button.on_click(press)
    show()
    return widgets.VBox([progress, question, text, hint, widgets.HBox(buttons)])


def at_terminal(interview: Interview) -> bool:
    """The interview at a terminal: Enter skips, b goes back, e asks something else, q stops for today. Returns whether
    every question was asked; False when it was stopped, by Ctrl-C too."""
    said, back = interview.words, interview.back
    commands = {"": interview.skip, "b": back, "back": back, "e": interview.something_else}
    while (question := interview.current()) is not None:
        mark = f" · {said['test_question']}" if is_test(question) else ""
        print(f"\n[{interview.progress().split(' · ')[0]} · {interview.category(question)}{mark}]\n{question.question}")
        if interview.editing:
            print(said["so_far"].format(answer=interview.editing.answer))
        if interview.trouble:
            print(f"({interview.trouble})")
            interview.trouble = ""
        try:
            text = read_line(said["prompt"])
        except (EOFError, KeyboardInterrupt):
            print()
            return False
        command = unicodedata.normalize("NFKC", text).lower()  # a Japanese keyboard may write ｑ
        if command in ("q", "quit", "exit"):
            return False
        if command not in commands and (hint := interview.hint(text)):
            print(said["note"].format(hint=hint))
        commands.get(command, lambda text=text: interview.answer(text))()
    print(said["skipped" if interview.skipped else "done"])
    return True


@as_command()
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/mine")
    parser.add_argument("--language", choices=("ja", "en"), default="ja")
    parser.add_argument("--endpoint", help="an OpenAI-compatible address whose model asks back; answers are sent there")
    parser.add_argument("--model", default="", help="the name of that model")
    options = parser.parse_args(arguments)
    ask = endpoint(options.endpoint, options.model) if options.endpoint else None
    asked = questions_for("bank", options.language)
    interview = Interview(asked, run_folder(options.run) / ANSWERS, options.language, ask)
    at_terminal(interview)
    print(interview.progress())


if __name__ == "__main__":
    main()
