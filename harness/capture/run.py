"""The second pass over a run: its contexts, read through a model into the run's store."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agents.backends.vllm.settings import engine_env
from harness.activations.format import BELIEF_MENTION
from harness.activations.sites import game_items
from harness.activations.store import open_activations
from harness.activations.vocabulary import write_vocabulary
from harness.activations.writer import remove_unfinished
from harness.capture.belief_forks import BeliefForks, Variant
from harness.capture.contexts import Players
from harness.capture.job import CaptureJob, check_seats, make_job
from harness.capture.plan import CaptureItem
from harness.capture.progress import CaptureProgress
from harness.capture.reader import open_reader
from harness.capture.variants import ORIGINAL, GameVariants
from harness.config.files import parse_config
from harness.errors import ConfigurationError
from harness.play.engines import model_folder
from harness.run.folder import Run, RunFolder, load_run
from harness.schedule.branched import schedule_of


def capture_run(
    path: str | Path,
    *,
    sites: Sequence[str] = (),
    layers: Sequence[str] = (),
    variants: Sequence[str] = (),
    lexicon: str = "neutral",
    steer: str | Path | None = None,
    dtype: str | None = None,
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
    What is not given is taken from `[activations]` of the run's configuration. Goes on where an earlier call stopped;
    shards that a killed call left without their index are removed, and said to be.

    Raises RunFolderError, ConfigurationError (also where no decision has any of the sites), ModelFilesError,
    ActivationsError, StorageError, SteeringError.
    """
    run = load_run(path)
    job = make_job(
        parse_config(run.manifest.config, "manifest.json"),
        sites=sites,
        layers=layers,
        variants=variants,
        lexicon=lexicon,
        steer=steer,
        dtype=dtype,
        backend=backend,
        engine=engine,
        device=device,
        untrained=untrained,
        model=model,
    )
    if devices < 1:
        raise ConfigurationError(f"devices is {devices}; at least 1 is needed")
    check_seats(run, job)
    with RunFolder.hold(run.path):
        _tidy(job.store(run.path), say)
        if devices > 1:
            from harness.capture.devices import capture_on_devices

            done = capture_on_devices(run.path.resolve(), job, devices, say)
        else:
            done = capture_share(run.path, job, 0, 1, say)
        _tell(run, job, done, say)
        if any(site.startswith("tokens:") for site in job.sites):
            _write_vocabulary(run, job)
    return job.store(run.path)


def _tidy(store: Path, say: Callable[[str], None]) -> None:
    """Raises ActivationsDamaged where shards or index parts of an earlier call cannot be read."""
    for name in remove_unfinished(store):
        say(f"removed the shard {name}, which has no index part: a capture was killed, or the part was lost")
    if (store / "store.json").exists():
        open_activations(store).check_readable()


def _tell(run: Run, job: CaptureJob, done: CaptureProgress, say: Callable[[str], None]) -> None:
    """Say what was read. Raises ConfigurationError where there was nothing to read."""
    missing = done.missing(job.sites)
    if done.n_rows + done.n_skipped == 0:
        models = run.decisions.select("model").collect()["model"]
        by_models = models.is_not_null().sum()
        raise ConfigurationError(
            f"nothing to read in {run.path}: of its {len(models):,} decisions models made {by_models:,}, "
            f"and none by that of backend {job.backend} has {', '.join(job.sites)} as {', '.join(job.variants)}; name "
            "other sites, variants, steered seats, or another backend"
        )
    if missing:
        say(f"no decision has {', '.join(missing)}")
    n_layers = len(open_activations(job.store(run.path)).layers)
    say(
        f"{done.n_rows:,} rows of {n_layers} layers ({done.n_bytes / 2**20:,.1f} MB) from "
        f"{done.n_items:,} contexts in {done.seconds:,.0f} s; {done.n_skipped:,} were there before"
    )
    if job.steer is not None:
        say(f"{done.n_touched:,} positions were steered; the rows are variant {job.suffix()}")


def _write_vocabulary(run: Run, job: CaptureJob) -> None:
    from agents.models.folder import load_tokenizer

    config = parse_config(run.manifest.config, "manifest.json")
    write_vocabulary(job.store(run.path), load_tokenizer(model_folder(config.backends[job.backend])))


def capture_share(
    path: Path, job: CaptureJob, share: int, n_shares: int, say: Callable[[str], None] = lambda text: None
) -> CaptureProgress:
    """Read every game whose number leaves `share` when divided by `n_shares`. Raises as `capture_run`."""
    if job.engine == "vllm":
        job = _for_vllm(job)
    from harness.capture.passes import capture_pass

    run = load_run(path)
    reader, model = open_reader(run, parse_config(run.manifest.config, "manifest.json"), job, say)
    total = run.decisions.select("model").collect()["model"].is_not_null().sum()
    shown = 0.0

    def progress(state: CaptureProgress) -> None:
        nonlocal shown
        if state.seconds - shown >= 5:
            shown = state.seconds
            say(
                f"{state.n_rows:,} rows read so far, {state.n_bytes / 2**20:,.0f} MB; the run has {total:,} decisions "
                "of models"
            )

    try:
        return capture_pass(
            capture_items(run, model, job, share, n_shares),
            reader,
            job.store(path),
            dtype=job.dtype,
            writer=f"w{share}",
            progress=progress,
        )
    finally:
        getattr(reader, "close", lambda: None)()


def _for_vllm(job: CaptureJob) -> CaptureJob:
    """The job on `cpu` or `gpu`, and the environment that the engine wants there.

    Before anything imports torch, which reads the number of threads when it is loaded.
    """
    auto = job.device == "auto" and shutil.which("nvidia-smi") is not None
    device = "gpu" if auto or job.device.partition(":")[0] in ("cuda", "gpu") else "cpu"
    for name, value in engine_env(device).items():
        os.environ.setdefault(name, value)
    return msgspec.structs.replace(job, device=device)


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
    steering = job.steering()
    seats, suffix = None if steering is None else steering.seats, job.suffix()
    make = _variants_of(run, job) if set(job.variants) - {ORIGINAL} else None
    forks = BeliefForks(run) if BELIEF_MENTION in job.sites else None
    for number, (game_id, records) in enumerate(run.logs()):
        if number % n_shares != share or (games is not None and game_id not in games):
            continue
        made = None if make is None else make(game_id, records)
        changes: list[Variant] = []
        items: list[Iterator[CaptureItem]] = []
        for variant in job.variants:
            name = variant if not suffix else suffix if variant == ORIGINAL else f"{variant}+{suffix}"
            change = None if made is None else made.change(variant)
            items.append(game_items(game_id, records, model, job.sites, variant=name, change=change))
            if variant != "other_seat":  # whose context is another's own: what it holds is not asked here
                changes.append((name, change))
        if forks is not None:
            items.append(forks.items(game_id, records, model, changes))
        for item in itertools.chain(*items):
            if seats is None or item.seat in seats:
                yield item


def _variants_of(run: Run, job: CaptureJob) -> Callable[[str, Any], GameVariants]:
    from agents.llm.encoder import Encoder
    from agents.models.folder import load_tokenizer

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
