"""Write a random-weight gpt-oss-20b in the layout of unsloth/gpt-oss-20b-unsloth-bnb-4bit.

Same shapes, same NF4 double quantisation, same tensor names as the published checkpoint, so loading, memory and speed
are those of the real model; its answers are noise. Needs a CUDA GPU and 12 GiB of disk; about 15 s on an H200.

    python benchmarks/random_gpt_oss_20b.py OUT_DIR data/tiny-gpt-oss

OUT_DIR must have "gpt-oss-20b-unsloth-bnb-4bit" in its name (Unsloth picks the split-expert classes by it).
"""

import json
import shutil
import sys
from pathlib import Path

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file
from transformers import GptOssConfig

out, tokenizer_dir = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
config = GptOssConfig(
    num_hidden_layers=24, num_local_experts=32, swiglu_limit=7.0, pad_token_id=199999, eos_token_id=200002
)
fields = config.to_dict()
fields |= {
    "architectures": ["GptOssForCausalLM"],
    "dtype": "bfloat16",
    "quantization_config": {
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
}
(out / "config.json").write_text(json.dumps(fields, indent=1))

hidden, generator = config.hidden_size, torch.Generator("cuda").manual_seed(0)
shard, weight_map, shards, total = {}, {}, 0, 0


def noise(*shape):
    return torch.randn(*shape, generator=generator, device="cuda", dtype=torch.bfloat16) * 0.02


def put(name, tensor):
    shard[name] = tensor.contiguous().cpu()


def put_nf4(name, rows, columns):
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
        put_nf4(f"{at}self_attn.{name}_proj", rows, columns)
    put(f"{at}self_attn.sinks", noise(config.num_attention_heads))
    put(f"{at}mlp.router.linear.weight", noise(config.num_local_experts, hidden))
    put(f"{at}mlp.router.linear.bias", torch.zeros(config.num_local_experts, dtype=torch.bfloat16))
    for norm in ("input_layernorm", "post_attention_layernorm"):
        put(f"{at}{norm}.weight", torch.ones(hidden, dtype=torch.bfloat16))
    for expert in range(config.num_local_experts):
        put_nf4(f"{at}mlp.experts.gate_up_projs.{expert}", 2 * config.intermediate_size, hidden)
        put_nf4(f"{at}mlp.experts.down_projs.{expert}", hidden, config.intermediate_size)
    if layer % 4 == 3:
        flush()
(out / "model.safetensors.index.json").write_text(
    json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map})
)
(out / "generation_config.json").write_text(
    json.dumps({"eos_token_id": [200002], "pad_token_id": 199999, "do_sample": True})
)
for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
    if (tokenizer_dir / file).exists():
        shutil.copy(tokenizer_dir / file, out / file)
print(f"{out}: {total / 2**30:.2f} GiB")
