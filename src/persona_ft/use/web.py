"""A chat page on this machine, by Gradio: python -m persona_ft.use.web runs/me [--port 7860]

The page listens on this machine's own address only and may load nothing from anywhere else; there is no way to share
it. What is typed and answered is text: nothing in it is read as HTML or Markdown. Saved as at the terminal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from persona_ft.conversation import Message
from persona_ft.errors import PersonaError
from persona_ft.use.load import command, load_run
from persona_ft.use.talk import THIS_IS_A_MODEL, Talk

if TYPE_CHECKING:
    from fastapi import FastAPI

# Gradio's page asks for fonts and a script of other hosts; a browser that is told this leaves them.
ONLY_HERE = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws: wss:"


def web_app(talk: Talk) -> FastAPI:
    """The page for one person's talk."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr
    from fastapi import FastAPI

    def say(question: str, history: list[dict[str, Any]], who: str, temperature: float) -> Iterator[str]:
        if not history:
            talk.new()
        # The page's own undo and retry change its history, so that is the one that counts.
        talk.turns = [Message(role=turn["role"], content=_text(turn["content"])) for turn in history]
        talk.tuned, talk.temperature = who == "tuned", temperature
        answer = ""
        try:
            for piece in talk.say(question):
                answer += piece
                yield answer
        except PersonaError as error:
            raise gr.Error(str(error)) from error

    def correct(answer: str) -> str:
        try:
            talk.correct(answer)
            return "It is among your answers; the next training has it."
        except PersonaError as error:
            return str(error)

    with gr.Blocks(title=talk.run.profile.name) as page:
        gr.ChatInterface(
            say,
            chatbot=gr.Chatbot(height="60vh", render_markdown=False, sanitize_html=True, label=talk.run.profile.name),
            description=THIS_IS_A_MODEL,
            additional_inputs=[
                gr.Radio(["tuned", "base"], value="tuned", label="who answers"),
                gr.Slider(0, 1.5, value=talk.temperature, step=0.1, label="temperature"),
            ],
        )
        better = gr.Textbox(label="What the last answer should have been")
        said = gr.Textbox(show_label=False, interactive=False)
        gr.Button("Add to my answers").click(correct, better, said)
    server = FastAPI()

    @server.middleware("http")
    async def only_here(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = ONLY_HERE
        return response

    return gr.mount_gradio_app(server, page, path="/")


def _text(content: str | list[dict[str, Any]]) -> str:
    """A turn's words; a browser sends them in parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def serve_page(talk: Talk, port: int) -> None:
    """Serve the page until Ctrl-C."""
    import uvicorn

    print(f"http://localhost:{port}: open it in a browser on this machine; Ctrl-C ends", flush=True)
    uvicorn.run(web_app(talk), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    command(
        __doc__,
        lambda run, given: serve_page(Talk(run, *load_run(run)), given.port),
        port={"type": int, "default": 7860},
    )
