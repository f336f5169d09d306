"""The models that an experiment asks, and the scorers of their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.models import model_folder
from harness.experiment.arms import Arm
from harness.experiment.design import ExperimentError
from harness.experiment.folder import Manifest
from harness.experiment.measure import Measurer
from harness.experiment.scenes import Scenes
from harness.run.folder import Run
from harness.schedule.branched import schedule_of

Say = Callable[[str], None]


def load_model(runs: Sequence[Run], device: str, say: Say) -> Any:
    """The one model whose decisions are asked again, None where only scripted players sit. Raises ExperimentError."""
    folders = folders_of(runs)
    if not folders and not any(run.manifest.models for run in runs):
        return None
    if len(folders) != 1:
        raise ExperimentError(
            f"an experiment asks one local model; the runs have {len(folders)}: "
            f"{', '.join(map(str, folders)) or 'none'}. "
            "Name runs of one model whose weights are here (vllm or transformers backends)"
        )
    return _loaded(folders[0], runs, device, say)


def folders_of(runs: Sequence[Run]) -> list[Path]:
    """The folders of the local models of some runs, in the order of their configurations."""
    folders: dict[Path, None] = {}
    for run in runs:
        for config in schedule_of(run.manifest).configs:
            for backend in config.backends.values():
                if backend.kind != "openai":
                    folders[model_folder(backend).resolve()] = None
    return list(folders)


def load_cast(runs: Sequence[Run], device: str, say: Say) -> dict[Path, Any]:
    """All local models of some runs, by folder, to continue games with several models.

    Raises ExperimentError where one is not the model that played.
    """
    return {path: _loaded(path, runs, device, say) for path in folders_of(runs)}


def _loaded(path: Path, runs: Sequence[Run], device: str, say: Say) -> Any:
    from agents.hooks.model import load_hooked_model

    say(f"loading {path.name}")
    hooked = load_hooked_model(path, device="cuda" if device == "gpu" else device)
    played = {name for run in runs for name in run.manifest.models.values()}
    if played and hooked.name not in played:
        raise ExperimentError(
            f"{path} holds {hooked.name}, but the games were played with {', '.join(sorted(played))}"
        )
    return hooked


def load_scorers(
    hooked: Any, manifest: Manifest, scenes: Sequence[Scenes], device: str, say: Say
) -> Mapping[str | None, Any]:
    """The scorers of the model that played (None) and of the checkpoints that arms name.

    The kind of scorer is chosen on the first moment and recorded in the manifest. Raises ExperimentError.
    """
    from agents.hooks.model import load_hooked_model
    from agents.models.small import find_model
    from harness.experiment.scoring.packed import make_scorer
    from harness.experiment.scoring.plain import PlainScorer

    first = manifest.moments[0]
    probe = Measurer(
        scenes, {None: PlainScorer(hooked)}, _few(manifest.arms), _some_vectors(manifest, hooked), options=True,
        beliefs=False,
    ).asks(scenes[first.run].scene(first))[0]  # fmt: skip
    scorer, off = make_scorer(hooked, list(probe.values()))
    manifest.scorer = "plain" if isinstance(scorer, PlainScorer) else "packed"
    manifest.off = off
    if manifest.scorer == "plain":
        say(
            f"{hooked.name} is read by plain passes, one an arm: its attention cannot be packed (off by {off:.2g} nats)"
        )
    scorers: dict[str | None, Any] = {None: scorer}
    for model in sorted({arm.model for arm in manifest.arms if arm.model is not None}):
        other = load_hooked_model(find_model(model), device="cuda" if device == "gpu" else device)
        if other.tokenizer.get_vocab() != hooked.tokenizer.get_vocab():
            raise ExperimentError(
                f"{model} has other words than {hooked.name}: its prompts would be other ones"
            )
        scorers[model] = make_scorer(other, list(probe.values()))[0]
        if other.name not in manifest.models:
            manifest.models.append(other.name)
    return scorers


def _few(arms: Sequence[Arm]) -> list[Arm]:
    """The unchanged moment and one arm per layer: enough to verify packed answers."""
    edited = {arm.layer: arm for arm in arms if arm.kind == "direction"}
    return [arms[0], *edited.values()]


def _some_vectors(manifest: Manifest, hooked: Any) -> np.ndarray:
    n = 1 + max((arm.vector or 0 for arm in manifest.arms), default=0)
    return np.random.default_rng(0).normal(size=(n, hooked.layout.d_model)).astype(np.float32)
