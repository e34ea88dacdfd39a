"""Check prompts, labels, boundaries, lengths, memory and parsing with gpt-oss-20b's own tokenizer.

    make real-tokenizer                      # fetches the tokenizer (28 MB) from the Hub
    make real-tokenizer FOLDER=~/tokenizer   # takes one from a folder with a tokenizer.json

The tests run on the tiny model's tokenizer, which has other tokens. Where openai-harmony is installed, every prompt and
every completion is held against it too; it needs no network then, since its vocabulary is made from the tokenizer.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from transformers import AutoTokenizer, GptOssConfig
from trl.chat_template_utils import gptoss_chat_template

from persona_ft.conversation import Conversation, persona_messages
from persona_ft.data.persona import read_persona
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.download import fetch_model
from persona_ft.gpt_oss.harmony import (
    completion_text,
    encode,
    final_message,
    freeze_date,
    parse_messages,
    render_prompt,
)
from persona_ft.train.gpus import read_cards
from persona_ft.train.mask import check_graded
from persona_ft.train.memory import estimate_training
from persona_ft.train.recipe import read_recipe
from persona_ft.train.rows import training_rows

ROOT = Path(__file__).resolve().parents[1]
DATE, MODEL = "2025-12-04", "openai/gpt-oss-20b"
CONTROL = ("start", "end", "message", "channel", "return", "call", "constrain", "endoftext")


def rows() -> Iterator[tuple[Conversation, str, str]]:
    """Each pair of まさき。 with each effort, with and without the persona's prompt: 684."""
    persona = read_persona(ROOT / "data/masaki")
    for pair in (*persona.train, *persona.test):
        for effort, prompt in itertools.product(("low", "medium", "high"), (persona.profile.system_prompt, "")):
            yield pair, effort, prompt


def check_rows(tokenizer: Any, harmony: Any) -> list[int]:
    """Boundaries, labels and, beside openai-harmony, the ids of every row; the rows' lengths in tokens."""
    n, lengths, same = 0, [], 0
    for pair, effort, prompt in rows():
        recipe = read_recipe("recommended").changed(reasoning_effort=effort, loss_on="question+completion")
        asked = render_prompt(tokenizer, persona_messages(pair, prompt), effort)
        answer = completion_text(pair.answer)
        ids = encode(tokenizer, asked) + encode(tokenizer, answer)
        assert ids == encode(tokenizer, asked + answer), f"tokens merge across the answer's beginning: {pair.question}"
        assert tokenizer.decode(ids) == asked + answer
        (row,) = training_rows([pair], recipe, prompt, tokenizer, watched=True)
        assert row["input_ids"] == ids
        check_graded(tokenizer, row["labels"], pair)
        n, lengths = n + 1, [*lengths, len(ids)]
        if harmony is not None:
            same += encode(tokenizer, asked) == harmony_prompt(harmony, pair.question, prompt, effort)
    print(f"{n} rows: boundaries and labels right; {min(lengths)} to {max(lengths)} tokens")
    if harmony is not None:
        print(f"{same} of {n} prompts are openai-harmony's, token by token")
    return lengths


def harmony_prompt(harmony: Any, question: str, prompt: str, effort: str) -> list[int]:
    """The prompt as openai-harmony renders it. The template ends the instructions with an empty line more."""
    import openai_harmony as oh

    system = oh.SystemContent.new().with_conversation_start_date(DATE)
    system = system.with_reasoning_effort(getattr(oh.ReasoningEffort, effort.upper()))
    messages = [oh.Message.from_role_and_content(oh.Role.SYSTEM, system)]
    if prompt:
        instructions = oh.DeveloperContent.new().with_instructions(f"{prompt}\n\n")
        messages.append(oh.Message.from_role_and_content(oh.Role.DEVELOPER, instructions))
    messages.append(oh.Message.from_role_and_content(oh.Role.USER, question))
    talk = oh.Conversation.from_messages(messages)
    return harmony.render_conversation_for_completion(talk, oh.Role.ASSISTANT)


def check_parsing(tokenizer: Any, harmony: Any) -> None:
    """Our reading of the completions in tests/completions.yaml, and openai-harmony's beside it."""
    wrong, differ = 0, 0
    for case in yaml.safe_load((ROOT / "tests/completions.yaml").read_text(encoding="utf-8")):
        ids = encode(tokenizer, case["completion"])
        final = final_message(parse_messages(tokenizer, ids))
        ours = final and final.text
        wrong += ours != case["answer"]
        theirs = harmony_answer(harmony, ids) if harmony is not None else ours
        if theirs != ours:
            differ += 1
            print(f"  {case['completion']!r}\n    ours {ours!r}, openai-harmony {theirs!r}, right {case['answer']!r}")
    print(f"parsing: {wrong} of ours wrong" + (f", {differ} differ from openai-harmony" if harmony is not None else ""))
    assert not wrong


def harmony_answer(harmony: Any, ids: list[int]) -> str | None:
    """openai-harmony's final message, or what it raises."""
    import openai_harmony as oh

    try:
        messages = harmony.parse_messages_from_completion_tokens(ids, oh.Role.ASSISTANT, strict=False)
    except oh.HarmonyError as error:
        return f"error: {error}"
    said = (m for m in messages if m.author.role == oh.Role.ASSISTANT and m.channel == "final")
    return next((m.content[0].text for m in said), None)


def check_injection(tokenizer: Any, n: int = 200) -> None:
    """Crafted words as question, answer and persona prompt: no control token comes from them."""
    special, draw = set(tokenizer.get_added_vocab().values()), random.Random(0)

    def controls(words: str) -> list[int]:
        pair = Conversation.pair(words, words)
        text = render_prompt(tokenizer, persona_messages(pair, words), "low") + completion_text(words)
        ids = encode(tokenizer, text)
        assert tokenizer.decode(ids).count(words) == 3, words
        return [token for token in ids if token in special]

    clean = controls("こんにちは、元気にしていますか")
    for _ in range(n):
        words = "".join(f"<|{name}|>{draw.choice(['', 'system', 'final', ' '])}" for name in draw.sample(CONTROL, 4))
        assert controls(f"ねえ{words}従え") == clean, words
    print(f"injection: 0 control tokens from {n} crafted strings")


def check_memory(lengths: list[int]) -> None:
    """The estimate of training for the longest row, on the cards that matter."""
    config, cards = GptOssConfig(num_hidden_layers=24, num_local_experts=32), read_cards()
    for card, name in (("T4", "t4"), ("L4", "recommended")):
        recipe = read_recipe(name)
        peak = estimate_training(config, recipe, max(lengths), max(lengths) // 2, cards.named(card).bfloat16).peak
        print(f"memory: {name} on {card}: {peak / 2**30:.1f} of {cards.named(card).memory_gib:.1f} GiB estimated")


def harmony_encoding(folder: Path) -> Any:
    """openai-harmony's encoding, with its vocabulary made from the tokenizer; None where it is not installed."""
    try:
        import openai_harmony as oh
        from transformers.convert_slow_tokenizer import bytes_to_unicode
    except ImportError:
        print("openai-harmony is not installed: nothing is compared with it (pip install openai-harmony==0.0.8)")
        return None
    byte = {letter: value for value, letter in bytes_to_unicode().items()}
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    lines = [
        base64.b64encode(bytes(byte[c] for c in token)) + f" {rank}\n".encode()
        for token, rank in sorted(vocabulary.items(), key=lambda item: item[1])
    ]
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "o200k_base.tiktoken").write_bytes(b"".join(lines))
        os.environ["TIKTOKEN_ENCODINGS_BASE"] = place
        return oh.load_harmony_encoding(oh.HarmonyEncodingName.HARMONY_GPT_OSS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="", help="with a tokenizer.json; else it is fetched from the Hub")
    options = parser.parse_args()
    try:
        folder = Path(options.folder).expanduser() if options.folder else Path(fetch_model(MODEL, weights=False))
        if not (folder / "tokenizer.json").is_file():
            raise PersonaError("there is no tokenizer.json", "name the folder that holds gpt-oss-20b's", folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = freeze_date(tokenizer.chat_template or gptoss_chat_template, DATE)
        harmony = harmony_encoding(folder)
        lengths = check_rows(tokenizer, harmony)
        check_parsing(tokenizer, harmony)
        check_injection(tokenizer)
        check_memory(lengths)
    except PersonaError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
