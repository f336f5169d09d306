"""Limits for untrusted model folders: bounded files, plausible numbers, unambiguous weight files.

Everything is checked before anything is loaded: a config with a million layers or an endless header is refused with the
reason. No code in a folder is ever run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.models.errors import ModelFilesError

LARGEST_JSON = 16 * 2**20
"""Largest number of bytes of a config or a weight index."""
LARGEST = {
    "num_hidden_layers": 1000, "n_layer": 1000, "hidden_size": 131_072, "n_embd": 131_072, "intermediate_size": 2**20,
    "vocab_size": 10_000_000, "num_attention_heads": 4096, "n_head": 4096, "num_key_value_heads": 4096,
    "head_dim": 65_536, "num_local_experts": 4096, "num_experts": 4096, "n_routed_experts": 4096,
    "max_position_embeddings": 2**31, "n_positions": 2**31,
}  # fmt: skip
"""Numbers of a config and the maximum of each; all are at least 1."""
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_PARTS = (
    *("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "chat_template.json", "generation_config.json"),
)
"""Files that, besides weights and config, determine which tokens a model reads and writes."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of at most `LARGEST_JSON` bytes. Raises ModelFilesError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_JSON + 1)
        if len(data) > LARGEST_JSON:
            raise ModelFilesError(
                f"'{path}' holds {path.stat().st_size:,} bytes, at most {LARGEST_JSON:,} are read; restore it from the "
                "model's source"
            )
        found = json.loads(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelFilesError(
            f"'{path}' is not readable JSON ({error}); restore it from the model's source"
        ) from error
    if not isinstance(found, dict):
        raise ModelFilesError(f"'{path}' holds a JSON {type(found).__name__}, expected an object")
    return found


def check_config(config: Mapping[str, Any], path: Path) -> None:
    """Raises ModelFilesError for a number that no model has, or a rope or quantisation that is no table."""
    nested = config.get("text_config")
    for part in (config, nested if isinstance(nested, dict) else {}):
        for key, most in LARGEST.items():
            value = part.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ModelFilesError(
                    f"'{path}': {key} is {str(value)[:40]!s}, expected a whole number from 1 to {most:,}; restore it "
                    "from the model's source"
                )
        for key in ("rope_scaling", "rope_parameters", "quantization_config"):
            if part.get(key) is not None and not isinstance(part[key], dict):
                raise ModelFilesError(
                    f"'{path}': {key} is a JSON {type(part[key]).__name__}, expected an object; restore it from the "
                    "model's source"
                )


def weight_files(folder: Path) -> list[Path]:
    """The files of weights that loaders read: those that the index names, else `model.safetensors`; none where there is
    neither. Raises ModelFilesError for other *.safetensors that one loader would read and another not."""
    if (folder / INDEX).is_file():
        named = read_json(folder / INDEX).get("weight_map")
        files = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
        for name in files:
            if (
                not re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,200}\.safetensors", name)
                or not (folder / name).is_file()
            ):
                raise ModelFilesError(
                    f"'{folder / INDEX}' names the weights {name[:80]!r}, which is no *.safetensors file of the "
                    "folder; restore it from the model's source"
                )
        return [folder / name for name in files]
    found = sorted(folder.glob("*.safetensors"))
    others = [file.name for file in found if file.name != WEIGHTS]
    if others:
        raise ModelFilesError(
            f"model folder '{folder}' holds {', '.join(others[:4])}, which no {INDEX} names: loaders differ in which "
            f"they read; keep the weights as {WEIGHTS}, or save the model with save_pretrained()"
        )
    return found
