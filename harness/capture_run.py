"""The second pass over a run: choose the model and the sites from its configuration, read, store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agents.engine_settings import engine_env
from harness.branch_schedule import schedule_of
from harness.capture_plan import CaptureItem
from harness.config import BackendSection, Config, SteeringSection, parse_config
from harness.contexts import Players
from harness.engines import model_folder
from harness.errors import ConfigurationError
from harness.run_folder import Run, RunFolder, load_run
from harness.sites import check_sites, game_items
from harness.variants import ORIGINAL, GameVariants, check_variants
from harness.vocabulary import write_vocabulary

if TYPE_CHECKING:
    from agents.hooked_model import HookedModel
    from agents.hooks import Points
    from harness.capture import CaptureProgress

ENGINES = ("transformers", "vllm")


class CaptureJob(msgspec.Struct, frozen=True):
    """What is read of a run, and how."""

    backend: str
    """The key of the `[backends.*]` whose model is read."""
    sites: tuple[str, ...]
    layers: tuple[str, ...]
    """`all`, or words as `agents.hooks.named_points` takes them."""
    variants: tuple[str, ...] = (ORIGINAL,)
    steer: str | None = None
    """A TOML file with a steering table: the contexts are read steered, as variants `steered-<hash>`."""
    untrained: bool = False
    engine: str = "transformers"
    device: str = "auto"
    dtype: str = "float32"
    model: str | None = None
    """A folder with another checkpoint of the model that played: the same contexts are read through it."""


def capture_run(
    path: str | Path,
    *,
    sites: Sequence[str] = (),
    layers: Sequence[str] = (),
    variants: Sequence[str] = (),
    lexicon: str = "neutral",
    steer: str | Path | None = None,
    backend: str | None = None,
    engine: str = "transformers",
    device: str = "auto",
    devices: int = 1,
    untrained: bool = False,
    model: str | Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Read the activations of a run's model decisions into `<run>/activations`; the folder's path.

    lexicon: the words of the variant `reskinned`, stored as `reskinned-<lexicon>`.
    untrained: read those of the same architecture with random weights instead, on the same contexts, into
    `<run>/activations-untrained`: the baseline that tells what training has put there.
    model: read those of another checkpoint with the same words, on the same contexts, into `<run>/activations-NAME`
    with NAME that of its folder.
    devices: so many readers side by side, each a Ray actor with its own share of the games.
    What is not given is taken from `[activations]` of the run's configuration. Goes on where an earlier call stopped.

    Raises RunFolderError, ConfigurationError, ModelFilesError, ActivationsError, StorageError, SteeringError.
    """
    run = load_run(path)
    config = parse_config(run.manifest.config, "manifest.json")
    wanted = config.activations
    given = tuple(layers) or ("all" if wanted.layers == "all" else wanted.layers)
    job = CaptureJob(
        backend=chosen_backend(config, backend or wanted.backend),
        sites=tuple(sites or wanted.sites),
        layers=("all",) if given == "all" else tuple(map(str, given)),
        variants=tuple(
            f"{name}-{lexicon}" if name == "reskinned" else name for name in variants or wanted.variants
        ),
        steer=None if steer is None else str(Path(steer).resolve()),
        untrained=untrained,
        engine=engine,
        device=device,
        dtype=wanted.dtype,
        model=None if model is None else str(Path(model).expanduser().resolve()),
    )
    check_sites(job.sites)
    check_variants(job.variants)
    if engine not in ENGINES:
        raise ConfigurationError(f"no engine is called {engine!r}; there are: {', '.join(ENGINES)}")
    if engine == "vllm" and (steer is not None or untrained):
        raise ConfigurationError(
            "a vLLM engine is read as it is: --steer and --untrained need --engine transformers"
        )
    if untrained and model is not None:
        raise ConfigurationError("--untrained draws the weights of the model that played; leave out --model")
    if devices < 1:
        raise ConfigurationError(f"devices is {devices}; at least 1 is needed")
    with RunFolder.hold(run.path):
        if devices > 1:
            from harness.capture_devices import capture_on_devices

            capture_on_devices(run.path.resolve(), job, devices, say)
        else:
            capture_share(run.path, job, 0, 1, say)
    return store_of(run.path, job)


def store_of(path: Path, job: CaptureJob) -> Path:
    """The folder that a job fills."""
    if job.model is not None:
        return path / f"activations-{Path(job.model).name}"
    return path / ("activations-untrained" if job.untrained else "activations")


def capture_share(
    path: Path, job: CaptureJob, share: int, n_shares: int, say: Callable[[str], None] = lambda text: None
) -> CaptureProgress:
    """Read every game whose number leaves `share` when divided by `n_shares`. Raises as `capture_run`."""
    if (
        job.engine == "vllm"
    ):  # before anything imports torch, which reads the number of threads when it is loaded
        on_gpu = job.device in ("cuda", "gpu") or (
            job.device == "auto" and shutil.which("nvidia-smi") is not None
        )
        job = msgspec.structs.replace(job, device="gpu" if on_gpu else "cpu")
        for name, value in engine_env(job.device).items():
            os.environ.setdefault(name, value)
    from harness.capture import capture_pass

    run = load_run(path)
    config = parse_config(run.manifest.config, "manifest.json")
    reader, model = _reader(run, config, job, say)
    total = run.decisions.select("model").collect()["model"].is_not_null().sum() * len(job.variants)
    shown = 0.0

    def progress(state: CaptureProgress) -> None:
        nonlocal shown
        if state.seconds - shown >= 5:
            shown = state.seconds
            say(f"{state.n_rows:,} rows read from {total:,} contexts so far, {state.n_bytes / 2**20:,.0f} MB")

    steering = _steering(job)
    interventions = []
    if steering is not None:
        from harness.steering import intervention_of

        interventions = [intervention_of(steering)]
    try:
        done = capture_pass(
            capture_items(run, model, job, share, n_shares),
            reader if not interventions else _with(reader, interventions),
            store_of(path, job),
            dtype=job.dtype,
            interventions=interventions,
            writer=f"w{share}",
            progress=progress,
        )
    finally:
        getattr(reader, "close", lambda: None)()
    if share == 0 and any(site.startswith("tokens:") for site in job.sites):
        from agents.model_files import load_tokenizer

        write_vocabulary(store_of(path, job), load_tokenizer(model_folder(config.backends[job.backend])))
    n_layers = len(reader.layers)
    say(
        f"{done.n_rows:,} rows of {n_layers} layers ({done.n_bytes / 2**20:,.1f} MB) from "
        f"{done.n_items:,} contexts in {done.seconds:,.0f} s; {done.n_skipped:,} were there before"
    )
    return done


def capture_items(
    run: Run,
    model: str,
    job: CaptureJob,
    share: int = 0,
    n_shares: int = 1,
    games: Collection[str] | None = None,
) -> Iterator[CaptureItem]:
    """One item for each decision of the model `name@hash` and each variant, games in the order of the schedule.

    games: only these.
    """
    steering = _steering(job)
    seats = None if steering is None else steering.seats
    suffix = ""
    if steering is not None:
        from harness.steering import steering_key

        suffix = f"steered-{steering_key(steering)}"
    make = _variants_of(run, job) if set(job.variants) - {ORIGINAL} else None
    for number, (game_id, records) in enumerate(run.logs()):
        if number % n_shares != share or (games is not None and game_id not in games):
            continue
        made = None if make is None else make(game_id, records)
        for variant in job.variants:
            name = variant if not suffix else suffix if variant == ORIGINAL else f"{variant}+{suffix}"
            change = None if made is None else made.change(variant)
            for item in game_items(game_id, records, model, job.sites, variant=name, change=change):
                if seats is None or item.seat in seats:
                    yield item


def _variants_of(run: Run, job: CaptureJob) -> Callable[[str, Any], GameVariants]:
    from agents.encoder import Encoder
    from agents.model_files import load_tokenizer

    schedule = schedule_of(run.manifest)
    players = Players(schedule.configs)
    encoder = Encoder(load_tokenizer(model_folder(schedule.configs[0].backends[job.backend])))

    def make(game_id: str, records: Any) -> GameVariants:
        game, config, seed = run.game(game_id)
        cell = run.manifest.cells.index(run.cell(game_id))
        return GameVariants(
            game_id, game, config, seed, records, encoder, lambda name: players.get(cell, name)
        )

    return make


def _steering(job: CaptureJob) -> SteeringSection | None:
    if job.steer is None:
        return None
    from harness.steering import read_steering

    return read_steering(job.steer)


def _reader(run: Run, config: Config, job: CaptureJob, say: Callable[[str], None]) -> tuple[Any, str]:
    """(what reads, the model whose decisions are read)."""
    from agents.model_files import check_model_dir, load_tokenizer, model_name

    own = model_folder(config.backends[job.backend])
    folder = own if job.model is None else check_model_dir(job.model)
    say(f"loading {folder.name} of backend {job.backend}")
    if job.engine == "vllm":
        from harness.capture_vllm import vllm_reader

        reader: Any = vllm_reader(folder, job.layers, job.device)
    else:
        from agents.hooked_model import load_hooked_model
        from harness.capture import HookedReader

        hooked = load_hooked_model(folder, device=job.device)
        reader = HookedReader(hooked, points_of(hooked, job.layers))
    model = reader.name
    played = run.manifest.models.get(job.backend)
    if job.model is not None:
        if load_tokenizer(own).get_vocab() != load_tokenizer(folder).get_vocab():
            raise ConfigurationError(
                f"{folder} has other words than {own}, whose token ids the log holds: give a checkpoint that shares "
                "the tokenizer of the model that played"
            )
        return reader, played or model_name(own)
    if played is not None and model != played:
        raise ConfigurationError(
            f"{folder} holds {model}, but the games were played with {played}: "
            "activations of other weights would say nothing about them; put the same weights back"
        )
    if job.untrained:
        from harness.capture import HookedReader

        hooked = reinitialised(reader.hooked)
        say("its weights are drawn anew, for comparison")
        reader = HookedReader(hooked, points_of(hooked, job.layers))
    return reader, model


def _with(reader: Any, interventions: Sequence[Any]) -> Any:
    return type(reader)(reader.hooked, reader.points, interventions)


def points_of(hooked: HookedModel, layers: Sequence[str]) -> Points:
    """The streams that a configuration's words name; `all` alone includes the embeddings. Raises ConfigurationError."""
    from agents.hooks import choose_points, named_points

    try:
        if tuple(layers) == ("all",):
            return choose_points(hooked.layout, embed=True)
        return named_points(hooked.layout, tuple(layers))
    except ValueError as error:
        raise ConfigurationError(f"activations.layers: {error}") from error


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


def chosen_backend(config: Config, name: str | None) -> str:
    """The backend whose model is read: the one named, or the only one that plays. Raises ConfigurationError."""
    seated = {agent for agent in config.roster.agents() if config.agents[agent].kind == "llm"}
    used = sorted({config.agents[agent].backend or "" for agent in seated})
    if name is None and len(used) == 1:
        name = used[0]
    if name is None or name not in config.backends:
        what = "no player of this run is a model" if not used else f"the run's models are {', '.join(used)}"
        found = "none is chosen" if name is None else f"{name!r} is not one of them"
        raise ConfigurationError(f"{what}; {found}: name one as activations.backend or --backend")
    return name


__all__ = [
    "BackendSection",
    "CaptureJob",
    "capture_items",
    "capture_run",
    "capture_share",
    "chosen_backend",
    "points_of",
    "store_of",
]
