"""The chat form of notebook 06."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from persona_ft.errors import PersonaError
from persona_ft.use.talk import THIS_IS_A_MODEL, Talk

if TYPE_CHECKING:
    from ipywidgets import Widget

COLOURS = {"user": "#eef", "tuned": "#efe", "base": "#f4f4f4"}


def bubble(who: str, text: str) -> str:
    """A turn as HTML; its words are text, whatever they are."""
    style = f"background:{COLOURS[who]};color:#111;border-radius:8px;padding:4px 10px;margin:4px 0;flex:1 1 14em"
    return f'<div style="{style};white-space:pre-wrap"><small>{who}</small>\n{escape(text)}</div>'


def talk_form(talk: Talk) -> Widget:
    """A form to talk with: Enter sends, the answer streams, base and tuned answer by themselves or side by side.

    The tuned answer is the one that the talk goes on with where both are asked.
    """
    import ipywidgets as w

    pages: list[list[str]] = []
    transcript, received, said = w.HTML(), w.HTML(), w.HTML(f"<i>{THIS_IS_A_MODEL}</i>")
    box = w.Text(placeholder="Enter sends", layout=w.Layout(width="auto", flex="1 1 14em"))
    who = w.ToggleButtons(options=["tuned", "base", "both"], style={"button_width": "5em"})
    heat = w.FloatSlider(value=talk.temperature, max=1.5, step=0.1, description="temperature")
    effort = w.Dropdown(options=["low", "medium", "high"], value=talk.effort, description="effort")
    buttons = [w.Button(description=name) for name in ("send", "undo", "new talk", "add to my answers")]
    folded = w.Accordion([received], titles=("what the model received",))

    def draw(*unfinished: str) -> None:
        rows = [*pages, list(unfinished)]
        transcript.value = "".join(f'<div style="display:flex;flex-wrap:wrap;gap:6px">{"".join(r)}</div>' for r in rows)

    def send(*_: Any) -> None:
        question, box.value = box.value.strip(), ""
        if not question:
            return
        talk.temperature, talk.effort, talk.tuned = heat.value, effort.value, who.value != "base"
        asked, other, answer = bubble("user", question), "", ""
        try:
            if who.value == "both":
                for piece in talk.stream(question, tuned=False):
                    other += piece
                    draw(asked, bubble("base", other))
            beside = [bubble("base", other)] * (who.value == "both")
            name = "tuned" if talk.tuned else "base"
            for piece in talk.say(question):
                answer += piece
                draw(asked, *beside, bubble(name, answer))
            pages.append([asked, *beside, bubble(name, answer)])
            said.value = ""
        except PersonaError as error:
            said.value = escape(str(error))
        received.value = f'<pre style="white-space:pre-wrap">{escape(talk.received)}</pre>'
        draw()

    def undo(*_: Any) -> None:
        box.value = talk.undo()
        del pages[-1:]
        draw()

    def new(*_: Any) -> None:
        talk.new()
        pages.clear()
        draw()

    def correct(*_: Any) -> None:
        try:
            talk.correct(box.value)
            pages[-1][-1], box.value = bubble("tuned", talk.turns[-1].content), ""
            said.value = "It is among your answers; the next training has it."
        except PersonaError as error:
            said.value = escape(str(error))
        draw()

    box.on_submit(send)
    for button, act in zip(buttons, (send, undo, new, correct), strict=True):
        button.on_click(act)
    row = w.Layout(flex_flow="row wrap")
    parts = [said, transcript, w.HBox([box, *buttons], layout=row), w.HBox([who, heat, effort], layout=row), folded]
    return w.VBox(parts)
