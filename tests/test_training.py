"""Training on the real tiny model: the loss, the checks, and checkpoints that survive whatever happens to a session."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import EPOCHS, ROOT

from persona_ft.conversation import persona_messages, read_jsonl
from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.harmony import FINAL, render_prompt
from persona_ft.gpt_oss.score import check_scores
from persona_ft.io import digest
from persona_ft.notebook.run import execute
from persona_ft.train.checkpoints import NEEDED, Checkpoints, checkpoint_bytes
from persona_ft.train.mask import check_graded, check_same_shape
from persona_ft.train.recipe import read_recipe
from persona_ft.train.rows import row_lengths, training_rows, with_thinking
from persona_ft.train.trainer import frozen_heap, router_loss

sys.path.insert(0, str(ROOT / "benchmarks"))
from kill_and_resume import Outcome, kill, start, steps_written


@pytest.fixture(scope="module")
def few(masaki, tokenizer):
    """Prompts and completions of four test questions."""
    prompts = [
        render_prompt(tokenizer, persona_messages(item, masaki.profile.system_prompt), "low")
        for item in masaki.test[:4]
    ]
    return prompts, [f"{FINAL}{item.answer}<|return|>" for item in masaki.test[:4]]


def test_whole_rows_and_completions(masaki, tokenizer):
    article, recommended = read_recipe("article"), read_recipe("recommended")
    text = training_rows(masaki.train[:1], article, masaki.profile.system_prompt, tokenizer)[0]["text"]
    assert masaki.profile.system_prompt not in text and "Reasoning: medium" in text and text.endswith("<|return|>")
    row = training_rows(masaki.train[:1], recommended, masaki.profile.system_prompt, tokenizer)[0]
    assert row["prompt"][0] == {"role": "developer", "content": masaki.profile.system_prompt}
    totals, graded = row_lengths(masaki.train[:1], recommended, masaki.profile.system_prompt, tokenizer)
    rendered = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False, reasoning_effort="low")
    assert totals == [len(tokenizer(rendered)["input_ids"])]
    assert graded == [len(tokenizer(rendered[rendered.index(FINAL) :])["input_ids"])]
    assert row_lengths(masaki.train[:1], article, "", tokenizer)[1][0] > graded[0]


def test_the_questions_words_can_be_graded_beside_the_answer_and_nothing_else(masaki, tokenizer):
    recipe = read_recipe("recommended").changed(loss_on="question+completion")
    prompt = masaki.profile.system_prompt
    pairs = masaki.train[:20]
    rows = training_rows(pairs, recipe, prompt, tokenizer)
    for row, pair in zip(rows, pairs, strict=True):
        check_graded(tokenizer, row["labels"], pair, recipe.loss_on)
        with pytest.raises(PersonaError, match="grades"):
            check_graded(tokenizer, row["labels"], pair)
    assert check_same_shape(tokenizer, rows, pairs, prompt, recipe) == 20
    graded = row_lengths(pairs, recipe, prompt, tokenizer)[1]
    # A token that joins the question with the template is not graded, so a row may have one less than reckoned.
    assert all(0 <= n - sum(x != -100 for x in row["labels"]) <= 2 for n, row in zip(graded, rows, strict=True))
    for row, pair in zip(training_rows(pairs, recipe, prompt, tokenizer, watched=True), pairs, strict=True):
        check_graded(tokenizer, row["labels"], pair)


@pytest.mark.parametrize("odd", ["one row has no analysis", "a control word in the training rows only"])
def test_training_and_validation_rows_of_different_words_are_graded_alike(masaki, tokenizer, odd):
    pairs = masaki.train[:4]
    if odd == "one row has no analysis":
        recipe = read_recipe("recommended").changed(think="yes")
        pairs = with_thinking(pairs, ["少し考える。", None, "挨拶だ。", "短く。"])
    else:
        recipe = read_recipe("recommended")
        last = pairs[0].messages[-1].model_copy(update={"content": "<|end|>って何？"})
        pairs = [pairs[0].model_copy(update={"messages": [*pairs[0].messages[:-1], last]}), *pairs[1:]]
    train = training_rows(pairs[:2], recipe, "短く", tokenizer)
    validation = training_rows(pairs[2:], recipe, "短く", tokenizer, watched=True)
    for row, pair in zip([*train, *validation], pairs, strict=True):
        check_graded(tokenizer, row["labels"], pair)


def test_the_longest_row_is_the_one_that_is_named(masaki, tokenizer):
    pairs = masaki.train[:6]
    lengths = row_lengths(pairs, read_recipe("recommended"), "", tokenizer)[0]
    short = read_recipe("recommended").changed(max_length=min(lengths))
    with pytest.raises(PersonaError, match=f"MAX_LENGTH = {max(lengths)} "):
        row_lengths(pairs, short, "", tokenizer)


def test_the_fused_loss_is_the_models_own_loss(loaded, tokenizer, few):
    """use_graded_logits relies on TRL's fused head: its log-probabilities against the model's loss over all logits."""
    from trl.trainer.utils import add_fused_lm_head

    original = loaded.forward
    before = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in few[0]]
    after = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in few[1]]
    try:
        add_fused_lm_head(loaded, outputs=("log_probs",))
        for b, a in zip(before, after, strict=True):
            ids, labels = torch.tensor([b + a]), torch.tensor([[-100] * len(b) + a])
            with torch.no_grad():
                fused = loaded(input_ids=ids, labels=labels, fused_lm_head=True)
                assert int(fused.label_mask.sum()) == len(a)
                assert float(fused.loss) == pytest.approx(loaded(input_ids=ids, labels=labels).loss.item(), rel=0.02)
    finally:
        loaded.forward = original


def test_scores_hold_and_a_broken_mask_is_found(loaded, tokenizer, few, monkeypatch):
    """The same check on the model as it is, and with the causal mask dropped, as a compiler once did."""
    assert max(check_scores(loaded, tokenizer, *few).values()) < 0.1
    from transformers.models.gpt_oss import modeling_gpt_oss

    for name in ("create_causal_mask", "create_sliding_window_causal_mask"):
        monkeypatch.setattr(modeling_gpt_oss, name, lambda *_, **__: None)
    with pytest.raises(PersonaError, match=r"prefix alone .* the attention mask is broken"):
        check_scores(loaded, tokenizer, *few)


def test_router_loss_of_the_tiny_model(loaded, tokenizer, few):
    """At least the number of experts that a token visits, which perfect balance gives; at most that of one for all."""
    texts = [a + b for a, b in zip(*few, strict=True)]
    value = router_loss(loaded, tokenizer, texts)
    k, n = loaded.config.num_experts_per_tok, loaded.config.num_local_experts
    assert k * 0.99 <= value <= n
    assert loaded.config.output_router_logits is False


@pytest.fixture(scope="session")  # tests of other files may come between its own
def killed_run(tmp_path_factory) -> Path:
    """Notebook 03 alone, in an empty run folder, killed with SIGKILL once its second checkpoint is there."""
    run = tmp_path_factory.mktemp("killed") / "run"
    run.mkdir()
    process = start(run, "03_train_qlora", {"MODEL": "tiny", "NUM_EPOCHS": EPOCHS})
    until = time.monotonic() + 300
    while len(steps_written(run)) < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert process.poll() is None, process.stdout.read()
    kill(process)
    assert not (run / "adapter").exists()
    return run


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(demo_run, killed_run, tmp_path, warm_kernels):
    """The demo's notebook 03 was left alone, with what 02 had written; this one took the shipped pairs by itself."""
    assert len(read_jsonl(killed_run / "train.jsonl")) == 76 and len(read_jsonl(killed_run / "test.jsonl")) == 30
    run = Path(shutil.copytree(killed_run, tmp_path / "run"))
    written = steps_written(run)
    execute(["03_train_qlora"], run, {"MODEL": "tiny", "NUM_EPOCHS": EPOCHS})
    assert f"going on from step {written[-1]}" in (run / "03_train_qlora.ipynb").read_text(encoding="utf-8")
    found, wanted = Outcome.of(run), Outcome.of(demo_run)
    assert found.log == wanted.log
    assert found.adapter == wanted.adapter
    training = json.loads((run / "training.json").read_text())
    assert training["best_step"] in [step for step, _ in found.log["validation"]]
    assert str(ROOT) not in (run / "adapter/adapter_config.json").read_text(encoding="utf-8")


def test_a_damaged_newest_checkpoint_is_left_out(killed_run, tmp_path, capsys):
    folder = Path(shutil.copytree(killed_run / "checkpoints", tmp_path / "checkpoints"))
    (newest, path), (before, _) = Checkpoints(folder, {}).all()[:2]
    checkpoints = Checkpoints(folder, json.loads((path / "manifest.json").read_text(encoding="utf-8"))["identity"])
    assert checkpoints.last_good().step == newest
    assert Checkpoints(folder, {"lora_r": 4}).last_good() is None
    assert capsys.readouterr().out.count("is left out: it is of another training") == len(checkpoints.all())
    with (path / "optimizer.pt").open("r+b") as file:
        file.truncate(100)
    assert checkpoints.last_good().step == before
    said = capsys.readouterr().out
    assert f"checkpoint-{newest} is left out: optimizer.pt is not what was written" in said
    (path / "manifest.json").write_text("{")
    assert checkpoints.last_good().step == before
    for _, other in checkpoints.all():
        (other / "manifest.json").unlink()
    assert checkpoints.last_good() is None


def test_checkpoints_hold_what_is_needed_and_no_private_path(killed_run):
    for path in (killed_run / "checkpoints").glob("checkpoint-*"):
        names = {file.name for file in path.iterdir()}
        assert {"adapter_model.safetensors", "optimizer.pt", "trainer_state.json", "manifest.json"} <= names
        assert names <= NEEDED | {"manifest.json"}
        for name in ("adapter_config.json", "trainer_state.json"):
            text = (path / name).read_text(encoding="utf-8")
            assert str(ROOT) not in text and str(killed_run) not in text
        assert path.stat().st_mode & 0o77 == 0 and all(file.stat().st_mode & 0o77 == 0 for file in path.iterdir())


def test_a_checkpoints_adapter_is_what_peft_writes(killed_run, tmp_path):
    """The shortcut past the whole model's state, against PEFT's own file of the same weights, read and written anew."""
    from peft import PeftModel
    from safetensors.torch import load_file
    from unsloth import FastLanguageModel

    _, path = Checkpoints(killed_run / "checkpoints", {}).all()[0]
    base, _ = FastLanguageModel.from_pretrained(str(ROOT / "data/tiny-gpt-oss"), max_seq_length=512, load_in_4bit=True)
    PeftModel.from_pretrained(base, path).save_pretrained(tmp_path)
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (path, tmp_path))
    assert ours.keys() == theirs.keys() and any(value.abs().max() > 0 for value in ours.values())
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_heap_is_thawed_whatever_happens():
    """Frozen objects are never collected: a model dropped after training would keep its memory."""
    with pytest.raises(ZeroDivisionError), frozen_heap():
        assert gc.get_freeze_count() > 0
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0


def test_another_recipe_or_other_data_is_not_resumed(killed_run, tmp_path):
    """An error names what changed; RESTART keeps the old checkpoints beside the new."""
    folder = Path(shutil.copytree(killed_run / "checkpoints", tmp_path / "checkpoints"))
    _, newest = Checkpoints(folder, {}).all()[0]
    identity = json.loads((newest / "manifest.json").read_text(encoding="utf-8"))["identity"]
    with pytest.raises(PersonaError, match=r"learning_rate: .* → 0.0001") as raised:
        Checkpoints(folder, identity | {"learning_rate": 1e-4}).open(1000)
    assert "RESTART = True" in str(raised.value)
    with pytest.raises(PersonaError, match="data_sha256 changed"):
        Checkpoints(folder, identity | {"data_sha256": digest("one pair fewer")}).open(1000)
    old = sorted(path.name for path in folder.glob("checkpoint-*"))
    again = Checkpoints(folder, identity | {"num_epochs": 1})
    again.open(1000, restart=True)
    assert again.last_good() is None
    assert sorted(path.name for path in (tmp_path / "checkpoints-1").glob("checkpoint-*")) == old


def test_a_folder_that_cannot_be_written_is_an_error_before_training():
    with pytest.raises(PersonaError, match="checkpoints cannot be written here"):
        Checkpoints("/proc/persona_ft/checkpoints", {}).open(1000)


def test_a_full_disk_is_an_error_before_training(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        Checkpoints(disk / "small", {}).open(100_000)
        with pytest.raises(PersonaError, match=r"the disk has [01] MB free and checkpoints want 4 MB"):
            Checkpoints(disk / "large", {}).open(checkpoint_bytes(1, "adamw"))
        checkpoints = Checkpoints(disk / "full", {})
        checkpoints.open(1000)
        with (
            pytest.raises(PersonaError, match=r"checkpoint-5 could not be written .*No space left"),
            checkpoints.explained(),
        ):
            (checkpoints.staging / "checkpoint-5").mkdir()
            (checkpoints.staging / "checkpoint-5" / "optimizer.pt").write_bytes(b"\1" * 2_000_000)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_other_errors_of_training_are_passed_on(tmp_path):
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.open(1000)
    with pytest.raises(ZeroDivisionError), checkpoints.explained():
        raise ZeroDivisionError


def test_digest_tells_texts_apart():
    assert digest("ab", "c") != digest("a", "bc") and digest("a") == digest("a")


def test_the_articles_recipe_runs_through_the_notebook(tmp_path):
    """No checkpoints, no validation pairs, whole rows, all 84 pairs: every branch of the notebook the other way."""
    run = tmp_path / "run"
    run.mkdir()
    execute(["03_train_qlora"], run, {"MODEL": "tiny", "RECIPE": "article", "NUM_EPOCHS": 0.1})
    training = json.loads((run / "training.json").read_text())
    assert (training["pairs"], training["validation_pairs"], training["steps"], training["best_step"]) == (
        84,
        0,
        3,
        None,
    )
    # TRL adds 0.9 of the router's load-balancing loss, which is at least the experts a token visits: 0.9 x 2 here.
    assert training["log"]["train"][0][1] > 0.9 * 2


def test_a_card_that_is_too_small_stops_the_notebook_before_loading(tmp_path, warm_kernels, capsys):
    run = tmp_path / "run"
    run.mkdir()
    given = {"MODEL": "tiny", "PROFILE": "T4", "RECIPE": "recommended", "BATCH_SIZE": 4096}
    with pytest.raises(SystemExit):
        execute(["03_train_qlora"], run, given)
    said = capsys.readouterr().err
    assert "T4 has 14.6 GiB" in said and "set BATCH_SIZE = " in said
    assert "from_pretrained" not in said.split("What to do")[0].rsplit("Cell", 1)[-1]
    assert not (run / "checkpoints").exists()
