"""The tiny model against the 20B's architecture; rendering, grading and scoring on the real tiny model."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from conftest import DATE, ROOT, TINY

from persona_ft.conversation import persona_messages
from persona_ft.errors import PersonaError
from persona_ft.figures.model import plot_levels
from persona_ft.gpt_oss.generate import generate_completions, token_limit, with_wanted_tokens
from persona_ft.gpt_oss.harmony import FINAL, encode, freeze_date, parse_messages, render_prompt
from persona_ft.gpt_oss.load import Machine, check_experts, choose_model
from persona_ft.gpt_oss.lora import count_lora_parameters, count_parameters, count_trainable, lora_targets
from persona_ft.gpt_oss.mxfp4 import LEVELS, round_to_mxfp4
from persona_ft.gpt_oss.score import log_likelihoods
from persona_ft.paths import shown
from persona_ft.train.mask import check_graded, graded_text
from persona_ft.train.rows import training_row


@pytest.fixture(scope="session")
def split_20b(loaded):
    """gpt-oss-20b on the meta device, its experts split as in the 4-bit checkpoint: shapes without memory.

    It comes after ``loaded``, which installs the split expert classes.
    """
    from transformers import GptOssConfig
    from transformers.models.gpt_oss.modeling_gpt_oss import GptOssForCausalLM

    with torch.device("meta"):
        return GptOssForCausalLM(GptOssConfig(num_hidden_layers=24, num_local_experts=32))


def module_names(model) -> set[str]:
    """Parameter names with layer and expert numbers blanked, quantisation state left out."""
    return {re.sub(r"\.\d+\.", ".N.", name) for name, _ in model.named_parameters()}


def test_the_tiny_model_has_the_modules_of_the_20b(loaded, split_20b):
    assert type(loaded).__name__ == type(split_20b).__name__ == "GptOssForCausalLM"
    assert module_names(loaded) == module_names(split_20b)
    assert loaded.config.layer_types == ["sliding_attention", "full_attention"] * 2
    assert loaded.config.layer_types == split_20b.config.layer_types[:4]
    for name in ("head_dim", "sliding_window", "rope_parameters", "rms_norm_eps", "tie_word_embeddings"):
        assert getattr(loaded.config, name) == getattr(split_20b.config, name), name


def test_the_large_matrices_are_really_in_four_bit(loaded):
    import bitsandbytes as bnb

    layer = loaded.model.layers[0]
    attention = [getattr(layer.self_attn, f"{name}_proj") for name in "qkvo"]
    for linear in [*attention, *layer.mlp.experts.gate_up_projs, *layer.mlp.experts.down_projs]:
        assert isinstance(linear, bnb.nn.Linear4bit)
        assert linear.weight.quant_state.quant_type == "nf4"
        assert linear.weight.numel() == linear.in_features * linear.out_features // 2
    assert loaded.lm_head.weight.dtype == torch.float32
    assert sum(f.stat().st_size for f in TINY.iterdir()) <= 25e6  # what a checkout may hold


@pytest.mark.parametrize(("scope", "count"), [("attention", 3_981_312), ("attention+experts", 92_454_912)])
def test_trainable_count_of_the_20b(split_20b, scope, count):
    """From the config, and from PEFT on the model itself."""
    from peft import LoraConfig, get_peft_model

    config = split_20b.config
    assert count_lora_parameters(config, 8, scope) == count
    peft = get_peft_model(split_20b, LoraConfig(r=8, target_modules=lora_targets(scope, config.num_local_experts)))
    try:
        assert count_trainable(peft) == count
    finally:
        peft.unload()


def test_parameter_count_of_the_20b(split_20b):
    assert sum(count_parameters(split_20b.config).values()) == sum(p.numel() for p in split_20b.parameters())


def test_unknown_lora_scope():
    with pytest.raises(PersonaError, match="attention, attention"):
        lora_targets("mlp", 4)


def test_the_template_is_trls_and_its_date_freezes(tokenizer):
    (trl,) = importlib.util.find_spec("trl").submodule_search_locations  # not imported: Unsloth has to come first
    template = (Path(trl) / "chat_templates/gptoss.jinja").read_text(encoding="utf-8")
    assert tokenizer.chat_template == freeze_date(template, DATE)
    assert f"Current date: {DATE}\n" in render_prompt(tokenizer, [{"role": "user", "content": "a"}])
    with pytest.raises(PersonaError, match="frozen already"):
        freeze_date(tokenizer.chat_template, DATE)
    with pytest.raises(PersonaError, match="YYYY-MM-DD"):
        freeze_date(template, "4 December 2025")


def test_parse_and_render_are_inverse(tokenizer):
    messages = [
        {"role": "developer", "content": "短く"},
        {"role": "user", "content": "a < b？"},
        {"role": "assistant", "content": "はい", "thinking": "compare"},
    ]
    parsed = parse_messages(tokenizer, encode(tokenizer, tokenizer.apply_chat_template(messages, tokenize=False)))
    assert [(m.role, m.channel, m.complete) for m in parsed] == [
        ("system", None, True),
        ("developer", None, True),
        ("user", None, True),
        ("assistant", "analysis", True),
        ("assistant", "final", True),
    ]
    assert [m.text for m in parsed[-3:]] == ["a < b？", "compare", "はい"]


def test_prompt_of_training_is_the_prompt_of_inference(masaki, tokenizer):
    for pair in masaki.train:
        row = training_row(pair, masaki.profile.system_prompt, "low")
        trained = tokenizer.apply_chat_template(
            row["prompt"] + row["completion"], tokenize=False, **row["chat_template_kwargs"]
        )
        asked = render_prompt(tokenizer, persona_messages(pair, masaki.profile.system_prompt), "low")
        assert trained == f"{asked}<|channel|>final<|message|>{pair.answer}<|return|>"


def test_a_row_that_grades_its_prompt_is_refused(masaki, tokenizer):
    pair = masaki.train[0]
    good = tokenizer(f"<|channel|>final<|message|>{pair.answer}<|return|>", add_special_tokens=False)["input_ids"]
    check_graded(tokenizer, [-100, -100, *good], pair)
    assert graded_text(tokenizer, [-100, *good[:1]]) == "<|channel|>"
    with pytest.raises(PersonaError, match="a training row grades"):
        check_graded(tokenizer, tokenizer("おはよう")["input_ids"] + good, pair)


def prompts(masaki, tokenizer, effort: str = "low") -> list[str]:
    return [
        render_prompt(tokenizer, persona_messages(item, masaki.profile.system_prompt), effort) for item in masaki.test
    ]


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_the_base_answers_politely_on_its_final_channel(loaded, tokenizer, masaki, effort):
    """At least 27 of 30 well-formed, non-empty and polite; whether they are on topic is for eyes."""
    asked = [render_prompt(tokenizer, item.prompt, effort) for item in masaki.test]
    completions = generate_completions(loaded, tokenizer, asked, token_limit(True, effort))
    usable = [c for c in completions if c.problem is None]
    assert len(usable) >= 27
    polite = re.compile(r"(です|ます|ました|ません|ましょう|ください|でしょうか)(ね|か|よ)?。?$")
    assert sum(bool(polite.search(c.answer)) for c in usable) >= 27
    assert sum(c.thinking is not None for c in completions) >= 27  # at low effort too, as the real model
    at_once = [render_prompt(tokenizer, item.prompt, effort, think=False) for item in masaki.test]
    completions = generate_completions(loaded, tokenizer, at_once, token_limit(False, effort))
    assert sum(c.problem is None for c in completions) >= 27
    assert not any(c.thinking for c in completions)


def test_the_old_limit_of_96_tokens_loses_answers_of_a_model_that_thinks(loaded, tokenizer, masaki):
    """What went wrong on the real model: at medium effort the analysis by itself takes about that much."""
    asked = prompts(masaki, tokenizer, "medium")
    completions = generate_completions(loaded, tokenizer, asked, 96)
    assert sum(c.problem is not None for c in completions) > 3
    whole = with_wanted_tokens(loaded, tokenizer, asked, completions, 96)
    assert all(c.wanted and c.wanted > 96 for c in whole if c.problem in ("no final channel", "cut off"))


def test_answers_do_not_depend_on_batch_or_order(loaded, tokenizer, masaki):
    texts = prompts(masaki, tokenizer)[:8]
    together = generate_completions(loaded, tokenizer, texts, 48)
    backwards = generate_completions(loaded, tokenizer, texts[::-1], 48, batch_size=3)[::-1]
    same = sum(a.text == b.text for a, b in zip(together, backwards, strict=True))
    assert same >= 7  # padding changes bfloat16's last bits, which may tip one close decision


def test_a_cut_off_answer_is_counted_as_such(loaded, tokenizer, masaki):
    opened = [prompt + FINAL for prompt in prompts(masaki, tokenizer)[:3]]
    short = generate_completions(loaded, tokenizer, opened, 3)
    assert [(c.n_tokens, c.stopped, c.problem) for c in short] == [(3, False, "cut off")] * 3
    medium = generate_completions(loaded, tokenizer, prompts(masaki, tokenizer, "medium")[:3], 5)
    assert [c.problem for c in medium] == ["no final channel"] * 3


def test_log_likelihood_is_the_models_own(loaded, tokenizer, masaki):
    """Against the loss that transformers computes for one row, alone and in a padded batch; and prefixes add up."""
    texts = prompts(masaki, tokenizer)[:6]
    answers = [f"<|channel|>final<|message|>{item.answer}<|return|>" for item in masaki.test[:6]]
    sums, lengths = log_likelihoods(loaded, tokenizer, texts, answers, batch_size=6)
    for text, answer, total, n in zip(texts, answers, sums, lengths, strict=True):
        before = tokenizer(text, add_special_tokens=False)["input_ids"]
        after = tokenizer(answer, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([before + after])
        labels = torch.tensor([[-100] * len(before) + after])
        with torch.inference_mode():
            loss = loaded(input_ids=ids, labels=labels).loss.item()
        assert n == len(after)
        assert total / n == pytest.approx(-loss, abs=0.05)
    head = "<|channel|>final<|message|>"
    first, _ = log_likelihoods(loaded, tokenizer, texts[:1], [head])
    rest, _ = log_likelihoods(loaded, tokenizer, [texts[0] + head], [answers[0].removeprefix(head)])
    assert first[0] + rest[0] == pytest.approx(sums[0], abs=0.05 * lengths[0])


CPU, T4, L4 = Machine("CPU", False, 64.0, True), Machine("Tesla T4", True, 14.6, False), Machine("L4", True, 22.2, True)
MXFP4, NF4 = "unsloth/gpt-oss-20b", "unsloth/gpt-oss-20b-unsloth-bnb-4bit"


@pytest.mark.parametrize(
    ("machine", "source"),
    [(CPU, str(TINY)), (Machine("GTX 1080", True, 8.0, False), str(TINY)), (T4, NF4), (L4, MXFP4)],
)
def test_auto_picks_the_20b_from_14_gib_on(machine, source):
    choice = choose_model("auto", machine, "auto")
    assert choice.source == source and choice.tiny is (source == str(TINY))
    assert choice.weights == ("mxfp4" if source == MXFP4 else "nf4")
    assert "GPU" in choice.reason or machine.name in choice.reason


@pytest.mark.parametrize(
    ("weights", "machine", "trained", "source", "because"),
    [
        ("auto", L4, None, MXFP4, "released"),
        ("auto", T4, None, NF4, "bfloat16, and Tesla T4 does not"),
        ("auto", Machine("RTX 4080", True, 15.6, True), None, NF4, "15.6 GiB, and MXFP4 wants 18"),
        ("nf4", L4, None, NF4, "WEIGHTS"),
        ("auto", L4, "nf4", NF4, "trained on them"),  # what an adapter was trained on comes first
        ("auto", T4, "mxfp4", NF4, "trained on mxfp4, and answers may differ"),
        ("mxfp4", L4, "nf4", MXFP4, "trained on nf4, and answers may differ"),
    ],
)
def test_which_weights_and_why(weights, machine, trained, source, because):
    choice = choose_model("gpt-oss-20b", machine, weights, trained)
    assert choice.source == source and because in choice.weights_reason


@pytest.mark.parametrize(
    ("model", "weights", "machine", "message"),
    [
        ("gpt-oss-20b", "mxfp4", T4, "bfloat16, and Tesla T4 does not"),
        ("gpt-oss-20b", "int8", L4, 'use "auto", "mxfp4" or "nf4"'),
        (NF4, "mxfp4", L4, "holds nf4 and no mxfp4"),
    ],
)
def test_weights_that_cannot_be_had(model, weights, machine, message):
    with pytest.raises(PersonaError, match=message):
        choose_model(model, machine, weights)


def random_mxfp4(folder, config) -> dict[str, torch.Tensor]:
    """A checkpoint's experts in the released layout, in ``folder``."""
    from safetensors.torch import save_file

    tensors, generator = {}, torch.Generator().manual_seed(0)
    shapes = {"gate_up_proj": (2 * config.intermediate_size, config.hidden_size)}
    shapes["down_proj"] = (config.hidden_size, config.intermediate_size)
    for layer in range(config.num_hidden_layers):
        for name, (rows, columns) in shapes.items():
            at, n = f"model.layers.{layer}.mlp.experts.{name}", config.num_local_experts
            how = {"dtype": torch.uint8, "generator": generator}
            tensors[f"{at}_blocks"] = torch.randint(0, 256, (n, rows, columns // 32, 16), **how)
            tensors[f"{at}_scales"] = torch.randint(119, 122, (n, rows, columns // 32), **how)
    save_file(tensors, folder / "model.safetensors")
    fields = json.loads((TINY / "config.json").read_text()) | {"quantization_config": {"quant_method": "mxfp4"}}
    (folder / "config.json").write_text(json.dumps(fields))
    return tensors


def test_an_mxfp4_folder_is_refused_where_bfloat16_is_not(tmp_path, loaded):
    random_mxfp4(tmp_path, loaded.config)
    assert choose_model(str(tmp_path), L4, "auto").weights == "mxfp4"
    for weights in ("auto", "nf4"):
        with pytest.raises(PersonaError, match="holds mxfp4 and no nf4"):
            choose_model(str(tmp_path), T4, weights)


def test_experts_that_are_not_the_files_are_refused(tmp_path, loaded):
    """As they are; with other weights in the file; and a load that does not know the file's layout."""
    from safetensors.torch import load_file, save_file

    check_experts(loaded, str(TINY))
    tensors = load_file(TINY / "model.safetensors")
    last = f"model.layers.{loaded.config.num_hidden_layers - 1}.mlp.experts.down_projs.0.weight"
    tensors[last] = tensors[last].flip(0)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(PersonaError, match="3 of 4 expert matrices"):
        check_experts(loaded, str(tmp_path))
    random_mxfp4(tmp_path, loaded.config)
    with pytest.raises(PersonaError, match="0 of 4 expert matrices"):
        check_experts(loaded, str(tmp_path))


def test_what_is_mxfp4_already_stays_as_it_is(tmp_path, loaded):
    """Weights unpacked by the library that trains on them; and a block whose largest weight is cut off."""
    from unsloth_zoo.mxfp4_dequant import mxfp4_dequantize_torch

    tensors = random_mxfp4(tmp_path, loaded.config)
    at = "model.layers.0.mlp.experts.gate_up_proj"
    unpacked = mxfp4_dequantize_torch(tensors[f"{at}_blocks"], tensors[f"{at}_scales"]).float()
    levels, factors = round_to_mxfp4(unpacked)
    assert torch.equal((levels * factors).flatten(-2), unpacked)
    assert set(levels.unique().tolist()) <= set(LEVELS)
    drawn = plot_levels({"MXFP4": LEVELS}).axes[0].lines[0].get_xdata()
    assert min(drawn) == -1 and max(drawn) == 1 and 0.5 / 6 in drawn
    levels, factors = round_to_mxfp4(torch.tensor([7.9, -0.3, 2.4] + [0.0] * 29))
    assert (levels * factors)[0, :4].tolist() == [6.0, -0.5, 2.0, 0.0]


def test_lora_on_packed_experts_is_refused():
    assert lora_targets("attention", 32, "mxfp4") == lora_targets("attention", 32)
    with pytest.raises(PersonaError, match='WEIGHTS = "nf4"'):
        lora_targets("attention+experts", 32, "mxfp4")


@pytest.mark.parametrize("model", ["gpt-5", "", "data/none", "./nowhere", "a/b/c", "runs/x"])
def test_an_unknown_model_is_refused(model):
    with pytest.raises(PersonaError, match='use "auto", "tiny"'):
        choose_model(model, Machine("CPU", False, 8.0, True))


def test_paths_are_shown_without_anybodys_home(tmp_path):
    assert shown(ROOT / "runs/demo/report.html") == "runs/demo/report.html"
    assert shown(tmp_path / "private" / "report.html") == "report.html"


def test_on_a_cpu_everything_is_computed_in_float32(loaded):
    """bfloat16 is emulated on most processors, ten times slower: no layer may ask for it."""
    import bitsandbytes as bnb

    layers = [layer for layer in loaded.modules() if isinstance(layer, bnb.nn.Linear4bit)]
    assert len(layers) == 4 * (4 + 2 * 4)
    assert {layer.compute_dtype for layer in layers} == {torch.float32}
    assert {bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).dtype for layer in layers} == {
        torch.float32
    }
    assert {p.dtype for p in loaded.parameters() if p.is_floating_point()} == {torch.float32}
