"""A chat page on this machine, by Gradio: python -m persona_ft.use.web runs/me [--port 7860]

The page listens on this machine's own address only and may load nothing from anywhere else; there is no way to share
it. What is typed and answered is text: nothing in it is read as HTML or Markdown. Saved as at the terminal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from copy import copy
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_ft.conversation import Message
from persona_ft.errors import HALF, HALF_A_CHARACTER, PersonaError, number
from persona_ft.use.load import command, load_run
from persona_ft.use.talk import IN_TRAINING, THIS_IS_A_MODEL, Talk

if TYPE_CHECKING:
    from fastapi import FastAPI
    from gradio import Chatbot

# Gradio's page asks for fonts and a script of other hosts; a browser that is told this leaves them.
ONLY_HERE = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; base-uri 'self'"


def web_app(talk: Talk) -> FastAPI:
    """The page for one person's talk."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr
    from fastapi import FastAPI

    talks: dict[str, Talk] = {}

    def talk_of(request: Any, history: list[dict[str, Any]]) -> Talk:
        """The talk of one open page, as the page shows it: its own undo and retry change that. Each has a file."""
        own = talks.get(request.session_hash)
        if own is None or not history:
            own = talks[request.session_hash] = copy(talk)
            own.new()
        own.turns = [Message(role=turn["role"], content=_text(turn["content"])) for turn in history]
        return own

    def say(question: str, history: list[dict[str, Any]], who: str, temperature: float, request: Any) -> Iterator[str]:
        own, answer = talk_of(request, history), ""
        own.tuned, own.temperature = who == "tuned", temperature
        try:
            for piece in own.say(question):
                answer += piece
                yield answer
        except PersonaError as error:
            raise gr.Error(str(error)) from error

    def correct(better: str, history: list[dict[str, Any]], request: Any) -> tuple[Any, ...]:
        own = talk_of(request, history)
        try:
            own.correct(better)
        except PersonaError as error:
            return gr.skip(), gr.update(value=str(error), visible=True), gr.skip()
        shown = [{"role": turn.role, "content": turn.content} for turn in own.turns]
        return "", gr.update(value=IN_TRAINING, visible=True), shown

    for act in (say, correct):
        act.__annotations__ = {"request": gr.Request}  # which Gradio goes by
    name, look = talk.run.profile.name, {"height": "60vh", "render_markdown": False, "buttons": ["copy", "copy_all"]}
    with gr.Blocks(title=name) as page:
        with gr.Column(elem_id="talk"):
            chat = gr.ChatInterface(
                say,
                chatbot=_only_text(gr.Chatbot(label=name, **look)),
                description=THIS_IS_A_MODEL,
                validator=lambda question: gr.validate(not HALF.search(question), HALF_A_CHARACTER),
                additional_inputs=[
                    gr.Radio(["tuned", "base"], value="tuned", label="who answers", render=False),
                    gr.Slider(0, 1.5, value=talk.temperature, step=0.1, label="temperature", render=False),
                ],
                additional_inputs_accordion="who answers, and how freely",
            )
        better = gr.Textbox(label="What the last answer should have been")
        said = gr.Textbox(show_label=False, interactive=False, visible=False)
        gr.Button("Add to my answers").click(correct, [better, chat.chatbot], [better, said, chat.chatbot_value])
    server = FastAPI()

    @server.middleware("http")
    async def only_here(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = ONLY_HERE
        return response

    focus_stays = f"<script>{Path(__file__).with_suffix('.js').read_text('utf-8')}</script>"
    return gr.mount_gradio_app(server, page, path="/", footer_links=[], head=focus_stays)


def _only_text(chatbot: Chatbot) -> Chatbot:
    """Let turns be shown as text: even without Markdown, Gradio shows the harmless part of HTML as HTML."""
    shown, read = chatbot._postprocess_content, chatbot.preprocess
    # Set on this one: for a class of our own Gradio would write a file beside this one.
    chatbot._postprocess_content = lambda content: shown(_marked_as_text(_text(content)))  # type: ignore[method-assign]
    chatbot.preprocess = lambda payload: [  # type: ignore[method-assign]
        {**turn, "content": [{"type": "text", "text": unescape(_text(turn["content"]))}]} for turn in read(payload)
    ]
    return chatbot


def _text(content: Any) -> str:
    """A turn's words; a browser sends them in parts."""
    if isinstance(content, list):
        return "".join(map(_text, content))
    return content if isinstance(content, str) else content.get("text", "")


def _marked_as_text(words: str) -> str:
    """The words with what begins a tag or an entity written as an entity; the rest can be copied as it is."""
    return re.sub(r"&(?=[#\w])|<(?=[\w/!?])", lambda sign: "&amp;" if sign[0] == "&" else "&lt;", words)


def serve_page(talk: Talk, port: int) -> None:
    """Serve the page until Ctrl-C."""
    import uvicorn

    page = web_app(talk)  # takes seconds, in which nobody would answer at the address
    print(f"http://localhost:{port}: open it in a browser on this machine; Ctrl-C ends", flush=True)
    uvicorn.run(page, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    command(
        __doc__,
        lambda run, given: serve_page(Talk(run, *load_run(run)), given.port),
        port={"type": number(int, 1, 65535), "default": 7860},
    )
