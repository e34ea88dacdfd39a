"""Ask a model, loaded or behind an OpenAI-compatible endpoint, on behalf of the judge and the interview."""

import os
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing import TimeoutError
from multiprocessing.pool import ThreadPool

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss import Model, Tokenizer
from persona_ft.gpt_oss.download import colab_secret
from persona_ft.gpt_oss.generate import THINKING_TOKENS, generate_completions
from persona_ft.gpt_oss.harmony import render_prompt

KEY = "OPENAI_API_KEY"
# Seconds for one reply, and for all that are asked for together.
TIMEOUT, DEADLINE = 60, 1800
# n prompts as messages -> n replies.
Ask = Callable[[list[list[dict[str, str]]]], list[str]]


def local_model(model: Model, tokenizer: Tokenizer) -> Ask:
    """The loaded base at low effort, without its adapter: nothing leaves the machine. A missing reply is empty."""

    def ask(prompts: list[list[dict[str, str]]]) -> list[str]:
        rendered = [render_prompt(tokenizer, messages, "low") for messages in prompts]
        with model.disable_adapter() if hasattr(model, "peft_config") else nullcontext():
            found = generate_completions(model, tokenizer, rendered, THINKING_TOKENS["low"], batch_size=16)
        return [completion.answer or "" for completion in found]

    return ask


def endpoint(base_url: str, model: str, deadline: float = DEADLINE) -> Ask:
    """A model behind an OpenAI-compatible endpoint. What is asked is sent there, a person's words with it, and nowhere
    else: a redirect is refused. A reply that cannot be read is told and is empty. The key, from the environment or
    Colab's secrets, is never printed. PersonaError without the package, a key, or an answer in ``deadline`` seconds."""
    try:
        import httpx
        from openai import OpenAI, OpenAIError
    except ImportError as error:
        raise PersonaError("an endpoint wants the openai package", "run: pip install openai") from error
    key = os.environ.get(KEY) or colab_secret(KEY)
    if not key and not re.match(r"https?://(?:localhost|127\.0\.0\.1)(?:[:/]|$)", base_url):
        raise PersonaError(f"the model at {base_url} wants a key", f"set {KEY} in the environment or Colab's secrets")
    remedy = "check the address, the model's name and the key, or do without"
    failed = f"the model at {base_url} does not answer"
    how = {"api_key": key or "none", "max_retries": 3, "timeout": TIMEOUT}
    try:
        client = OpenAI(base_url=base_url, http_client=httpx.Client(follow_redirects=False), **how)
    except (httpx.InvalidURL, ValueError) as error:
        raise PersonaError(f"{base_url!r} is no address", remedy) from error

    def reply_to(messages: list[dict[str, str]]) -> str:
        as_system = [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]
        try:
            reply = client.chat.completions.create(model=model, messages=as_system, temperature=0, max_tokens=1024)
            content = reply.choices[0].message.content
        except (OpenAIError, httpx.HTTPError, httpx.InvalidURL) as error:
            # The library's text may carry the request; its kind is enough.
            raise PersonaError(f"{failed} ({type(error).__name__})", remedy) from None
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            return ""  # whatever came, it is no completion
        return content if isinstance(content, str) else ""

    def ask(prompts: list[list[dict[str, str]]]) -> list[str]:
        # Timeouts of the library are between two bytes: one that sends a byte a minute would never end by itself.
        end, replies = time.monotonic() + deadline, []
        with ThreadPool(1) as pool:
            try:
                for messages in prompts:
                    replies.append(pool.apply_async(reply_to, [messages]).get(end - time.monotonic()))
            except TimeoutError:
                raise PersonaError(f"{failed} within {deadline:g} seconds", remedy) from None
        if unread := sum(not reply for reply in replies):
            print(f"{unread} of {len(replies)} replies of the model at {base_url} could not be read")
        return replies

    return ask
