"""Write a random-weight gpt-oss-20b in the layout of a published checkpoint.

Same shapes, same 4 bits, same tensor names, so loading, memory and speed are those of the real model; its answers are
noise. Needs a CUDA GPU and 13 GiB of disk; 15 to 35 s on an H100.

    python benchmarks/random_gpt_oss_20b.py OUT_DIR data/tiny-gpt-oss                    # NF4, Unsloth's layout
    python benchmarks/random_gpt_oss_20b.py OUT_DIR data/tiny-gpt-oss --weights mxfp4    # MXFP4, as it was released

For NF4, OUT_DIR must have "gpt-oss-20b-unsloth-bnb-4bit" in its name (Unsloth picks the split-expert classes by it).
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GptOssConfig

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("out", type=Path)
parser.add_argument("tokenizer", type=Path)
parser.add_argument("--weights", choices=["nf4", "mxfp4"], default="nf4")
parser.add_argument("--layers", type=int, default=24)
options = parser.parse_args()
out, tokenizer_dir, nf4 = options.out, options.tokenizer, options.weights == "nf4"
out.mkdir(parents=True, exist_ok=True)
config = GptOssConfig(
    num_hidden_layers=options.layers,
    num_local_experts=32,
    swiglu_limit=7.0,
    pad_token_id=199999,
    eos_token_id=200002,
)
QUANTIZATION = {
    "nf4": {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "load_in_8bit": False,
        "_load_in_4bit": True,
        "_load_in_8bit": False,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": ["lm_head", "router", "embed_tokens"],
    },
    "mxfp4": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": [
            "model.layers.*.self_attn",
            "model.layers.*.mlp.router",
            "model.embed_tokens",
            "lm_head",
        ],
    },
}
fields = config.to_dict() | {"architectures": ["GptOssForCausalLM"], "dtype": "bfloat16"}
fields["quantization_config"] = QUANTIZATION[options.weights]
(out / "config.json").write_text(json.dumps(fields, indent=1))

hidden, generator = config.hidden_size, torch.Generator("cuda").manual_seed(0)
shard, weight_map, shards, total = {}, {}, 0, 0


def noise(*shape):
    return torch.randn(*shape, generator=generator, device="cuda", dtype=torch.bfloat16) * 0.02


def put(name, tensor):
    shard[name] = tensor.contiguous().cpu()


def integers(low, high, *shape):
    return torch.randint(low, high, shape, generator=generator, device="cuda", dtype=torch.uint8)


def put_linear(name, rows, columns):
    """A matrix outside the experts: NF4 there, 16 bit in the released layout."""
    if nf4:
        put_nf4(name, rows, columns)
    else:
        put(f"{name}.weight", noise(rows, columns))
        put(f"{name}.bias", torch.zeros(rows, dtype=torch.bfloat16))


def put_mxfp4(name, rows, columns):
    """All experts' matrices of one name, of the spread that trained ones have."""
    n = config.num_local_experts
    put(f"{name}_blocks", integers(0, 256, n, rows, columns // 32, 16))
    put(f"{name}_scales", integers(119, 122, n, rows, columns // 32))
    put(f"{name}_bias", torch.zeros(n, rows, dtype=torch.bfloat16))


def put_nf4(name, rows, columns):
    import bitsandbytes.functional as bnb

    packed, state = bnb.quantize_4bit(noise(rows, columns), quant_type="nf4", compress_statistics=True)
    put(f"{name}.weight", packed)
    for key, value in state.as_dict(packed=True).items():
        put(f"{name}.weight.{key}", value)
    put(f"{name}.bias", torch.zeros(rows, dtype=torch.bfloat16))


def flush():
    global shard, shards, total
    shards += 1
    file = f"model-{shards:05d}.safetensors"
    save_file(shard, out / file, metadata={"format": "pt"})
    for key, value in shard.items():
        weight_map[key], total = file, total + value.numel() * value.element_size()
    shard = {}


put("model.embed_tokens.weight", noise(config.vocab_size, hidden))
put("lm_head.weight", noise(config.vocab_size, hidden))
put("model.norm.weight", torch.ones(hidden, dtype=torch.bfloat16))
flush()
for layer in range(config.num_hidden_layers):
    at = f"model.layers.{layer}."
    for name, rows, columns in (("q", 4096, hidden), ("k", 512, hidden), ("v", 512, hidden), ("o", hidden, 4096)):
        put_linear(f"{at}self_attn.{name}_proj", rows, columns)
    put(f"{at}self_attn.sinks", noise(config.num_attention_heads))
    router = f"{at}mlp.router{'.linear' if nf4 else ''}"
    put(f"{router}.weight", noise(config.num_local_experts, hidden))
    put(f"{router}.bias", torch.zeros(config.num_local_experts, dtype=torch.bfloat16))
    for norm in ("input_layernorm", "post_attention_layernorm"):
        put(f"{at}{norm}.weight", torch.ones(hidden, dtype=torch.bfloat16))
    if nf4:
        for expert in range(config.num_local_experts):
            put_nf4(f"{at}mlp.experts.gate_up_projs.{expert}", 2 * config.intermediate_size, hidden)
            put_nf4(f"{at}mlp.experts.down_projs.{expert}", hidden, config.intermediate_size)
    else:
        put_mxfp4(f"{at}mlp.experts.gate_up_proj", 2 * config.intermediate_size, hidden)
        put_mxfp4(f"{at}mlp.experts.down_proj", hidden, config.intermediate_size)
    if layer % 4 == 3 or layer == config.num_hidden_layers - 1:
        flush()
(out / "model.safetensors.index.json").write_text(
    json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map})
)
(out / "generation_config.json").write_text(
    json.dumps({"eos_token_id": [200002, 199999, 200012], "pad_token_id": 199999, "do_sample": True})
)
for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
    if (tokenizer_dir / file).exists():
        shutil.copy(tokenizer_dir / file, out / file)
print(f"{out}: {total / 2**30:.2f} GiB")
