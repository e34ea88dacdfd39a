"""LoRA's targets, their shapes and their count."""

from persona_ft.errors import PersonaError
from persona_ft.gpt_oss import Config, Model

SCOPES = ("attention", "attention+experts")


def lora_targets(scope: str, n_experts: int, weights: str = "nf4") -> list[str]:
    """Module names for ``get_peft_model(target_modules=...)``, spelt out so that no version decides for the reader: the
    seven usual ones (q, k, v, o, gate, up, down) reached attention alone in Unsloth before July 2026 and 1,536 expert
    matrices since. PersonaError for a ``scope`` that is not one of :data:`SCOPES`, and for experts in ``weights``
    ``"mxfp4"``: a layer's are one packed stack there, with no matrix to attach LoRA to."""
    if scope not in SCOPES:
        raise PersonaError(f"the LoRA scope {scope!r} is unknown", f"use one of {', '.join(SCOPES)}")
    if scope != "attention" and weights != "nf4":
        raise PersonaError("LoRA on the experts wants them in NF4", 'set WEIGHTS = "nf4", or LORA_SCOPE = "attention"')
    numbers = range(n_experts if scope != "attention" else 0)
    experts = [f"{name}.{i}" for name in ("gate_up_projs", "down_projs") for i in numbers]
    return ["q_proj", "k_proj", "v_proj", "o_proj", *experts]


def lora_shapes(config: Config, scope: str) -> dict[str, tuple[int, int, int]]:
    """What LoRA is attached to: name -> (inputs, outputs, number of such matrices in the model)."""
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    queries, keys = (n * config.head_dim for n in (config.num_attention_heads, config.num_key_value_heads))
    shapes = {"q_proj": (hidden, queries, layers), "k_proj": (hidden, keys, layers), "v_proj": (hidden, keys, layers)}
    shapes["o_proj"] = (queries, hidden, layers)
    if scope != "attention":
        experts = layers * config.num_local_experts
        shapes |= {"gate_up_projs": (hidden, 2 * inner, experts), "down_projs": (inner, hidden, experts)}
    return shapes


def count_lora_parameters(config: Config, r: int, scope: str = "attention") -> int:
    """Trainable parameters of rank-r LoRA: r x (inputs + outputs) a matrix (arXiv 2106.09685, section 4)."""
    return sum(r * (inputs + outputs) * n for inputs, outputs, n in lora_shapes(config, scope).values())


def lora_in_float32(model: Model) -> None:
    """Once the trainer is made, put what is trained back into 32 bit; TRL puts LoRA on 4-bit weights in bfloat16, which
    loses an update smaller than 1/256 of a weight, and PEFT resumes in 32 bit: the run would not be the same."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def count_trainable(model: Model) -> int:
    """Parameters that the optimizer will change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_parameters(config: Config) -> dict[str, int]:
    """gpt-oss's parameters by part, from its config alone."""
    hidden, layers, experts = config.hidden_size, config.num_hidden_layers, config.num_local_experts
    attention = sum(n * (i * o + o) for i, o, n in lora_shapes(config, "attention").values())
    expert = 3 * hidden * config.intermediate_size + 2 * config.intermediate_size + hidden
    return {
        "embedding": config.vocab_size * hidden,
        "attention": attention + layers * config.num_attention_heads,  # its sinks
        "router": layers * (hidden + 1) * experts,
        "experts": layers * experts * expert,
        "norms": (2 * layers + 1) * hidden,
        "head": config.vocab_size * hidden,
    }
