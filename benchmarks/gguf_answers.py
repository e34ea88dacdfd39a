"""What llama.cpp answers with the adapter that `make export TO=gguf` writes, beside plain PEFT with the same adapter.

    python benchmarks/gguf_answers.py runs/me [--out benchmarks/results/gguf.json]

For a run of the tiny model, which has no GGUF of its own: a base is written here, once in 32 bit, and once as
gpt-oss-20b's are, with MXFP4 experts and the other matrices in 8 bit. PEFT gets the weights as they stand in that file.
Each test question is answered greedily by both. Beside the answers it is compared how likely both hold the ten tokens
that llama.cpp finds likeliest, at each step up to the first that differs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    MODEL_ARCH,
    GGMLQuantizationType,
    GGUFReader,
    GGUFWriter,
    RopeScalingType,
    TokenType,
    get_tensor_name_map,
    quants,
)

from persona_ft.conversation import read_jsonl
from persona_ft.io import read_json, write_text
from persona_ft.use.export import export_adapter, export_gguf
from persona_ft.use.load import TrainedRun, trained_run
from persona_ft.use.stock import stock_base

MXFP4, Q8_0 = GGMLQuantizationType.MXFP4, GGMLQuantizationType.Q8_0
NEW_TOKENS = 96


def parts_of(name: str, tensor: Any) -> Iterator[tuple[str, Any]]:
    """A tensor of transformers' gpt-oss under the names that GGUF's table knows, as views: gate and up lie in turns."""
    if ".experts." not in name:
        yield (f"{name}.weight" if name.endswith("sinks") else name), tensor
        return
    stem, kind = name.removesuffix("_bias"), "bias" if name.endswith("_bias") else "weight"
    tensor = tensor if kind == "bias" else tensor.swapaxes(1, 2)
    if "gate_up" in stem:
        yield f"{stem.replace('gate_up', 'gate')}.{kind}", tensor[:, 0::2]
        yield f"{stem.replace('gate_up', 'up')}.{kind}", tensor[:, 1::2]
    else:
        yield f"{stem}.{kind}", tensor


def named(state: dict[str, Any], layers: int) -> Iterator[tuple[str, Any]]:
    """Each tensor of a stock gpt-oss as (its name in a GGUF, a view of it)."""
    table = get_tensor_name_map(MODEL_ARCH.GPT_OSS, layers)
    for name, tensor in state.items():
        for part, view in parts_of(name, tensor):
            yield table.get_name(part, (".weight", ".bias")), view


def write_base(folder: Path, out: Path, packed: bool = False) -> None:
    """A stock gpt-oss in 32 bit as GGUF; ``packed`` with experts in MXFP4 and other matrices in 8 bit, the router not.

    llama.cpp knows pre-tokenizers by name only. Of its own, Llama 3's is the one that splits the 30 prompts as the tiny
    model's does; gpt-oss-20b's is gpt-4o.
    """
    from safetensors.numpy import load_file

    config, tokenizer = read_json(folder / "config.json"), read_json(folder / "tokenizer.json")
    rope, writer = config["rope_parameters"], GGUFWriter(out, "gpt-oss")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])
    writer.add_expert_count(config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    controls = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    vocabulary = tokenizer["model"]["vocab"] | controls
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in controls else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(controls["<|return|>"])
    writer.add_add_bos_token(False)
    for name, view in named(load_file(folder / "model.safetensors"), config["num_hidden_layers"]):
        tensor, kind = np.ascontiguousarray(view, np.float32), None
        if packed and tensor.ndim > 1 and name.endswith(".weight") and "ffn_gate_inp" not in name:
            kind = MXFP4 if "_exps" in name else Q8_0
            tensor = quants.quantize(tensor, kind)
        writer.add_tensor(name, tensor, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(base: Path, adapter: Path | None = None, template: str = "", exact: bool = False) -> Any:
    """llama.cpp's server on a port of its own, as long as what is returned lives: ``listening_address``. ``exact`` has
    attention without its fast kernel, and the cache of keys and values in 32 bit."""
    import xllamacpp as llama

    params = llama.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.verbosity = str(base), 2048, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.sampling.temp = 0
    if adapter:
        params.lora_adapters = [llama.CommonAdapterLoraInfo(str(adapter), 1.0)]
    if template:
        params.chat_template, params.use_jinja = template, True
    if exact:
        params.cache_type_k = params.cache_type_v = llama.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = llama.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return llama.Server(params)


def llama_answers(server: Any, prompts: list[list[int]]) -> list[tuple[list[int], dict[int, dict[int, float]]]]:
    """To each prompt: the tokens of the answer, and step -> token -> log-probability of the ten likeliest. A step that
    gave half a character has none: the server tells characters only."""
    from openai import OpenAI

    client, found = OpenAI(base_url=server.listening_address, api_key="none"), []
    how = {"n_predict": NEW_TOKENS, "temperature": 0, "return_tokens": True, "n_probs": 10}
    for prompt in prompts:
        answer: Any = client.post("/completion", body={"prompt": prompt, **how}, cast_to=object)
        told, steps = answer["completion_probabilities"], {}
        for step, token in enumerate(answer["tokens"]):
            if told and told[0]["id"] == token:
                steps[step] = {top["id"]: top["logprob"] for top in told.pop(0)["top_logprobs"]}
        found.append((answer["tokens"], steps))
    return found


def chat_answers(server: Any, questions: list[str]) -> list[str]:
    """What an OpenAI client gets, which sends the questions and nothing else."""
    from openai import OpenAI

    client = OpenAI(base_url=f"{server.listening_address}/v1", api_key="none")
    asked = ([{"role": "user", "content": question}] for question in questions)
    made = (client.chat.completions.create(model="me", messages=one, max_tokens=NEW_TOKENS) for one in asked)
    return [answer.choices[0].message.content for answer in made]


def peft_answers(
    folder: Path, base: Path, weights: Path, prompts: list[list[int]], rounded: bool = False
) -> list[tuple[list[int], Any]]:
    """To each prompt: the tokens of the answer, and the log-probabilities, [steps, vocabulary], by stock transformers
    and PEFT with the weights of a GGUF. ``rounded`` rounds the ends of YaRN's ramp to whole dimensions as llama.cpp
    does; gpt-oss does not."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base)
    config.rope_parameters["truncate"] = rounded
    model = AutoModelForCausalLM.from_pretrained(base, config=config, dtype=torch.float32)
    stored = {t.name: quants.dequantize(t.data, t.tensor_type) for t in GGUFReader(weights).tensors}
    with torch.inference_mode():
        for name, view in named(model.state_dict(), config.num_hidden_layers):
            view.copy_(torch.tensor(stored.pop(name)))
        assert not stored, "the file has tensors that the model lacks"
        model, found = PeftModel.from_pretrained(model, folder).eval(), []
        stops = read_json(folder / "generation_config.json")["eos_token_id"]
        for prompt in prompts:
            ids = torch.tensor([prompt])
            how = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": stops}
            whole = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **how)
            logits = model(whole).logits[0, len(prompt) - 1 : -1]
            found.append((whole[0, len(prompt) :].tolist(), logits.double().log_softmax(-1)))
    return found


def compare(peft: list[tuple[list[int], Any]], llama: list[tuple[list[int], dict[int, dict[int, float]]]]) -> dict:
    """How many answers are the same token for token; how far log-probabilities lie apart, in nats; and for each answer
    that differs, by how much PEFT preferred its own token where they part."""
    same, apart, gaps = 0, [], []
    for (mine, scores), (theirs, steps) in zip(peft, llama, strict=True):
        parting = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), None)
        same += mine == theirs
        if parting is not None:
            gaps.append(round(float(scores[parting][mine[parting]] - scores[parting][theirs[parting]]), 3))
        until = len(mine) if parting is None else parting + 1
        apart += [abs(float(scores[i][t]) - p) for i, top in steps.items() if i < until for t, p in top.items()]
    apart_by = {"median": float(f"{np.median(apart):.1e}"), "largest": float(f"{max(apart):.1e}")}
    return {"same": same, "of": len(peft), "nats apart": apart_by, "gaps where they part": sorted(gaps)}


def measure(run: TrainedRun, scratch: Path) -> dict[str, Any]:
    """All comparisons of a run."""
    from transformers import AutoTokenizer

    folder, gguf, base = export_adapter(run), export_gguf(run), stock_base(run)
    adapter, template = gguf / f"{run.folder.name}.gguf", (gguf / "chat_template.jinja").read_text(encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    questions = [pair.question for pair in read_jsonl(run.folder / "test.jsonl")]
    chats = [[{"role": "user", "content": question}] for question in questions]
    how = {"add_generation_prompt": True, "return_dict": True}
    prompts = [tokenizer.apply_chat_template(chat, **how)["input_ids"] for chat in chats]
    plain, packed = scratch / "f32.gguf", scratch / "packed.gguf"
    write_base(base, plain)
    write_base(base, packed, packed=True)
    peft, rounded = (peft_answers(folder, base, plain, prompts, rounded=way) for way in (False, True))
    found = {
        "32 bit": compare(peft, llama_answers(serve(plain, adapter), prompts)),
        "32 bit, exact attention, PEFT with rounded YaRN": compare(
            rounded, llama_answers(serve(plain, adapter, exact=True), prompts)
        ),
        "MXFP4 and 8 bit": compare(
            peft_answers(folder, base, packed, prompts), llama_answers(serve(packed, adapter), prompts)
        ),
        "32 bit, llama.cpp without the adapter": compare(peft, llama_answers(serve(plain), prompts)),
    }
    texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens, _ in peft]
    chat = chat_answers(serve(plain, adapter, template), questions)
    found["32 bit, an OpenAI client"] = {"same": sum(a == b for a, b in zip(texts, chat, strict=True)), "of": len(chat)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder of the tiny model, after notebook 03")
    parser.add_argument("--out", type=Path, help="write the figures there too, as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(trained_run(options.run), Path(scratch))
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    if options.out:
        write_text(options.out, text)


if __name__ == "__main__":
    main()
