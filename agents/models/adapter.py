"""A LoRA adapter's folder that serves as a model: its base is found by name and left as it is.

Beside the adapter's own two files it holds the base's `config.json` and tokenizer. Every loader computes one row, the
log-probabilities of some next tokens, and refuses an adapter that changes nothing or gives another row than in peft
when it was saved: engines silently accept adapters whose tensor names do not match, and then run the base model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import msgspec

from agents.models.bounds import TOKENIZER_PARTS, read_json, weight_files
from agents.models.errors import ModelFilesError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FACTS = "finetune.json"
"""What a fine-tuning was made of, beside its weights: base, data and settings, by hash, and its `Parity`."""
TOLERANCE = {"float32": 2e-3, "float16": 0.05, "bfloat16": 0.3}
"""Largest difference of two log-probabilities (nats) that the same weights may give in two engines, by their dtype."""
MOST_RANK = 8192
LONGEST_PATTERN = 2000
_NESTED = re.compile(r"[*+}][?+]?\)+[*+{]")
LEAST = 1e-6
"""Differences (nats) below this count as no change."""


class Parity(msgspec.Struct, frozen=True):
    """One row that a model gave when it was saved."""

    ids: tuple[int, ...]
    """Token ids of a context."""
    read: tuple[int, ...]
    """Token ids of the next tokens that are compared."""
    adapter: tuple[float, ...]
    """Their log-probabilities (nats) with the adapter, by peft in transformers, as saved."""
    base: tuple[float, ...]
    """Their log-probabilities (nats) without the adapter."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """In which the base computed them, as it did in training."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    return (folder / CONFIG).is_file() and not any(folder.glob("model*.safetensors"))


def weight_bytes(folder: Path) -> int:
    """Bytes of the weights that a model's folder stands for; of its base where it is an adapter. Raises
    ModelFilesError."""
    whole = base_of(folder) if is_adapter(folder) else folder
    return sum(file.stat().st_size for file in weight_files(whole))


def base_of(folder: Path) -> Path:
    """The folder of an adapter's base model. Raises ModelFilesError where it is not here, or is an adapter too."""
    named = read_json(folder / CONFIG).get("base_model_name_or_path")
    base = Path(str(named or "")).expanduser()
    base = base if base.is_absolute() else folder / base
    if not named or not base.is_dir():
        raise ModelFilesError(
            f"'{folder}' is a LoRA adapter of {str(named)[:120]!r}, which is no folder here: put the folder of its "
            f"base model as base_model_name_or_path into its {CONFIG}, or merge the two (peft: merge_and_unload)"
        )
    if is_adapter(base):
        raise ModelFilesError(
            f"the base '{base}' of the adapter '{folder}' is an adapter too: merge that one first"
        )
    return base.resolve()


def check_adapter(folder: Path) -> Path:
    """The base of an adapter's folder that can be loaded. Raises ModelFilesError, saying what it lacks."""
    base = base_of(folder)
    _check_config(folder / CONFIG)
    lacking = [name for name in (WEIGHTS, "config.json") if not (folder / name).is_file()]
    if lacking or not any((folder / name).is_file() for name in TOKENIZER_PARTS):
        raise ModelFilesError(
            f"the adapter '{folder}' has no {lacking[0] if lacking else 'tokenizer'}: copy config.json and the "
            f"tokenizer files of its base '{base}' beside it, and keep its own {CONFIG} and {WEIGHTS}"
        )
    return base


def _check_config(path: Path) -> None:
    """A configuration is a stranger's: it may name no code, and nothing in it may take for ever. Raises
    ModelFilesError."""
    plain = read_json(path)
    kind = plain.get("peft_type")
    if kind not in (None, "LORA"):
        raise ModelFilesError(
            f"'{path}' is of the type {str(kind)[:40]!r}; only LoRA adapters (LORA) are read here"
        )
    if plain.get("megatron_config"):
        raise ModelFilesError(
            f"'{path}' sets megatron_config, beside which it names code to be imported: remove it"
        )
    if rank_of(path.parent) > MOST_RANK:
        raise ModelFilesError(
            f"'{path}' states the rank {rank_of(path.parent):,}; at most {MOST_RANK:,} is read"
        )
    said = [plain.get(key) for key in ("target_modules", "exclude_modules")]
    patterns = [
        *(text for text in said if isinstance(text, str)),
        *(str(key) for name in ("rank_pattern", "alpha_pattern") for key in plain.get(name) or ()),
    ]
    for pattern in patterns:
        if len(pattern) > LONGEST_PATTERN or _NESTED.search(pattern):
            raise ModelFilesError(
                f"'{path}' chooses modules by {pattern[:60]!r}, which may take for ever: patterns have at most "
                f"{LONGEST_PATTERN:,} characters and repeat no group that repeats something; list the modules' names"
            )


def adapter_parts(folder: Path) -> tuple[str, list[Path]]:
    """(what its configuration says, without where the base lies; its file of weights): what its hash is made of."""
    plain = {k: v for k, v in read_json(folder / CONFIG).items() if k != "base_model_name_or_path"}
    return json.dumps(plain, sort_keys=True), [folder / WEIGHTS]


def rank_of(folder: Path) -> int:
    """The highest rank of an adapter's pairs. Raises ModelFilesError."""
    plain = read_json(folder / CONFIG)
    more = plain.get("rank_pattern")
    ranks = [plain.get("r"), *(more.values() if isinstance(more, dict) else ())]
    found = [r for r in ranks if isinstance(r, int) and r > 0]
    if not found:
        raise ModelFilesError(f"'{folder / CONFIG}' states no rank r; restore it from the adapter's source")
    return max(found)


def facts_of(folder: Path) -> dict[str, Any]:
    """What a fine-tuned model was made of; empty where the folder does not say."""
    return read_json(folder / FACTS) if (folder / FACTS).is_file() else {}


def parity_of(folder: Path) -> Parity | None:
    """The row that the folder's model gave when it was saved; None where it does not say. Raises ModelFilesError."""
    found = facts_of(folder).get("parity")
    try:
        return None if found is None else msgspec.convert(found, Parity)
    except msgspec.ValidationError as error:
        raise ModelFilesError(f"'{folder / FACTS}': parity: {error}; remove it or train again") from error


def check_row(
    folder: Path, engine: str, dtype: str, found: Sequence[float], base: Sequence[float], kept: Parity | None
) -> None:
    """Refuse an adapter that an engine does not apply, or applies otherwise than peft. Raises ModelFilesError.

    found, base: log-probabilities (nats) of the same next tokens with the adapter and without it. kept: those of peft.
    """
    moved = max(abs(a - b) for a, b in zip(found, base, strict=True))
    if moved < LEAST:
        raise ModelFilesError(
            f"the adapter '{folder}' changes nothing in {engine} (log-probabilities differ by at most {moved:.1e}): "
            "its modules are called otherwise than the model's, or it has learned nothing; train it on this base, or "
            "merge it into the base (peft: merge_and_unload)"
        )
    if kept is None:
        return
    off = max(abs(a - b) for a, b in zip(found, kept.adapter, strict=True))
    coarser = max(dtype, kept.dtype, key=lambda name: TOLERANCE[name])
    if off > TOLERANCE[coarser]:
        raise ModelFilesError(
            f"the adapter '{folder}' gives another row in {engine} than in peft: log-probabilities differ by up to "
            f"{off:.2g} nats, at most {TOLERANCE[coarser]:g} are rounding in {coarser}; its base may be another model, "
            "or the engine leaves some of its modules out; merge it into the base (wolfscope merge-adapter)"
        )


def file_hash(files: Sequence[Path], text: str = "") -> str:
    """blake2b over some files and a text, 16 hex digits."""
    digest = blake2b(text.encode(), digest_size=8)
    for file in files:
        with file.open("rb") as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
