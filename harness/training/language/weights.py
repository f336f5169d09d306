"""The model in training: loaded, given an adapter, saved and restored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file, save_file

from agents.hooks.adapted import parity_row
from agents.models.adapter import FACTS, WEIGHTS, base_of, facts_of, is_adapter
from agents.models.bounds import TOKENIZER_PARTS
from agents.models.folder import ModelFilesError, check_model_dir, checkpoint_dtype, model_name
from harness.gate import own_folder
from harness.seals import keep_lines, read_state, write_state
from harness.training.attention import NAME
from harness.training.language.settings import FinetuneConfig, FinetuneError
from harness.training.precision import mixed_precision

CURVE = "curve.jsonl"
STATE = "state.json"
FREE = ("train.tokens", "train.save_every", "train.measure_every")
"""Settings that may change when a fine-tuning resumes."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def learning_model(folder: Path, config: FinetuneConfig, device: str) -> Any:
    """The base with a fresh adapter, or with all its weights trainable. Raises ModelFilesError, FinetuneError."""
    from agents.hooks.model import load_hooked_model

    wanted = config.model.dtype
    dtype = ("bfloat16" if mixed_precision(device) else "float32") if wanted == "auto" else wanted
    if config.model.weights == "full":
        dtype = "float32"
    model: Any = load_hooked_model(folder, device=device, dtype=dtype, attention=attention_on(device)).model
    if config.model.weights == "full":
        return model.requires_grad_(True).train()
    from peft import LoraConfig, get_peft_model

    lora, targets = config.lora, config.lora.targets
    wanted_lora = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # peft takes any number
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        try:
            made: Any = get_peft_model(model, wanted_lora)
        except ValueError as error:
            raise FinetuneError(f"lora.targets = {targets!r}: {error}") from error
    return made.train()


def attention_on(device: str) -> str:
    """transformers' attn_implementation for training: on a CPU torch's fused attention is slow under the masks of
    questions (`make bench-training`)."""
    return NAME if device == "cpu" else "sdpa"


def optimizer_of(model: Any, rate: float) -> torch.optim.AdamW:
    """AdamW over the trainable parameters."""
    return torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=rate, betas=(0.9, 0.98), weight_decay=0.0
    )


def checkpoint(work: Path, model: Any, optim: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write the trainable parameters and the optimiser's state; the JSON is renamed last and names the tensors'
    file."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    tensors = {f"model.{name}": p.detach().cpu().contiguous() for name, p in learned.items()}
    for i, values in optim.state_dict()["state"].items():
        for field, value in values.items():
            tensors[f"optim.{names[i]}/{field}"] = torch.as_tensor(value).detach().cpu().contiguous()
    file = f"state-{state['step']}.safetensors"
    save_file(tensors, str(work / file))
    write_state(work / STATE, state, work / file)
    for old in work.glob("state-*.safetensors"):
        if old.name != file:
            old.unlink()


def resume(
    work: Path, model: Any, optim: torch.optim.Optimizer, identity: dict[str, Any]
) -> dict[str, Any] | None:
    """Load what `checkpoint` wrote; None where there is nothing. Raises FinetuneError where it belongs to another
    fine-tuning, RunDamaged where it was changed."""
    if not (work / STATE).is_file():
        return None
    state = read_state(work / STATE)
    was, now = _flat(state["identity"]), _flat(identity)
    other = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    if other:
        told = ", ".join(f"{key} = {was.get(key)!r} there and {now.get(key)!r} here" for key in other[:3])
        raise FinetuneError(
            f"{work} holds another fine-tuning ({told}); use the same configuration to go on (only "
            f"{', '.join(FREE)} may differ), or another --out"
        )
    state["identity"] = identity
    tensors = load_file(str(work / state.pop("file")))
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, p in learned.items():
            p.copy_(tensors[f"model.{name}"])
    loaded, place = optim.state_dict(), {name: i for i, name in enumerate(learned)}
    for key, value in tensors.items():
        if key.startswith("optim."):
            name, _, field = key.removeprefix("optim.").partition("/")
            loaded["state"].setdefault(place[name], {})[field] = value
    optim.load_state_dict(loaded)
    keep_lines(work / CURVE, "step", state["step"])
    return state


def _flat(plain: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Dotted key -> value, without the settings that may change between two calls of one fine-tuning."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        name = f"{path}{key}".removeprefix("config.")
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return {key: value for key, value in found.items() if key not in FREE}


def save(
    out: Path, model: Any, base: Path, config: FinetuneConfig, facts: dict[str, Any], ids: Sequence[int]
) -> None:
    """Write an adapter's or a whole model's folder, which every verb accepts as a model: with the base's tokenizer,
    and `finetune.json`, which records its sources and one activation row after the context `ids`.

    The weights in memory are first rounded to the saved dtype, so that both are equal.
    """
    parts = ("config.json", *TOKENIZER_PARTS) if config.model.weights == "lora" else TOKENIZER_PARTS
    out.mkdir(parents=True, exist_ok=True)
    if config.model.weights == "lora":
        dtype = DTYPES[config.lora.dtype]
        with torch.no_grad():
            for p in model.parameters():
                if p.requires_grad:
                    p.copy_(p.to(dtype))
        facts = facts | {"parity": msgspec.to_builtins(parity_row(model, ids))}
        model.peft_config["default"].base_model_name_or_path = str(base)
        model.save_pretrained(str(out))
        file = out / WEIGHTS
        save_file({k: v.to(dtype).contiguous() for k, v in load_file(str(file)).items()}, str(file))
        (out / "README.md").unlink(missing_ok=True)
    else:
        model.save_pretrained(str(out))
    _finish(out, base, parts, facts)


def merge_adapter(folder: Path, out: Path, dtype: str = "auto") -> Path:
    """Write an adapter's model to `out` as a model's folder of its own, the products added to the base's weights in
    float32; returns `out`.

    dtype: of the written weights; auto: the base's. Raises ModelFilesError (also where `folder` holds no adapter, or
    `out` something else).
    """
    from agents.hooks.model import load_hooked_model

    if not is_adapter(check_model_dir(folder)):
        raise ModelFilesError(f"'{folder}' holds a whole model and no adapter: it is used as it is")
    if out.exists() and any(out.iterdir()):
        raise ModelFilesError(f"'{out}' is not empty: name a new folder for the merged model")
    own_folder(out)
    name = checkpoint_dtype(base_of(folder)) if dtype == "auto" else dtype
    model: Any = load_hooked_model(folder, device="cpu", dtype="float32").model
    model.to(DTYPES[name]).save_pretrained(str(out))
    facts = {key: value for key, value in facts_of(folder).items() if key != "parity"}
    _finish(out, folder, TOKENIZER_PARTS, facts | {"adapter": model_name(folder)})
    return out


def _finish(out: Path, source: Path, parts: Sequence[str], facts: dict[str, Any]) -> None:
    for name in parts:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    (out / FACTS).write_text(json.dumps(facts, indent=2) + "\n")
    for path in out.iterdir():
        if path.is_file():
            path.chmod(0o644)
