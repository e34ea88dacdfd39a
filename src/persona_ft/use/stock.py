"""A run in the form that other programs read: weights as stock transformers has them, persona and date in the template.

Nothing of Unsloth is used here.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss.download import fetch_model
from persona_ft.gpt_oss.harmony import FINAL, MARK, STOPS, freeze_date
from persona_ft.io import file_digest, read_json, write_text
from persona_ft.paths import shown
from persona_ft.use.load import TrainedRun

# OpenAI's own checkpoint, in MXFP4: stock transformers and vLLM read it, and not the 4-bit one that is trained on.
STOCK_20B = "openai/gpt-oss-20b"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
TEXTS = yaml.safe_load((Path(__file__).parent / "stock.yaml").read_text(encoding="utf-8"))


def base_name(run: TrainedRun) -> str:
    """The base by a name that stock transformers can load; of the tiny model ``"base"``, the folder that goes along."""
    return "base" if run.tiny else STOCK_20B if "gpt-oss-20b" in run.model else run.model


def stock_base(run: TrainedRun, weights: bool = True) -> Path:
    """The folder of the run's base as stock transformers reads it: the tiny model unpacked beside the run, once; else
    the one of :func:`base_name`, from the Hub or its cache. ``weights=False`` asks for config and tokenizer alone.
    PersonaError where the base cannot be had, or the adapter is on experts, which are stored otherwise there."""
    if run.training["scope"] != "attention":
        raise PersonaError("an adapter on experts fits Unsloth's layout only", "make talk, or train on attention")
    if not (run.tiny and weights):
        return Path(fetch_model(run.model if run.tiny else base_name(run), weights))
    tiny, folder = Path(run.model), run.folder / "export/base"
    made, digest = folder / "made-from.txt", file_digest(tiny / "model.safetensors")
    if not made.exists() or made.read_text() != digest:
        unpack(tiny).save_pretrained(folder)
        for name in (*TOKENIZER, "chat_template.jinja"):
            shutil.copyfile(tiny / name, folder / name)
        write_text(made, digest)
    return folder


def unpack(base: Path) -> Any:
    """A split 4-bit gpt-oss as stock transformers has it, in 32 bit: each weight as NF4 gives it. PersonaError for a
    checkpoint of another kind."""
    import bitsandbytes.functional as bnb
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base)
    if getattr(config, "quantization_config", {}).get("quant_method") != "bitsandbytes":
        raise PersonaError("the base is no 4-bit checkpoint of bitsandbytes", "give one with MODEL=", shown(base))
    del config.quantization_config
    stored = load_file(base / "model.safetensors")

    def weight(name: str) -> torch.Tensor:
        state = {key.removeprefix(f"{name}."): t for key, t in stored.items() if key.startswith(f"{name}.")}
        if not state:
            return stored[name].float()
        quantised = bnb.QuantState.from_dict(state, torch.device("cpu"))
        quantised.dtype = torch.float32
        return bnb.dequantize_4bit(stored[name], quantised)

    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, parameter in model.named_parameters():
        if expert := re.fullmatch(r"(.*\.experts\.(?:gate_up|down)_proj)(_bias)?", name):
            kind = "bias" if expert[2] else "weight"
            parts = [weight(f"{expert[1]}s.{i}.{kind}") for i in range(len(parameter))]
            parameter.data = torch.stack([part if expert[2] else part.T for part in parts])
        else:
            parameter.data = weight(name.replace(".router.", ".router.linear."))
    return model.eval()


def write_stock(run: TrainedRun, out: Path, base: str, weights: bool = True) -> Path:
    """Make a folder anew that holds the adapter, its base named as ``base``, and the tokenizer; the base's folder, with
    its ``weights`` or without."""
    found = stock_base(run, weights)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copyfile(run.adapter / "adapter_model.safetensors", out / "adapter_model.safetensors")
    config = read_json(run.adapter / "adapter_config.json")
    write_text(out / "adapter_config.json", json.dumps(config | {"base_model_name_or_path": base}, indent=1) + "\n")
    write_tokenizer(found, out, run)
    return found


def write_tokenizer(base: Path, out: Path, run: TrainedRun) -> None:
    """The base's tokenizer and generation settings in ``out``, with the persona in its chat template; greedy."""
    tokenizer, config, settings = (read_json(base / name) for name in TOKENIZER)
    config.pop("chat_template", None)
    # Marked words have become ordinary text once control tokens were found: the mark is dropped only then.
    drop, before = {"type": "Replace", "pattern": {"String": MARK}, "content": ""}, tokenizer.get("normalizer")
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [drop, before]} if before else drop
    config["response_template"] = TEXTS["response_template"]
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    settings = {key: value for key, value in settings.items() if key not in ("temperature", "top_p", "top_k")}
    settings |= {"eos_token_id": [ids[name] for name in STOPS], "do_sample": False}
    for name, fields in zip(TOKENIZER, (tokenizer, config, settings), strict=True):
        write_text(out / name, json.dumps(fields, ensure_ascii=False) + "\n")
    write_text(out / "chat_template.jinja", persona_template(base, run))


def persona_template(base: Path, run: TrainedRun) -> str:
    """The base's gpt-oss chat template, changed to ask as the run was trained, whatever client renders it. It carries
    the persona's prompt for a conversation that brings none, the date and the effort, opens the final channel where the
    run does not think first, and marks words that look like control tokens as
    :func:`~persona_ft.gpt_oss.harmony.as_text` does. PersonaError for a template of another model."""
    path, inside = base / "chat_template.jinja", read_json(base / TOKENIZER[1]).get("chat_template", "")
    template = path.read_text(encoding="utf-8") if path.exists() else inside
    effort, none = '{%- set reasoning_effort = "medium" %}', '{%- set developer_message = "" %}'
    if effort not in template or none not in template:
        raise PersonaError("the chat template is not gpt-oss's", "use a checkpoint of gpt-oss")
    prompt = json.dumps(run.prompt.replace("<|", f"<{MARK}|"), ensure_ascii=False)
    marked = (
        "{%- set marked = namespace(all=[]) %}{%- for message in messages %}{%- set marked.all = marked.all + "
        f'[dict(message, content=(message.content or "") | replace("<|", "<{MARK}|"))] %}}{{%- endfor %}}'
        "{%- set messages = marked.all %}"
    )
    template = freeze_date(template, run.training["date"]).replace(effort, effort.replace("medium", run.effort))
    template = template.replace(none, none.replace('""', prompt))
    opened = "" if run.think else f"{{%- if add_generation_prompt -%}}{FINAL}{{%- endif -%}}"
    return marked + template.rstrip("\n") + opened
