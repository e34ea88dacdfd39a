"""Hand a trained persona over: python -m persona_ft.use.export runs/me adapter|merged|gguf|hub|friend

``adapter`` is a folder that plain PEFT loads, ``merged`` whole weights with the adapter in them, ``friend`` a zip with
a chat for the terminal, ``gguf`` the adapter for llama.cpp, ``hub`` a private repository on the Hugging Face Hub, after
a list and one question. Nothing but ``hub`` leaves the machine. All lie in the run folder's ``export/``.
"""

import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

from persona_ft.conversation import persona_messages, read_jsonl
from persona_ft.errors import PersonaError
from persona_ft.evaluate.schema import AFTER, HEADLINES
from persona_ft.io import read_json, write_text
from persona_ft.paths import shown
from persona_ft.report.store import read_comparison
from persona_ft.report.tables import text_of
from persona_ft.use.load import TrainedRun, command
from persona_ft.use.stock import TEXTS, base_name, persona_template, stock_base, write_stock, write_tokenizer


def rendered(template: str, run: TrainedRun, **values: Any) -> str:
    """A file of this folder, with the base's name and other values in it."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("persona_ft.use", "."), keep_trailing_newline=True)
    return environment.get_template(template).render(run=run, base=base_name(run), **values)


def model_card(run: TrainedRun, consent: str) -> str:
    """The model card, out of training.json and, where there is one, comparison.json. It holds no training text."""
    known: dict[str, Any] = {"consent": consent, "after": AFTER, "scores": HEADLINES, "text_of": text_of}
    if (path := run.folder / "comparison.json").exists():
        known["comparison"] = read_comparison(path)
        known["asked"] = sum(sum(verdicts.values()) for verdicts in known["comparison"].facts[AFTER].values())
    return rendered("card.md.j2", run, **known)


def export_adapter(run: TrainedRun, consent: str = "", name: str = "adapter") -> Path:
    """A folder for others: adapter, tokenizer with the persona's template, card; the tiny model's base with it."""
    out = run.folder / "export" / name
    base = write_stock(run, out, base_name(run), weights=run.tiny)  # of the 20B only the tokenizer is read
    if run.tiny:
        (out / "base").mkdir()
        for file in ("config.json", "model.safetensors", "generation_config.json"):
            shutil.copyfile(base / file, out / "base" / file)
    write_text(out / "README.md", model_card(run, consent))
    return out


def export_merged(run: TrainedRun, consent: str = "", n_checked: int = 5) -> Path:
    """Whole weights with the adapter in them, in 16 bit (the tiny model's in 32), checked on some test questions.
    PersonaError where the disk has too little room, or the merged model answers otherwise than the two apart."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, Mxfp4Config

    base, out = stock_base(run), run.folder / "export/merged"
    out.parent.mkdir(exist_ok=True)
    need, free = 0.1 if run.tiny else 42.0, shutil.disk_usage(out.parent).free / 1e9  # 20.9 billion parameters, 16 bit
    print(f"merging takes {need:.1f} GB on disk, as much memory, and {free:.1f} GB are free", flush=True)
    if free < need:
        raise PersonaError("the disk has too little room", "free some, or export the adapter", shown(out))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    write_tokenizer(base, out, run)
    tokenizer = AutoTokenizer.from_pretrained(out)
    prompts = [persona_messages(pair, run.prompt) for pair in read_jsonl(run.folder / "test.jsonl")[:n_checked]]
    how: dict[str, Any] = {"add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
    batches = [tokenizer.apply_chat_template(prompt, **how) for prompt in prompts]

    def answers(model: Any) -> list[list[int]]:
        with torch.inference_mode():
            found = (model.generate(**b.to(model.device), max_new_tokens=96, do_sample=False) for b in batches)
            return [rows[0].tolist() for rows in found]

    unpacked = None if run.tiny else Mxfp4Config(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", device_map="auto", quantization_config=unpacked)
    model = PeftModel.from_pretrained(model, run.adapter).eval()
    before = answers(model)
    merged = model.merge_and_unload()
    same = sum(a == b for a, b in zip(before, answers(merged), strict=True))
    print(f"{same} of {len(before)} test questions are answered as before, token for token")
    if 2 * same < len(before):
        raise PersonaError("the merged model answers otherwise", "use the adapter as it is", shown(out))
    merged.save_pretrained(out)
    write_tokenizer(base, out, run)  # saving writes generation settings of its own
    write_text(out / "README.md", model_card(run, consent).split("## Load it")[0])
    return out


def export_gguf(run: TrainedRun, consent: str = "") -> Path:
    """A folder for llama.cpp: the adapter as GGUF in 32 bit, the chat template with the persona in it, and the card.
    PersonaError where the package ``gguf`` is missing."""
    try:
        from gguf import GGUFWriter
    except ImportError as error:
        raise PersonaError("the package gguf is missing", "run: make export TO=gguf, which installs it") from error
    from safetensors.torch import load_file

    out, name, config = run.folder / "export/gguf", run.folder.name, read_json(run.adapter / "adapter_config.json")
    template = persona_template(stock_base(run, weights=False), run)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    writer = GGUFWriter(out / f"{name}.gguf", "gpt-oss")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    # llama.cpp scales by alpha / r. It knows no rsLoRA, which scales by alpha / sqrt(r).
    writer.add_float32("adapter.lora.alpha", config["lora_alpha"] * (config["r"] ** 0.5 if config["use_rslora"] else 1))
    for key, tensor in load_file(run.adapter / "adapter_model.safetensors").items():
        layer, kind, side = re.findall(r"layers\.(\d+)\.self_attn\.(\w)_proj\.lora_(\w)", key)[0]
        target = f"blk.{layer}.attn_{'output' if kind == 'o' else kind}.weight"
        writer.add_tensor(f"{target}.lora_{side.lower()}", tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_text(out / "chat_template.jinja", template)
    write_text(out / "README.md", model_card(run, consent).split("## Load it")[0])
    print(TEXTS["gguf"].format(folder=shown(out), name=name), end="")
    return out


def export_friend(run: TrainedRun, consent: str = "") -> Path:
    """A zip with a chat for the terminal, listed before it is written."""
    folder, out = export_adapter(run, consent, "friend"), run.folder / "export/friend.zip"
    write_text(folder / "chat.py", rendered("friend.py.txt", run))
    needed = [f"{name}=={run.training['versions'][name]}" for name in ("transformers", "peft")]
    write_text(folder / "requirements.txt", "\n".join([*needed, "torch", "accelerate"]) + "\n")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in listed(folder):
            archive.write(path, Path(run.folder.name) / path.relative_to(folder))
    out.chmod(0o600)
    return out


def listed(folder: Path) -> list[Path]:
    """The files of a folder, each with its size on a line, before anything is done with them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    print("\n".join(f"{path.stat().st_size:>12,}  {path.relative_to(folder)}" for path in files))
    return files


def upload(folder: Path, repository: str) -> str:
    """Upload a folder to a private repository of the Hub, after its list and one question. PersonaError where there is
    no name, or the answer was not yes."""
    if repository.count("/") != 1:
        raise PersonaError("the repository has no name", "make export TO=hub REPO=owner/name")
    listed(folder)
    said = f"These files, the persona's prompt among them, go to huggingface.co/{repository}, private."
    print(f"{said} Type yes to go on.")
    if sys.stdin.readline().strip() != "yes":
        raise PersonaError("nothing was uploaded", "type yes to upload")
    from huggingface_hub import HfApi

    HfApi().create_repo(repository, private=True, exist_ok=True)
    return str(HfApi().upload_folder(folder_path=folder, repo_id=repository))


def export(run: TrainedRun, to: str, repo: str, consent: str) -> None:
    """Make what was asked for and say where it is; a PersonaError says why it cannot be made."""
    held = "your persona's prompt as text, and weights that can repeat what they were trained on"
    print(f"Writes to {shown(run.folder / 'export')}: {held}. Your questions and answers are not in it as text.")
    ways = {"merged": export_merged, "friend": export_friend, "gguf": export_gguf}
    out = ways.get(to, export_adapter)(run, consent)
    print(upload(out, repo) if to == "hub" else f"in {shown(out)}; nothing was sent anywhere")


if __name__ == "__main__":
    command(
        __doc__,
        lambda run, given: export(run, given.to, given.repo, given.consent),
        to={"choices": ("adapter", "merged", "gguf", "hub", "friend")},
        repo={"default": "", "help": "owner/name on the Hub"},
        consent={"default": "", "help": "a sentence for the card: who agreed to what"},
    )
