"""A model folder in Hugging Face format: is it complete, and which weights are these?

Reads only small JSON files and raw bytes; the one function that needs transformers (`load_tokenizer`) imports it
when called. Every failure names the folder, what is missing, and the remedy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from agents.models.adapter import adapter_parts, base_of, file_hash, is_adapter
from agents.models.bounds import (
    TOKENIZER_PARTS,
    check_config,
    read_json,
    weight_files,
)
from agents.models.errors import ModelFilesError
from agents.models.lean import lean_imports
from agents.models.mistaken import refuse_mistaken

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
"""A tokenizer needs any one of these files."""

PLAIN = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Names of the class that takes all of a tokenizer from its tokenizer.json."""
PLAINLY_READ = ("llama",)
"""Architectures for which AutoTokenizer uses a class of `PLAIN` as stated; for some others it chooses their own
class."""

WRAPPERS = {
    "_orig_mod.": "they were saved from a compiled model (torch.compile): save model._orig_mod instead",
    "module.": "they were saved from a parallel wrapper: save model.module instead",
    "_fsdp_wrapped_module.": "they were saved from an FSDP wrapper: save its whole state dict instead",
    "base_model.model.": "they are adapter weights (PEFT) without their adapter_config.json: restore it, or merge them "
    "into the base (merge_and_unload)",
}
"""How the tensors' names begin in a checkpoint that was saved from inside a wrapper, and what to do."""
LONGEST_HEADER = 100_000_000
"""Bytes; safetensors' own bound of a header."""

_HASH_BYTES = 8
_OLD_HASH_BYTES = 6


def check_model_dir(path: str | Path) -> Path:
    """The folder as an absolute path, if it holds config, weights and tokenizer; else ModelFilesError."""
    folder = Path(path).expanduser()
    refuse_mistaken(folder)
    folder = folder.resolve()
    found = sorted(p.name for p in folder.iterdir())
    listing = ", ".join(found[:12]) or "nothing"
    if not (folder / "config.json").is_file():
        raise ModelFilesError(
            f"model folder '{folder}' has no config.json (found: {listing}); save the model with save_pretrained()"
        )
    config = read_config(folder)
    if not config.get("model_type"):
        raise ModelFilesError(
            f"'{folder / 'config.json'}' names no model_type (keys found: {', '.join(sorted(config)) or 'none'}); "
            "use the config.json that save_pretrained() writes"
        )
    if (folder / "generation_config.json").is_file():
        read_json(folder / "generation_config.json")
    if not is_adapter(folder) and not weight_files(folder):
        raise ModelFilesError(
            f"model folder '{folder}' has no *.safetensors weights (found: {listing}); "
            "convert the checkpoint with save_pretrained()"
        )
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ModelFilesError(
            f"model folder '{folder}' has no tokenizer (none of {', '.join(TOKENIZER_FILES)}; found: {listing}); "
            "copy the tokenizer of the same model into it, or save it with tokenizer.save_pretrained()"
        )
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` as a dict; ModelFilesError if it is not a JSON object, or holds what no model has."""
    path = folder / "config.json"
    config = read_json(path)
    check_config(config, path)
    return config


def tensor_names(folder: Path) -> dict[str, Path]:
    """Name of every tensor of a folder's weights -> its file, by the files' headers alone. Raises ModelFilesError."""
    found: dict[str, Path] = {}
    for file in weight_files(folder):
        try:
            with file.open("rb") as handle:
                size = int.from_bytes(handle.read(8), "little")
                header = json.loads(handle.read(size)) if 0 < size <= LONGEST_HEADER else None
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFilesError(
                f"'{file}' cannot be read ({error}); copy it again from its source"
            ) from error
        if not isinstance(header, dict):
            raise ModelFilesError(f"'{file}' is no safetensors file; save the model with save_pretrained()")
        found |= {name: file for name in header if name != "__metadata__"}
    return found


def check_tensor_names(folder: Path) -> None:
    """Refuse weights that were saved from inside a wrapper, whose names no loader knows. Raises ModelFilesError."""
    folder = base_of(folder) if is_adapter(folder) else folder
    for prefix, cause in WRAPPERS.items():
        named = [name for name in tensor_names(folder) if name.startswith(prefix)]
        if named:
            raise ModelFilesError(
                f"the weights in '{folder}' are called {named[0]} and so on ({len(named)} tensors): {cause}; their "
                f"names must not begin with {prefix!r}, or the model would be left with random weights"
            )


def check_loaded(
    folder: Path, missing: Iterable[str], unexpected: Iterable[str], other_shape: Iterable[str]
) -> None:
    """Refuse a model whose tensors were not all loaded from its folder. Raises ModelFilesError naming them.

    missing: tensors of the model that no file has, which stay random. unexpected: tensors of the files that the model
    has no place for. other_shape: those that do not fit in their place.
    """
    wrong = {
        "missing": sorted(missing),
        "without a place in the model": sorted(unexpected),
        "of another shape": sorted(other_shape),
    }
    told = [f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in wrong.items() if names]  # fmt: skip
    if told:
        raise ModelFilesError(
            f"the tensors in '{folder}' are not those of its config.json: {'; '.join(told)}. The model would play with "
            "random or ignored weights: the config is of another model (layers, biases, tied embeddings), a file is "
            "lacking, or the weights were saved from a wrapper; save it again with save_pretrained()"
        )


def model_hash(path: str | Path) -> str:
    """blake2b over every file that determines what a model reads and writes, names included: config, weights,
    tokenizer, chat template, generation config; 16 hex digits.

    For an adapter it covers its base's hash and its own files. Files are read once per (path, size, modification time)
    in a process; 1 GB takes about a second.
    """
    folder = check_model_dir(path)
    if is_adapter(folder):
        stated, files = adapter_parts(folder)
        files += [folder / name for name in TOKENIZER_PARTS if (folder / name).is_file()]
        return file_hash(files, f"{model_hash(base_of(folder))}\0{stated}\0")
    parts = [folder / name for name in TOKENIZER_PARTS if (folder / name).is_file()]
    return _hash_of(folder, [folder / "config.json", *weight_files(folder), *parts], _HASH_BYTES)


def weights_hash(path: str | Path) -> str:
    """The hash by which runs of version 0.1 name a model: of config and weights alone, 12 hex digits."""
    folder = check_model_dir(path)
    weights = [] if is_adapter(folder) else weight_files(folder)  # such a run never named an adapter
    return _hash_of(folder, [folder / "config.json", *weights], _OLD_HASH_BYTES)


def model_name(path: str | Path) -> str:
    """`name@hash`: the folder's name and `model_hash`."""
    folder = check_model_dir(path)
    return f"{folder.name}@{model_hash(folder)}"


def is_model(name: str, path: str | Path) -> bool:
    """Whether a recorded `name@hash` is this folder's; one of 12 digits says nothing of the tokenizer."""
    folder = check_model_dir(path)
    return name in (f"{folder.name}@{model_hash(folder)}", f"{folder.name}@{weights_hash(folder)}")


def _hash_of(folder: Path, files: Iterable[Path], n_bytes: int) -> str:
    stamp = tuple((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    return _hash_files(str(folder), stamp, n_bytes)


def checkpoint_dtype(folder: Path) -> str:
    """The dtype the weights were saved in: `float32` | `float16` | `bfloat16` (float32 where unstated).

    Looked up in config.json (`dtype`, or `torch_dtype` in older files, also inside `text_config`).
    """
    config = read_config(folder)
    nested = config.get("text_config")
    for source in (config, nested if isinstance(nested, dict) else {}):
        for key in ("dtype", "torch_dtype"):
            value = source.get(key)
            if isinstance(value, str):
                name = value.removeprefix("torch.")
                if name in ("float32", "float16", "bfloat16"):
                    return name
    return "float32"


def max_context(folder: Path, at_most: int | None = None) -> int:
    """`max_position_embeddings` of the config (also in `text_config`), 2048 where it states none; not more than
    `at_most`, where a setting says less."""
    stated = _stated_context(read_config(folder))
    return min(at_most or stated, stated)


def _stated_context(config: dict[str, Any]) -> int:
    nested = config.get("text_config")
    for source in (config, nested if isinstance(nested, dict) else {}):
        for key in ("max_position_embeddings", "n_positions", "max_seq_len"):
            value = source.get(key)
            if isinstance(value, int) and value > 0:
                return value
    return 2048


def vocab_size(folder: Path) -> int:
    """Rows of the embedding table according to the config; ModelFilesError where it states none."""
    config = read_config(folder)
    nested = config.get("text_config")
    for source in (config, nested if isinstance(nested, dict) else {}):
        value = source.get("vocab_size")
        if isinstance(value, int) and value > 0:
            return value
    raise ModelFilesError(
        f"'{folder / 'config.json'}' states no vocab_size; restore it from the model's source"
    )


def eos_ids(folder: Path) -> tuple[int, ...]:
    """The checkpoint's end-of-sequence ids, from generation_config.json, else config.json; ascending, maybe none."""
    path = folder / "generation_config.json"
    sources: list[dict[str, Any]] = []
    if path.is_file():
        sources.append(read_json(path))
    sources.append(read_config(folder))
    for source in sources:
        value = source.get("eos_token_id")
        if isinstance(value, int):
            return (value,)
        if isinstance(value, list) and value:
            return tuple(sorted(int(v) for v in value))
    return ()


def load_tokenizer(path: str | Path) -> Any:
    """The folder's tokenizer (transformers' fast tokenizer), without touching the network; weights are not needed."""
    folder = Path(path).expanduser().resolve()
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        check_model_dir(folder)  # says what is missing
    plain = _is_plain(folder)
    if plain:
        with lean_imports():
            from transformers import PreTrainedTokenizerFast
    else:
        with lean_imports():
            from transformers import AutoTokenizer
    try:
        if plain:
            return PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds here; all mean the same to the user
        raise ModelFilesError(
            f"the tokenizer in '{folder}' cannot be loaded ({type(error).__name__}: {error}); "
            "copy the tokenizer files of the same model into the folder"
        ) from error


def _is_plain(folder: Path) -> bool:
    """Whether AutoTokenizer would choose the class PreTrainedTokenizerFast, which needs no torch: a process that plays
    with an engine elsewhere needs nothing else of it, and starts in a quarter of the time."""
    config, own = folder / "config.json", folder / "tokenizer_config.json"
    if not (config.is_file() and own.is_file() and (folder / "tokenizer.json").is_file()):
        return False
    named = read_json(own)
    return (
        named.get("tokenizer_class") in PLAIN
        and "auto_map" not in named
        and read_config(folder).get("model_type") in PLAINLY_READ
    )


@lru_cache(maxsize=32)
def _hash_files(folder: str, stamp: tuple[tuple[str, int, int], ...], n_bytes: int) -> str:
    digest = blake2b(digest_size=n_bytes)
    for name, size, _ in stamp:
        digest.update(f"{name}\0{size}\0".encode())
        with (Path(folder) / name).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
