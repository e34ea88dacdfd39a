"""The chat form of notebook 06."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from persona_ft.errors import PersonaError, visible
from persona_ft.use.talk import IN_TRAINING, THIS_IS_A_MODEL, Talk

if TYPE_CHECKING:
    from ipywidgets import Widget

COLOURS = {"user": "#e4e8ff", "tuned": "#dff5df", "base": "#eee", "corrected": "#fff0c8"}
# The only script of the form: it takes the words from beside the button, as text.
COPY = (
    '<button type="button" style="float:right;border:0;background:none;cursor:pointer;color:#444;font-size:smaller" '
    'onclick="navigator.clipboard.writeText(this.parentNode.lastChild.textContent);'
    "this.textContent='copied'\">copy</button>"
)
# What was typed last can arrive after the Enter that follows it: widgets send their values one at a time.
SETTLED = 0.3


def bubble(who: str, text: str) -> str:
    """A turn as HTML, with a button to copy it; its words are text, whatever they are."""
    place = "flex:1 1 100%;margin:8px 0 2px 15%" if who == "user" else "flex:1 1 14em;margin:2px 0"
    style = f"background:{COLOURS[who]};color:#111;border-radius:8px;padding:4px 10px;{place}"
    words = f'<div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.5">{escape(text)}</div>'
    return f'<div style="{style};min-width:0"><small>{who}</small>{COPY}{words}</div>'


def talk_form(talk: Talk) -> Widget:
    """A form to talk with: Enter sends, the answer streams, base and tuned answer by themselves or side by side; the
    talk goes on with the tuned answer where both are asked. Answers are written in a thread, so that the page goes on
    taking what is typed and *stop* is heard; what is sent meanwhile stays in the box."""
    import ipywidgets as w

    pages: list[list[str]] = []
    stopped, busy = threading.Event(), threading.Lock()
    transcript, received, said = w.HTML(), w.HTML(), w.HTML()
    box = w.Text(placeholder="write something; Enter sends it", layout=w.Layout(width="auto", flex="1 1 14em"))
    who = w.ToggleButtons(options=["tuned", "base", "both"], style={"button_width": "5em"})
    whole: dict[str, Any] = {"style": {"description_width": "auto"}}
    heat = w.FloatSlider(value=talk.temperature, max=1.5, step=0.1, description="temperature", **whole)
    small = w.Layout(width="11em", margin="2px 2px 2px 12px")
    efforts = ["low", "medium", "high"]
    effort = w.Dropdown(options=efforts, value=talk.effort, description="effort", layout=small, **whole)
    folded = w.Accordion([received], titles=("what the model received",))

    def draw(*unfinished: str) -> None:
        rows = [*pages, list(unfinished)]
        turns = "".join(f'<div style="display:flex;flex-wrap:wrap;gap:0 6px">{"".join(r)}</div>' for r in rows)
        # Drawn from below, so that the newest turn is in sight.
        scroll = "display:flex;flex-direction:column-reverse;max-height:60vh;overflow-y:auto"
        transcript.value = f'<div style="{scroll}"><div>{turns}</div></div>'

    def answering(now: bool) -> None:
        for name, button in buttons.items():
            button.disabled = now is (name != "stop")

    def with_words(act: Callable[[str], None]) -> None:
        """In a thread, with what stands in the box once all of it is here."""
        if not busy.acquire(blocking=False):
            said.value = "It is still answering; try again when it has, or stop it."
            return
        stopped.clear()
        answering(True)

        def work() -> None:
            try:
                words = None
                while words != box.value:
                    words = box.value
                    time.sleep(SETTLED)
                act(words.strip())
                draw()
            finally:
                answering(False)
                busy.release()

        threading.Thread(target=work, daemon=True, name="talk form").start()

    def send(question: str) -> None:
        if question:
            box.value = said.value = ""
            said.value = answer(question)
            box.value = box.value or visible(question) * bool(said.value)
            received.value = f'<pre style="white-space:pre-wrap">{escape(talk.received)}</pre>'

    def answer(question: str) -> str:
        """Have it answered; returns why it was not, as HTML."""
        chosen = who.value
        talk.temperature, talk.effort, talk.tuned = heat.value, effort.value, chosen != "base"
        row = [bubble("user", question)]
        draw(*row)
        try:
            for name in ("base", "tuned") if chosen == "both" else (chosen,):
                aside, text = (name, chosen) == ("base", "both"), ""
                for piece in talk.stream(question, tuned=False) if aside else talk.say(question):
                    text += piece
                    draw(*row, bubble(name, text or "…"))
                    if stopped.is_set():
                        return "Stopped; this answer is not kept."
                row.append(bubble(name, text))
            pages.append(row)
        except (PersonaError, RuntimeError) as error:  # out of memory is the other one
            return escape(str(error))
        return ""

    def undo(_: str) -> None:
        box.value, said.value = talk.undo() or box.value, ""
        del pages[-1:]

    def new(_: str) -> None:
        talk.new()
        pages.clear()
        said.value = ""

    def correct(better: str) -> None:
        try:
            talk.correct(better)
            pages[-1][-1], box.value = bubble("corrected", better), ""
            said.value = IN_TRAINING
        except PersonaError as error:
            said.value = escape(str(error))

    acts = {"send": send, "stop": None, "undo": undo, "new talk": new, "add to my answers": correct}
    buttons = {name: w.Button(description=name, layout=w.Layout(width="auto")) for name in acts}
    for name, act in acts.items():
        buttons[name].on_click(lambda _, act=act: with_words(act) if act else stopped.set())
    buttons["send"].button_style, buttons["stop"].disabled = "primary", True
    buttons["add to my answers"].tooltip = "what stands in the box is the answer that should have come"
    box.on_submit(lambda _: with_words(send))
    row = w.Layout(flex_flow="row wrap")
    rows = [w.HBox(children, layout=row) for children in ([box, *buttons.values()], [who, heat, effort])]
    return w.VBox([w.HTML(f"<i>{THIS_IS_A_MODEL}</i>"), transcript, said, *rows, folded])
