"""Readers of others' dictionaries: SAELens' and Gemma Scope's files.

SAELens: a folder with `cfg.json` and `sae_weights.safetensors`; it saves BatchTopK as JumpReLU, with its threshold.
Gemma Scope: `.../layer_12/width_16k/average_l0_82/params.npz`, or a `config.json` beside `params.safetensors`.
The caller names what the files omit (for instance the site); scalings that those libraries apply at run time are
folded into the weights here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from harness.features.dictionary import Activation, Card, Dictionary, FeaturesError, Norm
from harness.features.saved import CARD, load_dictionary, read_card

HOOK = re.compile(r"blocks\.(\d+)\.(?:hook_)?(resid_post|resid_pre|mlp_out|attn_out)$")
ACTIVATIONS: dict[str, Activation] = {
    "standard": "relu", "relu": "relu", "jumprelu": "threshold", "jump_relu": "threshold", "batchtopk": "threshold",
    "topk": "topk",
}  # fmt: skip
"""SAELens' architecture -> activation. Others (gated, abs_topk) need more than an activation and are refused."""
NORMS: dict[str, Norm] = {
    "none": "none", "expected_average_only_in": "scale", "constant_norm_rescale": "row_norm",
    "layer_norm": "layer_norm",
}  # fmt: skip


def read_dictionary(
    path: str | Path, *, layer: str = "", site: str = "", rows: NDArray[Any] | None = None
) -> Dictionary:
    """A dictionary by its folder or file, whatever its format.

    layer, site: where its own file names none. rows: `(n_rows, d_model)` of our own, to estimate the scale where the
    input is normalised by an average that the file omits. Raises FeaturesError.
    """
    place = Path(path).expanduser()
    if (place / CARD).is_file():
        return load_dictionary(place)
    if (place / "cfg.json").is_file():
        return _saelens(place, layer, site, rows)
    for name in ("params.npz", "params.safetensors"):
        file = place if place.name == name else place / name
        if file.is_file():
            return _gemma_scope(file, layer, site)
    raise FeaturesError(
        f"{place} is no dictionary: it has none of {CARD} (ours), cfg.json (SAELens), params.npz or params.safetensors "
        "(Gemma Scope)"
    )


def stated_layer(path: str | Path) -> str:
    """The layer that a dictionary's own files name; empty where they name none. Raises FeaturesError."""
    place = Path(path).expanduser()
    if (place / CARD).is_file():
        return read_card(place).layer
    if (place / "cfg.json").is_file():
        config = _json(place / "cfg.json")
        return layer_of_hook(
            str((config.get("metadata") or {}).get("hook_name") or config.get("hook_name") or "")
        )
    file = place / "params.npz"
    beside = place / "config.json"
    return _by_path(file, _json(beside) if beside.is_file() else {})


def layer_of_hook(hook: str) -> str:
    """The store's name of a layer from TransformerLens' name of a hook; empty where it has no such stream.

    `blocks.K.hook_resid_post` is `resid_post.K`; `blocks.K.hook_resid_pre` is the output of the block before,
    `resid_post.K-1`, and `embed` for the first.
    """
    match = HOOK.search(hook)
    if match is None:
        return "embed" if hook.endswith("hook_embed") else ""
    block, what = int(match[1]), match[2]
    if what == "resid_pre":
        return f"resid_post.{block - 1}" if block else "embed"
    return f"{what}.{block}"


def _saelens(folder: Path, layer: str, site: str, rows: NDArray[Any] | None) -> Dictionary:
    config = _json(folder / "cfg.json")
    meta = config.get("metadata") or {}
    hook = str(meta.get("hook_name") or config.get("hook_name") or "")
    named = layer_of_hook(hook)
    if hook and not named:
        raise FeaturesError(
            f"{folder / 'cfg.json'} names the hook {hook!r}, which is no stream that is captured here "
            "(resid_post, resid_pre, mlp_out, attn_out of a block)"
        )
    if named and layer and named != layer:
        raise FeaturesError(f"{folder / 'cfg.json'} says {hook}, which is {named} here; asked for {layer}")
    kind = str(config.get("architecture", "standard"))
    words = config.get("activation_fn_kwargs") or {}
    if (
        kind == "standard"
        and str(config.get("activation_fn_str") or config.get("activation_fn") or "") == "topk"
    ):
        kind = "topk"
    if kind not in ACTIVATIONS:
        raise FeaturesError(
            f"{folder / 'cfg.json'} has architecture {kind!r}; read here are {', '.join(ACTIVATIONS)}. Give an object "
            "with encode and decode instead: wolfscope features load MODULE:NAME"
        )
    norm = str(config.get("normalize_activations") or "none")
    if norm not in NORMS:
        raise FeaturesError(
            f"{folder / 'cfg.json'} normalises by {norm!r}; read here are {', '.join(NORMS)}: fold it in first"
        )
    tensors = _tensors(folder / "sae_weights.safetensors")
    w_enc, w_dec = _float(tensors, "W_enc", folder), _float(tensors, "W_dec", folder)
    b_enc, b_dec = _float(tensors, "b_enc", folder), _float(tensors, "b_dec", folder)
    d, width = w_enc.shape
    if (config.get("d_in", d), config.get("d_sae", width)) != (d, width):
        raise FeaturesError(
            f"{folder / 'cfg.json'} says d_in {config['d_in']}, d_sae {config['d_sae']}; the weights are {d} by {width}"
        )
    if config.get("rescale_acts_by_decoder_norm"):
        length = np.linalg.norm(w_dec, axis=1)
        w_enc, b_enc, w_dec = w_enc * length, b_enc * length, w_dec / np.maximum(length, 1e-12)[:, None]
    if config.get("finetuning_scaling_factor"):
        raise FeaturesError(
            f"{folder / 'cfg.json'} scales activations after the fact (finetuning_scaling_factor): fold it in first"
        )
    scale = 1.0
    if NORMS[norm] == "scale":
        scale = _scale(folder, tensors, rows, d)
    k = float(config.get("k") or words.get("k") or 0)
    activation = ACTIVATIONS[kind]
    if activation == "topk" and not 1 <= k <= width:
        raise FeaturesError(
            f"{folder / 'cfg.json'} is a TopK dictionary and gives no k: it cannot be read as ReLU"
        )
    threshold = np.zeros(width, dtype=np.float32)
    if activation == "threshold":
        threshold = np.broadcast_to(_float(tensors, "threshold", folder), (width,)).copy()
    stated = meta.get("explained_variance", config.get("explained_variance"))
    card = Card(
        kind=kind, model=str(meta.get("model_name") or config.get("model_name") or ""), site=site, layer=named or layer,
        d_model=d, width=width, activation=activation, k=k, normalisation=NORMS[norm], scale=scale,
        centred=bool(config.get("apply_b_dec_to_input", True)),
        variance_explained=None if stated is None else float(stated), source=f"SAELens files of {folder.name}, {hook}",
    )  # fmt: skip
    return Dictionary(card, w_enc, b_enc, w_dec, b_dec, threshold)


def _scale(folder: Path, tensors: dict[str, NDArray[Any]], rows: NDArray[Any] | None, d: int) -> float:
    if "norm_scaling_factor" in tensors:
        return float(tensors["norm_scaling_factor"].reshape(-1)[0])
    if rows is None or not len(rows):
        raise FeaturesError(
            f"{folder} normalises its input by an average that its files do not keep (expected_average_only_in): "
            "name a run with rows of its layer, from which it is estimated"
        )
    return float(np.sqrt(d) / np.linalg.norm(rows, axis=1).mean())


def _gemma_scope(file: Path, layer: str, site: str) -> Dictionary:
    if file.suffix == ".npz":
        try:
            with np.load(file, allow_pickle=False) as data:
                tensors = {key: np.asarray(data[key]) for key in data}
        except (OSError, ValueError) as error:
            raise FeaturesError(f"{file} cannot be read ({error}): fetch it again") from error
    else:
        tensors = _tensors(file)
    tensors = {f"W_{key[2:]}" if key.startswith("w_") else key: value for key, value in tensors.items()}
    config = _json(file.with_name("config.json")) if file.with_name("config.json").is_file() else {}
    named, l0 = _by_path(file, config), re.search(r"average_l0_(\d+)", str(file.resolve()))
    if named and layer and named != layer:
        raise FeaturesError(f"{file} is of {named} by its path; asked for {layer}")
    if not named and not layer:
        raise FeaturesError(f"{file} names no layer in its path (layer_N): name it by --layer")
    w_enc = _float(tensors, "W_enc", file.parent)
    d, width = w_enc.shape
    if "scaling_factor" in tensors and not np.allclose(tensors["scaling_factor"], 1):
        raise FeaturesError(f"{file} holds a scaling_factor other than 1: fold it in first")
    card = Card(
        kind="jumprelu", model=str(config.get("model_name", "")), site=site, layer=named or layer, d_model=d,
        width=width, activation="threshold", k=float(l0[1]) if l0 else float(config.get("l0") or 0),
        normalisation="none", centred=False, source=f"Gemma Scope file {'/'.join(file.parts[-4:])}",
    )  # fmt: skip
    b_enc, w_dec, b_dec, level = (
        _float(tensors, n, file.parent) for n in ("b_enc", "W_dec", "b_dec", "threshold")
    )
    return Dictionary(card, w_enc, b_enc, w_dec, b_dec, np.broadcast_to(level, (width,)).copy())


def _by_path(file: Path, config: dict[str, Any]) -> str:
    """The layer of a Gemma Scope file, from its path (`gemma-scope-2b-pt-res/layer_12/...`); empty: unknown."""
    words = f"{file.resolve()} {config.get('hf_hook_point_in', '')}"
    block = re.search(r"layer_(\d+)", words)
    if block is None:
        return ""
    of_mlp, of_attention = re.search(r"-mlp\b|/mlp_out/", words), re.search(r"-att\b|/attn_out/", words)
    return f"{'mlp_out' if of_mlp else 'attn_out' if of_attention else 'resid_post'}.{block[1]}"


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeaturesError(f"{path} cannot be read ({error}): fetch it again") from error
    if not isinstance(found, dict):
        raise FeaturesError(f"{path} is no table of settings")
    return found


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise FeaturesError(f"{path} cannot be read ({error}): fetch it again") from error


def _float(tensors: dict[str, NDArray[Any]], name: str, where: Path) -> NDArray[np.float32]:
    if name not in tensors:
        raise FeaturesError(f"the weights in {where} hold no {name!r} (found {', '.join(sorted(tensors))})")
    return np.ascontiguousarray(tensors[name], dtype=np.float32)
