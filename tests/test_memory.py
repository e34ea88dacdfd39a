"""The memory estimate against peaks measured on the 20B's shapes, and what it says when something does not fit."""

from __future__ import annotations

import json

import pytest
from conftest import ROOT

from persona_ft.errors import PersonaError
from persona_ft.train.gpus import read_cards
from persona_ft.train.memory import (
    GIB,
    check_fits,
    estimate_training,
    explained_out_of_memory,
    fits,
    largest_fit,
    weights_bytes,
)
from persona_ft.train.recipe import read_recipe

MEASURED = json.loads((ROOT / "benchmarks/results/train_20b.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def config():
    from transformers import GptOssConfig

    return GptOssConfig(num_hidden_layers=24, num_local_experts=32)


@pytest.mark.parametrize("m", MEASURED["memory"] + MEASURED["t4"] + MEASURED["recommended"])
def test_estimate_is_within_7_percent_of_the_measured_peak(config, m):
    rows, accumulation = map(int, m["batch"].split(" x "))
    recipe = read_recipe(m["recipe"]).changed(
        batch_size=rows, gradient_accumulation=accumulation, lora_scope=m["scope"]
    )
    estimate = estimate_training(config, recipe, m["longest_row"], m["longest_row"] // 2, m["precision"] == "bfloat16")
    assert estimate.peak / GIB == pytest.approx(m["peak_gib"], rel=0.07)


@pytest.mark.parametrize("m", MEASURED["memory-mxfp4"] + MEASURED["memory-mxfp4-fused"])
def test_estimate_on_mxfp4_is_within_3_percent_of_the_measured_peak(config, m):
    recipe = read_recipe(m["recipe"]).changed(batch_size=int(m["batch"].split(" x ")[0]))
    estimate = estimate_training(config, recipe, m["longest_row"], m["longest_row"] // 2, True, m["weights"])
    assert estimate.peak / GIB == pytest.approx(m["peak_gib"], rel=0.03)


def test_weights_are_what_was_loaded(config):
    assert weights_bytes(config, "nf4") / GIB == pytest.approx(MEASURED["recommended"][0]["loaded_gib"], rel=0.01)


def test_the_recommended_recipe_fits_an_l4_and_not_a_t4(config):
    cards, recipe = read_cards(), read_recipe("recommended")
    assert check_fits(config, recipe, 256, 96, True, cards.named("L4")).total / GIB < 22.2
    assert check_fits(config, recipe, 256, 96, True, cards.named("L4"), "mxfp4").total / GIB < 22.2
    with pytest.raises(PersonaError, match=r"needs? about 1[56]\.\d GiB.*\n.*BATCH_SIZE = 8"):
        check_fits(config, recipe, 256, 96, False, cards.named("T4"))


def test_what_is_proposed_fits_and_trains_on_as_many_rows(config):
    t4, recipe = read_cards().named("T4"), read_recipe("recommended")
    smaller = largest_fit(config, recipe, t4, 256, 96, False)
    assert smaller.batch_size < recipe.batch_size and smaller.rows_per_step == recipe.rows_per_step
    assert fits(estimate_training(config, smaller, 256, 96, False), t4)
    one_larger = smaller.changed(batch_size=16, gradient_accumulation=1)
    assert not fits(estimate_training(config, one_larger, 256, 96, False), t4)
    assert largest_fit(config, recipe, t4, 4096, 96, False) is None
    assert largest_fit(config, recipe, t4.model_copy(update={"memory_gib": 8.0}), 256, 96) is None


def test_running_out_of_memory_says_what_was_asked_and_what_to_set(config):
    import torch

    l4, recipe = read_cards().named("L4"), read_recipe("recommended")
    memory = estimate_training(config, recipe, 256, 96)
    with (
        pytest.raises(PersonaError, match=r"360.00 MiB.*the estimate was 1\d\.\d of 22\.2 GiB[\s\S]*BATCH_SIZE = 8"),
        explained_out_of_memory(config, recipe, 256, 96, True, l4, memory),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 360.00 MiB. GPU 0 has …")
