"""The figures that explain: a text taken apart into tokens, and pictures without a sign that the font lacks."""

from __future__ import annotations

import re
import warnings

import pytest
from conftest import ROOT

from persona_ft.conversation import persona_messages
from persona_ft.gpt_oss.harmony import FINAL, pieces_of, render_prompt
from persona_ft.train.memory import weights_bytes


@pytest.fixture(scope="module")
def row(masaki, tokenizer):
    """A training row with an emoji in it: its text, tokens and labels."""
    pair = masaki.train[0]
    prompt = render_prompt(tokenizer, persona_messages(pair, masaki.profile.system_prompt), "low")
    answer = f"{FINAL}{pair.answer}🎉<|return|>"
    before, after = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, answer))
    return prompt + answer, before + after, [-100] * len(before) + after


def test_the_pieces_are_the_text_byte_for_byte(row, tokenizer):
    text, ids, labels = row
    pieces = pieces_of(tokenizer, ids, labels)
    whole = b"".join(
        bytes.fromhex(p.text[1:-1]) if re.fullmatch(r"<(?:[0-9A-F]{2})+>", p.text) else p.text.encode() for p in pieces
    )
    assert whole.decode("utf-8") == text
    assert any(re.fullmatch(r"<(?:[0-9A-F]{2})+>", p.text) for p in pieces), "no token is a part of a character here"


def test_each_piece_says_whose_it_is_and_whether_it_is_graded(row, tokenizer, masaki):
    _, ids, labels = row
    pieces = pieces_of(tokenizer, ids, labels)

    def said(kind):
        return "".join(p.text for p in pieces if p.kind == kind)

    assert said("user") == masaki.train[0].question
    assert said("system").startswith("You are ChatGPT") and "Reasoning: low" in said("system")
    assert said("developer").startswith("# Instructions")
    assert said("name of a role or channel") == "systemdeveloperuserassistantfinal"
    graded = [p for p in pieces if p.graded]
    assert (graded[0].text, graded[1].text, graded[-1].text) == ("<|channel|>", "final", "<|return|>")
    assert {p.kind for p in graded} == {"special token", "name of a role or channel", "assistant"}
    assert not any(p.graded for p in pieces_of(tokenizer, ids))


def test_no_picture_has_a_sign_that_its_font_lacks(row, tokenizer):
    from transformers import AutoConfig

    from persona_ft.figures.model import plot_architecture, plot_lora, plot_tokens

    _, ids, labels = row
    tiny = AutoConfig.from_pretrained(ROOT / "data/tiny-gpt-oss")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a glyph that is missing
        for figure in (plot_tokens(pieces_of(tokenizer, ids, labels)), plot_architecture(tiny), plot_lora(tiny, 8)):
            figure.canvas.draw()


def test_the_architectures_sizes_are_those_of_the_memory_estimate():
    from transformers import GptOssConfig

    from persona_ft.figures.model import plot_architecture

    config = GptOssConfig(num_hidden_layers=24, num_local_experts=32)
    drawn = plot_architecture(config).axes[1]
    bars = {round(bar.get_height(), 2): 0.0 for bar in drawn.patches}
    for bar in drawn.patches:
        bars[round(bar.get_height(), 2)] += bar.get_width()
    thick, thin = max(bars), min(bars)
    assert bars[thick] == pytest.approx(weights_bytes(config, "bfloat16") / 1e9)
    assert bars[thin] == pytest.approx(weights_bytes(config, "nf4") / 1e9)
