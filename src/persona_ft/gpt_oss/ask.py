"""Ask a model, loaded or behind an OpenAI-compatible endpoint, on behalf of the judge and the interview."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.download import colab_secret

if TYPE_CHECKING:
    from openai import OpenAI
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEY = "OPENAI_API_KEY"
# n prompts as messages -> n replies.
Ask = Callable[[list[list[dict[str, str]]]], list[str]]


def local_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 16) -> Ask:
    """The loaded base model, at low effort, without its adapter where it has one: nothing leaves the machine. It thinks
    first and has room for it; a reply that never came is empty."""
    from persona_ft.gpt_oss.generate import THINKING_TOKENS, generate_completions
    from persona_ft.gpt_oss.harmony import render_prompt

    def ask(prompts: list[list[dict[str, str]]]) -> list[str]:
        rendered = [render_prompt(tokenizer, messages, "low") for messages in prompts]
        with model.disable_adapter() if hasattr(model, "peft_config") else nullcontext():
            found = generate_completions(model, tokenizer, rendered, THINKING_TOKENS["low"], batch_size)
        return [completion.answer or "" for completion in found]

    return ask


def api_key() -> str | None:
    """The key for an endpoint: from the environment, else from Colab's secrets, else none. It is never printed."""
    return os.environ.get(KEY) or colab_secret(KEY)


def endpoint(base_url: str, model: str) -> Ask:
    """A model behind an OpenAI-compatible endpoint (``openai`` package), such as a local llama.cpp or vLLM server.

    What is asked is sent there, a person's words with it: use a machine that you trust with them.

    Raises
    ------
    PersonaError
        The package or the key is missing, or the endpoint does not answer.
    """
    try:
        from openai import OpenAI, OpenAIError
    except ImportError as error:
        raise PersonaError("an endpoint wants the openai package", "run: pip install openai") from error
    local = re.match(r"https?://(?:localhost|127\.0\.0\.1)(?:[:/]|$)", base_url)
    key = api_key() or ("none" if local else None)
    if key is None:
        raise PersonaError(
            f"the model at {base_url} wants a key", f"set {KEY} in the environment or in Colab's secrets"
        )
    client: OpenAI = OpenAI(base_url=base_url, api_key=key, max_retries=3, timeout=60)

    def ask(prompts: list[list[dict[str, str]]]) -> list[str]:
        replies = []
        for messages in prompts:
            as_system = [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]
            try:
                reply = client.chat.completions.create(model=model, messages=as_system, temperature=0, max_tokens=1024)
            except OpenAIError as error:
                # The library's text may carry the request; its kind is enough.
                raise PersonaError(
                    f"the model at {base_url} does not answer ({type(error).__name__})",
                    "check the address, the model's name and the key, or do without",
                ) from None
            replies.append(reply.choices[0].message.content or "")
        return replies

    return ask
