"""The second pass over a run: choose the model and the sites from its configuration, read, store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config import ActivationsSection, BackendSection, Config, parse_config
from harness.engines import model_folder
from harness.errors import ConfigurationError
from harness.run_folder import RunFolder, load_run
from harness.sites import capture_items, check_sites

if TYPE_CHECKING:
    from agents.hooked_model import HookedModel


def capture_run(
    path: str | Path,
    *,
    sites: Sequence[str] = (),
    layers: Sequence[str] = (),
    backend: str | None = None,
    device: str = "auto",
    untrained: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Read the activations of a run's model decisions into `<run>/activations`; the folder's path.

    untrained: read those of the same architecture with random weights instead, on the same contexts, into
    `<run>/activations-untrained`: the baseline that tells what training has put there.
    What is not given is taken from `[activations]` of the run's configuration. Goes on where an earlier call stopped.

    Raises RunFolderError, ConfigurationError, ModelFilesError, ActivationsError, StorageError.
    """
    run = load_run(path)
    config = parse_config(run.manifest.config, "manifest.json")
    wanted = config.activations
    chosen, section = _backend(config, backend or wanted.backend)
    sites = tuple(sites or wanted.sites)
    check_sites(sites)
    folder = model_folder(section)
    with RunFolder.hold(run.path):
        from agents.hooked_model import load_hooked_model
        from agents.hooks import choose_points
        from harness.capture import CaptureProgress, capture_pass

        say(f"loading {folder.name} of backend {chosen}")
        hooked = load_hooked_model(folder, device=device)
        played = run.manifest.models.get(chosen)
        if played is not None and hooked.name != played:
            raise ConfigurationError(
                f"{folder} holds {hooked.name}, but the games were played with {played}: "
                "activations of other weights would say nothing about them; put the same weights back"
            )
        model = hooked.name
        if untrained:
            hooked = reinitialised(hooked)
            say("its weights are drawn anew, for comparison")
        embed, which = _layers(layers, wanted)
        points = choose_points(hooked.layout, which, embed=embed)
        total = run.decisions.select("model").collect()["model"].is_not_null().sum()
        shown = 0.0

        def progress(state: CaptureProgress) -> None:
            nonlocal shown
            if state.seconds - shown >= 5:
                shown = state.seconds
                say(
                    f"{state.n_items:,} of {total:,} decisions read, {state.n_rows:,} rows, "
                    f"{state.n_bytes / 2**20:,.0f} MB"
                )

        store = run.path / ("activations-untrained" if untrained else "activations")
        done = capture_pass(
            capture_items(run, model, sites),
            hooked,
            store,
            points=points,
            dtype=wanted.dtype,
            progress=progress,
        )
        say(
            f"{done.n_rows:,} rows of {len(points.names())} layers ({done.n_bytes / 2**20:,.1f} MB) from "
            f"{done.n_items:,} decisions in {done.seconds:,.0f} s; {done.n_skipped:,} were there before"
        )
    return store


def reinitialised(hooked: HookedModel, seed: int = 0) -> HookedModel:
    """The same architecture with weights drawn anew as before training."""
    import torch
    from transformers import AutoModelForCausalLM

    from agents.hooked_model import hook_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(hooked.model.config)
    model = model.to(device=hooked.device, dtype=hooked.dtype).eval()
    name = f"{hooked.name}-untrained-{seed}"
    return hook_model(model, name, context=hooked.max_context, vocab=hooked.vocab_size)


def _backend(config: Config, name: str | None) -> tuple[str, BackendSection]:
    seated = {agent for agent in config.roster.agents() if config.agents[agent].kind == "llm"}
    used = sorted({config.agents[agent].backend or "" for agent in seated})
    if name is None and len(used) == 1:
        name = used[0]
    if name is None or name not in config.backends:
        what = "no player of this run is a model" if not used else f"the run's models are {', '.join(used)}"
        found = "none is chosen" if name is None else f"{name!r} is not one of them"
        raise ConfigurationError(f"{what}; {found}: name one as activations.backend or --backend")
    return name, config.backends[name]


def _layers(given: Sequence[str], wanted: ActivationsSection) -> tuple[bool, str | list[int]]:
    """(whether to read the embeddings, the layers)."""
    layers: tuple[str | int, ...] = tuple(given) or (("all",) if wanted.layers == "all" else wanted.layers)
    if layers == ("all",):
        return True, "all"
    numbers = [layer for layer in layers if layer != "embed"]
    try:
        return "embed" in layers, [int(layer) for layer in numbers] if numbers else "all"
    except ValueError:
        raise ConfigurationError(
            f"layers are `all`, `embed` and numbers; found {', '.join(map(str, layers))}"
        ) from None
