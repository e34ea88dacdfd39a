"""Recipes: the article's values, a reason for each difference, and what TRL makes of them."""

from __future__ import annotations

import sys
import types

import pytest

from persona_ft import paths as settings
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.load import Machine, prepare_environment
from persona_ft.paths import run_folder
from persona_ft.train.gpus import choose_recipe, read_cards
from persona_ft.train.recipe import FOLDER, differences, read_recipe, recipe_names


def test_the_article_is_as_it_was():
    """Its facts: LoRA 8/16 without dropout, 1 row x 4, 100 steps, 2e-4, 8-bit AdamW, seeds, packing, whole rows."""
    article = read_recipe("article")
    assert (article.lora_r, article.lora_alpha, article.lora_dropout, article.lora_seed) == (8, 16, 0.0, 3407)
    assert (article.batch_size, article.gradient_accumulation, article.max_steps) == (1, 4, 100)
    assert (article.learning_rate, article.optimizer, article.seed) == (2e-4, "adamw_8bit", 42)
    assert (article.loss_on, article.system_prompt, article.packing) == ("text", False, True)
    assert (article.max_length, article.precision, article.lora_scope) == (4096, "bfloat16", "attention")


@pytest.mark.parametrize("name", ["recommended", "patient", "t4"])
def test_every_difference_has_its_reason_and_nothing_else_has(name):
    found = differences(read_recipe("article"), read_recipe(name))
    assert [d.setting for d in found if not d.why] == []
    assert set(read_recipe(name).why) == {d.setting for d in found}


def test_t4_is_the_recommended_recipe_in_smaller_pieces():
    changed = {d.setting for d in differences(read_recipe("recommended"), read_recipe("t4"))}
    assert changed == {"batch_size", "gradient_accumulation", "precision", "max_length"}
    assert read_recipe("t4").rows_per_step == read_recipe("recommended").rows_per_step


@pytest.mark.parametrize("name", recipe_names())
def test_trl_takes_the_arguments(name, loaded, tmp_path):
    from trl import SFTConfig

    recipe = read_recipe(name)
    arguments = recipe.sft_arguments(76, 256, bfloat16=True, cuda=False)
    config = SFTConfig(**arguments, output_dir=str(tmp_path))
    assert config.learning_rate == recipe.tiny_learning_rate
    assert recipe.sft_arguments(76, 2880, bfloat16=True)["learning_rate"] == recipe.learning_rate
    assert config.per_device_train_batch_size * config.gradient_accumulation_steps == recipe.rows_per_step
    assert config.report_to == [] or config.report_to == "none"


def test_steps_are_counted_as_the_trainer_counts_them():
    recommended, article = read_recipe("recommended"), read_recipe("article")
    assert article.steps(84) == 100
    assert recommended.steps_per_epoch(76) == 5  # 16 x 4 and 12
    assert recommended.changed(num_epochs=2).steps(76) == 10
    assert recommended.changed(batch_size=4, gradient_accumulation=4, num_epochs=1).steps(76) == 5


def test_changes_keep_what_is_not_named_and_refuse_nonsense():
    recipe = read_recipe("article")
    assert recipe.changed(batch_size="recipe", seed="recipe") is recipe
    assert recipe.changed(num_epochs=3).max_steps is None
    for change in ({"batch_size": 0}, {"learning_rate": -1.0}, {"lora_scope": "mlp"}, {"learning_rate": "fast"}):
        with pytest.raises(PersonaError, match=next(iter(change)).upper()):
            recipe.changed(**change)


def test_without_validation_pairs_nothing_is_chosen_by_them():
    recipe, train, validation = read_recipe("recommended").for_pairs([1, 2], [])
    assert (recipe.validation_pairs, recipe.early_stopping_patience, train, validation) == (False, None, [1, 2], [])
    recipe, train, validation = read_recipe("article").for_pairs([1, 2], [3])
    assert (train, validation) == ([1, 2, 3], [])


def test_a_recipe_of_ones_own(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text((FOLDER / "recommended.yaml").read_text(encoding="utf-8").replace("lora_r: 8", "lora_r: 2"))
    assert read_recipe(mine).lora_r == 2
    mine.write_text(mine.read_text(encoding="utf-8").replace("lora_r: 2", "lora_r: two"))
    with pytest.raises(PersonaError, match=r"mine.yaml: lora_r"):
        read_recipe(mine)
    with pytest.raises(PersonaError, match="article, patient, recommended, t4, tiny"):
        read_recipe("fast")


@pytest.mark.parametrize(
    ("machine", "recipe"),
    [
        (Machine("Tesla T4", True, 14.6, False), "t4"),
        (Machine("NVIDIA L4", True, 22.2, True), "recommended"),
        (Machine("NVIDIA A100-SXM4-40GB", True, 39.5, True), "recommended"),
        (Machine("CPU", False, 64.0, True), "recommended"),
    ],
)
def test_auto_picks_by_card(machine, recipe):
    assert choose_recipe("auto", read_cards().of_machine(machine))[0].name == recipe
    assert choose_recipe("auto", read_cards().of_machine(machine), tiny=True)[0].name == "tiny"


def test_a_profile_is_the_card_at_hand_or_the_one_that_is_named():
    cards, l4 = read_cards(), Machine("NVIDIA L4", True, 22.2, True)
    card, why = cards.profile("auto", l4)
    assert (card.name, card.memory_gib) == ("L4", 22.2) and "22.2 GiB" in why
    assert cards.profile("T4", l4) == (cards.named("T4"), 'PROFILE = "T4"')
    assert cards.profile("CPU", l4)[0] is None and cards.profile("auto", Machine("CPU", False, 8.0, True))[0] is None
    assert cards.profile("auto", Machine("NVIDIA H100 80GB HBM3", True, 79.2, True))[0].name == "H100"
    with pytest.raises(PersonaError, match='"auto", "CPU" or one of T4, L4'):
        cards.profile("V100", l4)


def test_cost_of_an_hour_is_the_tables_rate():
    cards = read_cards()
    l4 = cards.of_machine(Machine("NVIDIA L4", True, 22.2, True))
    units, usd = cards.cost(l4, 3600)
    assert units == pytest.approx(l4.units_per_hour) and usd == pytest.approx(l4.units_per_hour * cards.usd_per_unit)
    assert cards.cost(cards.of_machine(Machine("H100", True, 79.0, True)), 3600) is None
    assert cards.cost(None, 3600) is None
    with pytest.raises(PersonaError, match="T4, L4"):
        cards.named("V100")


def test_a_card_without_bfloat16_refuses_a_recipe_that_wants_it():
    article = read_recipe("article")
    with pytest.raises(PersonaError, match="bfloat16"):
        article.uses_bfloat16(machine_has_it=False)
    assert not read_recipe("recommended").uses_bfloat16(machine_has_it=False)


def test_a_kernel_keeps_the_compilation_that_it_started_with(loaded):
    """Unsloth is imported by now, with compilation off."""
    prepare_environment(compile=False)
    with pytest.raises(PersonaError, match="restart the kernel"):
        prepare_environment(compile=True)


def test_a_run_on_drive_asks_once_and_only_on_colab(tmp_path, monkeypatch):
    with pytest.raises(PersonaError, match="needs Colab"):
        run_folder("runs/x", "drive")
    with pytest.raises(PersonaError, match="'disk' is not known"):
        run_folder("runs/x", "disk")
    # Colab's module is in no registry: this stands in for it, once refusing and then giving the Drive.
    monkeypatch.setattr(settings, "DRIVE", tmp_path / "drive")
    asked, colab = [], types.ModuleType("google.colab")
    colab.drive = types.SimpleNamespace(mount=asked.append)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    with pytest.raises(PersonaError, match="was not mounted"):
        run_folder("runs/x", "drive")
    colab.drive.mount = lambda at: (asked.append(at), (tmp_path / "drive/MyDrive").mkdir(parents=True))
    assert (
        run_folder("runs/x", "drive") == run_folder("runs/x", "drive") == tmp_path / "drive/MyDrive/persona_ft/runs/x"
    )
    assert asked == [str(tmp_path / "drive")] * 2


def test_a_drive_that_is_not_mounted_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "DRIVE", tmp_path / "drive")
    with pytest.raises(PersonaError, match="not mounted"):
        run_folder(tmp_path / "drive/MyDrive/run")
    assert not (tmp_path / "drive").exists()
    (tmp_path / "drive/MyDrive").mkdir(parents=True)
    assert run_folder(tmp_path / "drive/MyDrive/run").is_dir()
