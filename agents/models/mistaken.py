"""Folders that are mistaken for model folders: what each really is, and what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

from agents.models.adapter import check_adapter, is_adapter
from agents.models.errors import ModelFilesError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def refuse_mistaken(folder: Path) -> None:
    """Raises ModelFilesError for what is no folder, a hub's name, GGUF, an adapter without its base,
    or lacks shards of its weights."""
    if not folder.exists():
        if _HUB_ID.fullmatch(str(folder)):
            raise ModelFilesError(
                f"'{folder}' is no folder here; it looks like the name of a model on a hub, and nothing is downloaded: "
                f"fetch it first (`hf download {folder} --local-dir models/{folder.name}`) and give that folder"
            )
        raise ModelFilesError(
            f"model folder '{folder}' does not exist; give the path of a folder in Hugging Face format "
            "(config.json, *.safetensors, tokenizer.json)"
        )
    if not folder.is_dir():
        if folder.suffix.casefold() == ".gguf":
            raise ModelFilesError(_gguf(folder))
        raise ModelFilesError(f"model '{folder}' is a file; give the folder that holds its config.json")
    names = {p.name for p in folder.iterdir()}
    if is_adapter(folder):
        check_adapter(folder)
        return
    quantised = sorted(n for n in names if n.casefold().endswith(".gguf"))
    if quantised and not any(n.endswith(".safetensors") for n in names):
        raise ModelFilesError(_gguf(folder / quantised[0]))
    _check_shards(folder, names)


def _gguf(file: Path) -> str:
    return (
        f"'{file}' is GGUF, which no backend here plays: convert it to a folder in Hugging Face format (transformers: "
        f"AutoModelForCausalLM.from_pretrained(folder, gguf_file={file.name!r}).save_pretrained(out), the tokenizer "
        "likewise) and give that folder"
    )


def _check_shards(folder: Path, names: set[str]) -> None:
    """Raises ModelFilesError where the index names files of weights that are not there."""
    path = folder / "model.safetensors.index.json"
    if path.name not in names:
        return
    try:
        listed = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFilesError(
            f"'{path}' cannot be read ({error}); restore it from the model's source"
        ) from error
    missing = sorted(str(name) for name in listed if name not in names)
    if missing:
        raise ModelFilesError(
            f"model folder '{folder}' lacks {len(missing)} of its {len(listed)} files of weights "
            f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}): copy them from the model's source"
        )
