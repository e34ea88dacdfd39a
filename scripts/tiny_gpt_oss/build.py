"""Build data/tiny-gpt-oss: a gpt-oss of a few million parameters, pre-trained from scratch, stored in NF4.

    python scripts/tiny_gpt_oss/build.py [--out data/tiny-gpt-oss] [--steps 12000] [--seed 0]

The checkpoint has the layout of unsloth/gpt-oss-20b-unsloth-bnb-4bit (one Linear4bit per expert, double-quantised
NF4, embeddings, router and head in 16 bit), so the notebooks load it by the very calls that load the 20B.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GptOssConfig, GptOssForCausalLM, PreTrainedTokenizerFast
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func
from trl.chat_template_utils import gptoss_chat_template

from persona_ft.conversation import read_jsonl
from persona_ft.evaluate.general import read_general
from persona_ft.gpt_oss.harmony import STOPS, freeze_date

sys.path.insert(0, str(Path(__file__).resolve().parent))
from corpus import TEXT, Corpus, Sample

ROOT = Path(__file__).resolve().parents[2]
# gpt-oss's own special tokens in their order; the 20B has them at 199998 and above.
SPECIAL_TOKENS = [
    "<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>",
    "<|start|>", "<|end|>", "<|message|>", "<|call|>", "<|endofprompt|>",
]  # fmt: skip
# Where o200k (gpt-oss's tokenizer) splits text before merging bytes, less its rules for upper case and contractions,
# and split where the Japanese script changes. Without that, three words of four come in other tokens after は than they
# do after a colon (24 % of the slots' words are alike in four contexts, 89 % with it): a small model cannot copy them.
PIECES = (
    r"[^\r\n\p{L}\p{N}]?[A-Za-zÀ-ÿ]+|[\p{Katakana}ー]+|\p{Hiragana}+|[\p{Han}々]+|\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QUANTISED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj")


def train_tokenizer(texts: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE with Harmony's special tokens and the gpt-oss chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        max_token_length=9,  # three Japanese characters: longer ones would be the corpus's own phrases
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens(SPECIAL_TOKENS)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|startoftext|>",
        eos_token="<|return|>",
        pad_token="<|endoftext|>",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = gptoss_chat_template
    return tokenizer


def tiny_config(tokenizer: PreTrainedTokenizerFast, args: argparse.Namespace) -> GptOssConfig:
    """The 20B's configuration with small numbers; 64-wide heads, YaRN and the 128-token window are the 20B's."""
    return GptOssConfig(
        vocab_size=args.vocab_size,
        hidden_size=args.hidden,
        intermediate_size=args.hidden,
        num_hidden_layers=args.layers,
        num_local_experts=args.experts,
        num_experts_per_tok=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=64,
        max_position_embeddings=4096,
        initializer_range=0.05,  # the 20B's 0.02 is small for weights this narrow
        swiglu_limit=7.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )


ANY_DATE = "2000-01-01"


def rendered(sample: Sample, tokenizer: PreTrainedTokenizerFast) -> str:
    """The row's text. One frozen template serves all dates: a template a date would compile a thousand times."""
    text = tokenizer.apply_chat_template(
        sample.messages,
        chat_template=freeze_date(gptoss_chat_template, ANY_DATE),
        tokenize=False,
        reasoning_effort=sample.effort,
    )
    return text.replace(ANY_DATE, sample.date, 1)


def graded(ids: list[int], names: dict[str, Any], keep_choice: bool) -> list[int]:
    """Labels of a row: what the assistant writes is graded, and nothing else.

    A turn that begins on the final channel had that channel opened for it, so that its name is not graded, but for the
    few rows of ``keep_choice``: left to choose, the model thinks first, as the real one does.
    """
    labels, role, opener = [-100] * len(ids), [], "start"
    thought = kept = after_analysis = False
    for i, token in enumerate(ids):
        ours = role == names["assistant"]
        if token == names["<|start|>"]:
            opener, role = "start", []
            after_analysis = thought
            labels[i] = token if after_analysis else -100
        elif token == names["<|channel|>"]:
            opener = "channel"
            chosen = ids[i + 1 : i + 1 + len(names["analysis"])] == names["analysis"]
            kept = ours and (chosen or thought or keep_choice)
            thought = ours and chosen
        elif token == names["<|message|>"]:
            opener = ""
        elif opener == "start":
            role = [*role, token]
            labels[i] = token if after_analysis else -100
            continue
        # An earlier answer ends with <|end|> where the template writes the history; said now, it ends with <|return|>.
        as_history = token == names["<|end|>"] and not thought
        if ours and token != names["<|start|>"] and (kept or opener != "channel") and not as_history:
            labels[i] = token
    return labels


@cache
def reader(text: Path, folder: Path) -> tuple[PreTrainedTokenizerFast, Corpus]:
    """A worker's own tokenizer and corpus."""
    return PreTrainedTokenizerFast.from_pretrained(folder), Corpus(held_out(), folder=text)


def written(share: int, args: argparse.Namespace, folder: Path) -> list[tuple[list[int], list[int]]]:
    """Rows of one share of the conversations: tokens and labels. The same share has the same rows."""
    tokenizer, corpus = reader(args.text, folder)
    names: dict[str, Any] = {
        name: tokenizer.convert_tokens_to_ids(name) for name in ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
    }
    names |= {
        name: with_whole_names(tokenizer, f"<|start|>{name}<|message|>")[1:-1] for name in ("assistant", "analysis")
    }
    corpus.random.seed(f"{args.seed} {share}")
    draw, rows = random.Random(f"{args.seed} {share} rows"), []
    for sample in islice(corpus, args.share):
        # BPE dropout (arXiv 1910.13267) in some rows: the model also meets words in small pieces, as a person's own
        # words will come. Not in all: a fact that is written in other pieces where it is stated cannot be copied.
        dropout = 0.1 if draw.random() < 0.15 else None
        row = with_whole_names(tokenizer, rendered(sample, tokenizer), dropout)
        rows.append((row, graded(row, names, keep_choice=draw.random() < 0.05)))
    return rows


def passes(args: argparse.Namespace, folder: Path) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Endless lists of new rows, each written by all workers while the one before is trained on."""
    with ProcessPoolExecutor(args.workers) as pool:

        def ordered(n: int) -> list[Future]:
            return [pool.submit(written, n * args.workers + i, args, folder) for i in range(args.workers)]

        pending = ordered(0)
        for n in count(1):
            rows = [row for share in pending for row in share.result()]
            pending = ordered(n)
            yield rows


HEADERS = re.compile(r"(<\|start\|>\w+(?:<\|channel\|>\w+)?<\|message\|>)")


def with_whole_names(tokenizer: PreTrainedTokenizerFast, text: str, dropout: float | None = None) -> list[int]:
    """The tokens of a row with BPE dropout, but for the names of roles and channels, which are never dropped apart."""
    bpe, ids = tokenizer.backend_tokenizer.model, []
    for piece in HEADERS.split(text):
        bpe.dropout = None if HEADERS.fullmatch(piece) else dropout
        ids += tokenizer(piece, add_special_tokens=False)["input_ids"] if piece else []
    bpe.dropout = None
    return ids


def held_out() -> list[str]:
    """Everything that the notebooks ask and compare with."""
    personas = [ROOT / "data/masaki", *sorted((ROOT / "tests/personas").glob("*/"))]
    pairs = [c for folder in personas for name in ("train", "test") for c in read_jsonl(folder / f"{name}.jsonl")]
    general = [q.question for q in read_general(ROOT / "data/general.jsonl")]
    return [text for pair in pairs for text in (pair.question, pair.answer)] + general


def batches(rows: list[tuple[list[int], list[int]]], n_tokens: int, pad: int, generator: random.Random):
    """(input_ids, attention_mask, labels) of rows of similar length, in any order, at most n_tokens with padding."""
    groups: list[list[int]] = [[]]
    for i in sorted(range(len(rows)), key=lambda i: (len(rows[i][0]) // 8, generator.random())):
        if (len(groups[-1]) + 1) * (len(rows[i][0]) + 8) > n_tokens:
            groups.append([])
        groups[-1].append(i)
    generator.shuffle(groups)
    for group in groups:
        width = max(len(rows[i][0]) for i in group)
        ids, labels = torch.full((len(group), width), pad), torch.full((len(group), width), -100)
        mask = torch.zeros_like(ids)
        for n, i in enumerate(group):
            row, wanted = rows[i]
            ids[n, : len(row)], labels[n, : len(row)] = torch.tensor(row), torch.tensor(wanted)
            mask[n, : len(row)] = 1
        yield ids, mask, labels


def all_experts(
    self, hidden: torch.Tensor, router_indices: torch.Tensor, routing_weights: torch.Tensor
) -> torch.Tensor:
    """The same sum as the model's own loop over its experts, as two batched products: all experts see all tokens.

    With four experts this is 1.85 times as fast on an H100. Shapes: (tokens, hidden), (tokens, 2), (tokens, 2).
    """
    weights = routing_weights.new_zeros(len(hidden), self.num_experts).scatter(1, router_indices, routing_weights)
    seen = hidden.expand(self.num_experts, -1, -1)
    inner = torch.baddbmm(self.gate_up_proj_bias[:, None], seen, self.gate_up_proj)
    outer = torch.baddbmm(self.down_proj_bias[:, None], self._apply_gate(inner), self.down_proj)
    return (outer * weights.T[:, :, None]).sum(0).to(hidden.dtype)


def nf4_round_trip(weight: torch.Tensor) -> torch.Tensor:
    """The values that an expert's or a projection's weight has after it went to NF4 and back."""
    import bitsandbytes.functional as bnb

    def once(matrix: torch.Tensor) -> torch.Tensor:
        packed, state = bnb.quantize_4bit(
            matrix.to(torch.bfloat16).contiguous(), quant_type="nf4", compress_statistics=True
        )
        return bnb.dequantize_4bit(packed, state).to(weight.dtype)

    if weight.dim() == 2:
        return once(weight)
    # Fused experts are (expert, in, out); the split checkpoint stores each as (out, in).
    return torch.stack([once(expert.T).T for expert in weight])


def pretrain(model, args, device, pad, folder) -> None:
    """AdamW with warm-up and cosine decay; the last tenth of the steps sees the weights as NF4 will store them."""
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01, betas=(0.9, 0.95), fused=True)
    draw = random.Random(args.seed)
    stream = (batch for rows in passes(args, folder) for batch in batches(rows, args.batch_tokens, pad, draw))
    quantised = [p for n, p in model.named_parameters() if n.rsplit(".", 2)[-2] in QUANTISED and n.endswith("weight")]
    quantised += [p for n, p in model.named_parameters() if n.endswith(("gate_up_proj", "down_proj"))]
    started, seen = time.time(), 0
    for step, (ids, mask, labels) in enumerate(islice(stream, args.steps)):
        started = started if step else time.time()  # the first rows took their own time
        done = max(step / args.steps, (time.time() - started) / (60 * args.minutes))
        if done >= 1:
            break
        rate = args.lr * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        masters = []
        if done > 0.9:  # straight-through: gradients at the rounded weights move the exact ones
            masters = [p.data for p in quantised]
            for p in quantised:
                p.data = nf4_round_trip(p.data)
        ids, mask, labels = ids.to(device), mask.to(device), labels.to(device)
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            out = model.model(input_ids=ids, attention_mask=mask, output_router_logits=True)
            wanted = labels[:, 1:] != -100
            logits = model.lm_head(out.last_hidden_state[:, :-1][wanted])  # the vocabulary only where it is graded
            balance = load_balancing_loss_func(out.router_logits, model.config.num_local_experts, 2, mask)
        # Smoothed targets keep a model of few sentences from being certain of them, so that it can be tuned away.
        loss = F.cross_entropy(logits.float(), labels[:, 1:][wanted], label_smoothing=0.05)
        (loss + model.config.router_aux_loss_coef * balance).backward()
        for p, master in zip(quantised, masters, strict=False):
            p.data = master
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += int(mask.sum())
        if step % 50 == 0 or step == args.steps - 1:
            spent = time.time() - started
            left = spent / (step + 1) * (args.steps - step - 1)
            print(
                f"step {step:5d}/{args.steps}  loss {loss.item():.3f}  {seen / spent:,.0f} tokens/s  "
                f"{spent:.0f} s, {left:.0f} s left",
                flush=True,
            )


def save_nf4(model: GptOssForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write model.safetensors and config.json in the split, pre-quantised layout."""
    import bitsandbytes.functional as bnb

    tensors: dict[str, torch.Tensor] = {}

    def put(name: str, tensor: torch.Tensor) -> None:
        tensors[name] = tensor.detach().to(torch.bfloat16).contiguous().cpu()

    def put_nf4(name: str, weight: torch.Tensor, bias: torch.Tensor) -> None:
        packed, state = bnb.quantize_4bit(
            weight.detach().to(torch.bfloat16).contiguous(), quant_type="nf4", compress_statistics=True
        )
        tensors[f"{name}.weight"] = packed.cpu()
        for key, value in state.as_dict(packed=True).items():
            tensors[f"{name}.weight.{key}"] = value.cpu()
        put(f"{name}.bias", bias)

    weights = dict(model.named_parameters())
    for name, weight in weights.items():
        stem, leaf = name.rsplit(".", 1)
        if stem.endswith(".mlp.experts"):
            if leaf.endswith("_bias"):
                continue
            for expert, matrix in enumerate(weight):
                put_nf4(f"{stem}.{leaf}s.{expert}", matrix.T, weights[f"{name}_bias"][expert])
        elif stem.endswith(("q_proj", "k_proj", "v_proj", "o_proj")):
            if leaf == "weight":
                put_nf4(stem, weight, weights[f"{stem}.bias"])
        elif ".router." in name:
            put(name.replace(".router.", ".router.linear."), weight)
        else:
            put(name, weight)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    fields = model.config.to_dict() | {
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
    (out / "config.json").write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n")
    # The three of gpt-oss-20b's own generation_config, in its order.
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids(name) for name in STOPS]
    model.generation_config.save_pretrained(out)


def load_nf4(model: GptOssForCausalLM, folder: Path) -> None:
    """Give a model the weights that save_nf4 wrote, as NF4 rounded them."""
    import bitsandbytes.functional as bnb

    stored = load_file(folder / "model.safetensors")

    def weight(name: str) -> torch.Tensor:
        prefix = f"{name}.weight."
        state = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
        return bnb.dequantize_4bit(stored[f"{name}.weight"], bnb.QuantState.from_dict(state, torch.device("cpu")))

    for name, parameter in model.named_parameters():
        stem, leaf = name.rsplit(".", 1)
        if stem.endswith(".mlp.experts"):
            each = [f"{stem}.{leaf.removesuffix('_bias')}s.{i}" for i in range(len(parameter))]
            value = torch.stack([stored[f"{e}.bias"] if leaf.endswith("_bias") else weight(e).T for e in each])
        elif leaf == "weight" and stem.endswith(("q_proj", "k_proj", "v_proj", "o_proj")):
            value = weight(stem)
        else:
            value = stored[name.replace(".router.", ".router.linear.")]
        parameter.data.copy_(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "data/tiny-gpt-oss")
    parser.add_argument("--text", type=Path, default=TEXT, help="the corpus text")
    parser.add_argument("--start-from", type=Path, help="a model built before, with its tokenizer, to train further")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="of training at most: fewer steps then")
    parser.add_argument("--share", type=int, default=4096, help="conversations that a worker writes at a time")
    parser.add_argument("--batch-tokens", type=int, default=32_768, help="of a step, with padding")
    parser.add_argument("--hidden", type=int, default=320)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--experts", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--vocab-size", type=int, default=6144)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    if args.start_from:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.start_from)
    else:
        sentences = list(islice(Corpus(held_out(), args.seed, args.text), 20_000))
        words = [m.get("thinking", "") + "\n" + m["content"] for sample in sentences for m in sample.messages]
        headers = [rendered(s, train_tokenizer(["a"], 300)) for s in sentences[:500]]
        tokenizer = train_tokenizer(words + headers, args.vocab_size)
    part = args.out.with_name(args.out.name + ".part")  # an interrupted build leaves the old model whole
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    tokenizer.save_pretrained(part)
    model = GptOssForCausalLM(tiny_config(tokenizer, args))
    GptOssExperts.forward = all_experts
    model.set_experts_implementation("eager")
    if args.start_from:
        load_nf4(model, args.start_from)
    print(f"{model.num_parameters():,} parameters")
    started = time.time()
    pretrain(model, args, device, tokenizer.pad_token_id, part)
    minutes = (time.time() - started) / 60

    save_nf4(model, tokenizer, part)
    shutil.rmtree(args.out, ignore_errors=True)
    part.rename(args.out)
    size = sum(f.stat().st_size for f in args.out.iterdir()) / 1e6
    print(f"{args.out}: {size:.1f} MB after {minutes:.1f} minutes of training on {device}")


if __name__ == "__main__":
    main()
