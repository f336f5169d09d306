"""The model that reads a run's contexts: the one that played, its architecture with random weights, or another
checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.capture.job import CaptureJob
from harness.config.models import model_folder, points_of
from harness.config.sections import Config
from harness.errors import ConfigurationError
from harness.run.folder import Run

if TYPE_CHECKING:
    from agents.hooks.model import HookedModel


def open_reader(run: Run, config: Config, job: CaptureJob, say: Callable[[str], None]) -> tuple[Any, str]:
    """(what reads, a `harness.capture.passes.StreamReader`; the `name@hash` of the model whose decisions are read).

    Raises ConfigurationError for weights or a vocabulary other than the run's, a missing device, or layers
    that the model does not have; ModelFilesError.
    """
    from agents.models.folder import check_model_dir, is_model, model_name

    own = model_folder(config.backends[job.backend])
    folder = own if job.model is None else check_model_dir(job.model)
    say(f"loading {folder.name} of backend {job.backend}")
    reader = _vllm(folder, job) if job.engine == "vllm" else _transformers(folder, job, say)
    played = run.manifest.models.get(job.backend)
    if job.model is not None:
        _check_words(own, folder)
        return reader, played or model_name(own)
    found = model_name(folder)
    if played is not None and is_model(played, folder):
        reader.name = reader.name.replace(found, played)  # older runs name models by weights alone
        return reader, played
    if played is not None:
        raise ConfigurationError(
            f"{folder} holds {found}, but the games were played with {played}: "
            "activations of other weights would say nothing about them; put the same weights back"
        )
    return reader, found


def _vllm(folder: Path, job: CaptureJob) -> Any:
    from harness.capture.vllm import vllm_reader

    return vllm_reader(folder, job.layers, job.device)


def _transformers(folder: Path, job: CaptureJob, say: Callable[[str], None]) -> Any:
    from agents.hooks.model import load_hooked_model
    from harness.activations.steering import intervention_of
    from harness.capture.passes import HookedReader

    hooked = load_hooked_model(folder, device=_device(job.device), dtype=job.weights)
    if job.untrained:
        hooked = reinitialised(hooked)
        say("its weights are drawn anew, for comparison")
    steering = job.steering()
    return HookedReader(
        hooked, points_of(hooked, job.layers), () if steering is None else (intervention_of(steering),)
    )


def _device(name: str) -> str:
    """The device's name in torch. Raises ConfigurationError where this machine does not have it."""
    import torch

    name = "cuda" if name == "gpu" else name
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind, _, number = name.partition(":")
    if not there.get(kind, True) or (number and int(number) >= torch.cuda.device_count()):
        raise ConfigurationError(
            f"--device {name} is not there: torch {torch.__version__} finds {torch.cuda.device_count()} CUDA devices; "
            "use --device cpu, or a torch built for the device"
        )
    return name


def _check_words(own: Path, folder: Path) -> None:
    from agents.models.folder import load_tokenizer

    ours, theirs = ({i: w for w, i in load_tokenizer(f).get_vocab().items()} for f in (own, folder))
    if ours != theirs:
        at = min(i for i in {**ours, **theirs} if ours.get(i) != theirs.get(i))
        raise ConfigurationError(
            f"{folder} has other words than {own}, whose token ids the log holds: {len(theirs):,} against "
            f"{len(ours):,}, and id {at} is {theirs.get(at)!r}, not {ours.get(at)!r}; give a checkpoint that shares "
            "the tokenizer of the model that played"
        )


def reinitialised(hooked: HookedModel, seed: int = 0) -> HookedModel:
    """The same architecture with freshly initialised weights."""
    import torch

    from agents.hooks.model import hook_model
    from agents.models.classes import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(hooked.model.config)
    model = model.to(device=hooked.device, dtype=hooked.dtype).eval()
    name = f"{hooked.name}-untrained-{seed}"
    return hook_model(model, name, context=hooked.max_context, vocab=hooked.vocab_size)
