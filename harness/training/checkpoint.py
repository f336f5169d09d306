"""A training run on disk: the state to resume from, and the final model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from agents.models.classes import logging
from games import DEFAULT
from harness.seals import keep_lines, read_state, write_state


def save(out: Path, model: Any, tokenizer: Any, stored: torch.dtype | None = None) -> None:
    """Weights, configuration and tokenizer in Hugging Face format, readable by everyone; the model is on the CPU then.

    stored: the dtype of the weights in the file and of the model from then on, where it differs from the training
    dtype. The configuration names the training dtype, so that inference uses it by default.
    """
    logging.disable_progress_bar()  # its progress bar would break into ours
    learned = str(model.dtype).removeprefix("torch.")
    model.to("cpu", stored or model.dtype).save_pretrained(out)
    tokenizer.save_pretrained(out)
    if stored is not None:
        card = json.loads((out / "config.json").read_text())
        (out / "config.json").write_text(json.dumps(card | {"dtype": learned}, indent=2) + "\n")
    for path in out.iterdir():
        if path.is_file():
            path.chmod(0o644)


def checkpoint(work: Path, model: Any, optims: list[torch.optim.Optimizer], state: dict[str, Any]) -> None:
    """Write everything needed to resume, in safetensors and JSON; the JSON is renamed last and names its tensors'
    file."""
    tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    for i, optim in enumerate(optims):
        names = names_of(model, optim)
        for p, values in optim.state_dict()["state"].items():
            for field, value in values.items():
                tensors[f"optim{i}.{names[p]}/{field}"] = torch.as_tensor(value).detach().cpu().contiguous()
    name = f"state-{state['step']}.safetensors"
    save_file(tensors, str(work / name))
    write_state(work / "state.json", state, work / name)
    for old in work.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def names_of(model: Any, optim: torch.optim.Optimizer) -> list[str]:
    """The names of an optimizer's parameters, in its order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optim.param_groups for parameter in group["params"]]


def resume(
    work: Path, model: Any, optims: list[torch.optim.Optimizer], settings: dict[str, Any], device: str
) -> dict[str, Any]:
    """Load what `checkpoint` wrote. Raises ValueError where it was written under other settings, RunDamaged where it
    was changed."""
    state = read_state(work / "state.json")
    first = {"game": DEFAULT, "processes": 1}  # older training runs do not record them
    same = {**first, **state["settings"], "tokens": settings["tokens"]} == first | settings
    if not same or settings["tokens"] < min(state["tokens"], state["settings"]["tokens"]):
        raise ValueError(
            f"{work} holds {state['tokens']:,} tokens of a training run with {state['settings']}, but {settings} was "
            "asked for: use the same settings to go on, with as many tokens or more, or another folder"
        )
    restore(work, state.pop("file"), model, optims, device)
    keep_lines(work / "loss.jsonl", "tokens", state["tokens"])
    return state


def restore(work: Path, file: str, model: Any, optims: list[torch.optim.Optimizer], device: str) -> None:
    """Load the tensors that `checkpoint` wrote into a model and its optimizers; `file`: the file that the state
    names."""
    tensors = load_file(str(work / file), device=device)
    # Layers added later may be missing; they keep their initial values.
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, strict=False)
    for i, optim in enumerate(optims):
        loaded, place = optim.state_dict(), {name: p for p, name in enumerate(names_of(model, optim))}
        for key, value in tensors.items():
            head, _, rest = key.partition(".")
            if head == f"optim{i}":
                name, _, field = rest.partition("/")
                loaded["state"].setdefault(place[name], {})[field] = value
        optim.load_state_dict(loaded)
