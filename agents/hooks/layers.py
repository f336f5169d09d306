"""Where a Hugging Face causal decoder keeps its layers: one finder for all families.

The residual stream is what flows between decoder layers. Layer 0 is the output of block 0; the stream that enters
block 0 is called `embed` (for Gemma it is scaled, for GPT-2 it has positions added; it equals
`output_hidden_states[0]`). The finder looks at the structure, not at class names: one list of
`num_hidden_layers` modules that all have an attention submodule. What does not look so is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

ATTENTION_NAMES = ("self_attn", "attention", "attn", "self_attention", "mixer_attn")
MLP_NAMES = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe")

LayerSpec = str | int | float | Sequence[int | float]
"""`"all"`, an index (0 = output of block 0), a fraction of the depth (0.0 first, 1.0 last layer), or a list."""


class UnknownArchitecture(ValueError):
    """The model does not look like a causal decoder. Says what was found."""


@dataclass(frozen=True)
class DecoderLayout:
    """The hookable parts of one model."""

    layers: tuple[nn.Module, ...]
    attention: tuple[nn.Module, ...]
    """Attention submodules; their output is taken before any norm that follows (Gemma)."""
    mlp: tuple[nn.Module | None, ...]
    """MLP or mixture submodules; None where a block has its linear maps directly."""
    decoder: nn.Module
    """The model without its language-model head."""
    d_model: int
    where: str
    """Dotted name of the list of layers, such as `model.layers`."""

    @property
    def n_layers(self) -> int:
        return len(self.layers)


def find_layout(model: nn.Module) -> DecoderLayout:
    """The layout of a causal decoder. Raises UnknownArchitecture."""
    name = type(model).__name__
    config: Any = getattr(model, "config", None)
    if config is None:
        raise UnknownArchitecture(f"{name} has no config; load it with AutoModelForCausalLM.from_pretrained")
    if getattr(config, "is_encoder_decoder", False):
        raise UnknownArchitecture(f"{name} is an encoder-decoder; only causal decoders are supported")
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    n_layers = getattr(text, "num_hidden_layers", None)
    d_model = getattr(text, "hidden_size", None)
    if not isinstance(n_layers, int) or not isinstance(d_model, int):
        raise UnknownArchitecture(
            f"the config of {name} states num_hidden_layers={n_layers}, hidden_size={d_model}; both are needed"
        )
    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) > 0]
    found = [(n, m) for n, m in lists if len(m) == n_layers and all(_child(b, ATTENTION_NAMES) for b in m)]
    if len(found) != 1:
        seen = ", ".join(f"{n} ({len(m)} x {type(m[0]).__name__})" for n, m in lists) or "none"
        raise UnknownArchitecture(
            f"{name}: expected one list of {n_layers} layers with an attention submodule "
            f"({'/'.join(ATTENTION_NAMES)}), found {len(found)}; lists of modules in it: {seen}. "
            "Use a causal decoder, or add its submodule names to agents/hooks/layers.py"
        )
    where, blocks = found[0]
    layers = tuple(blocks)
    attention = tuple(_child(block, ATTENTION_NAMES) for block in layers)
    parent = model.get_submodule(where.rpartition(".")[0])
    return DecoderLayout(
        layers=layers,
        attention=tuple(a for a in attention if a is not None),
        mlp=tuple(_child(block, MLP_NAMES) for block in layers),
        decoder=parent,
        d_model=d_model,
        where=where,
    )


def select_layers(spec: LayerSpec, n_layers: int) -> tuple[int, ...]:
    """Ascending layer indices for a selection. Raises ValueError naming what does not fit.

    A float is a fraction of the depth, `round(f * (n_layers - 1))`; an int is an index.
    """
    if isinstance(spec, str):
        if spec != "all":
            raise ValueError(
                f"layers '{spec}' is not known; give 'all', an index, a fraction, or a list of them"
            )
        return tuple(range(n_layers))
    items = [spec] if isinstance(spec, int | float) else list(spec)
    if not items:
        raise ValueError("the list of layers is empty; give at least one, or 'all'")
    chosen: set[int] = set()
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise ValueError(f"layer {item!r} is neither an index nor a fraction")
        if isinstance(item, float):
            if not 0.0 <= item <= 1.0:
                raise ValueError(f"layer {item} is a fraction of the depth and must lie in 0.0 to 1.0")
            chosen.add(round(item * (n_layers - 1)))
        elif 0 <= item < n_layers:
            chosen.add(item)
        else:
            raise ValueError(f"layer {item} does not exist; the model has layers 0 to {n_layers - 1}")
    return tuple(sorted(chosen))


def _child(block: nn.Module, names: Sequence[str]) -> nn.Module | None:
    children = dict(block.named_children())
    for name in names:
        if name in children:
            return children[name]
    return None
