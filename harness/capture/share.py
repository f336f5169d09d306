"""One share of an offline extraction: the games that one reader has, and the contexts to read in them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from agents.backends.environment import on_gpu
from agents.backends.vllm.settings import engine_env
from harness.activations.format import BELIEF_MENTION
from harness.activations.items import CaptureItem
from harness.activations.sites import game_items
from harness.capture.belief_forks import BeliefForks, Variant
from harness.capture.contexts import Players
from harness.capture.job import CaptureJob
from harness.capture.progress import CaptureProgress
from harness.capture.reader import open_reader
from harness.capture.variants import ORIGINAL, GameVariants
from harness.config.files import parse_config
from harness.config.models import model_folder
from harness.run.folder import Run, load_run
from harness.schedule.branched import schedule_of


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
        reader.close()


def _for_vllm(job: CaptureJob) -> CaptureJob:
    """The job with its device as `cpu` or `gpu`; sets the environment that the engine needs there.

    Before anything imports torch, which reads the number of threads when it is loaded.
    """
    device = "gpu" if on_gpu(job.device) else "cpu"
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
    dealt = None if not job.roles else _seats_with(run, job.roles)
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
            if variant != "other_seat":  # another seat's beliefs are not asked here
                changes.append((name, change))
        if forks is not None:
            items.append(forks.items(game_id, records, model, changes))
        for item in itertools.chain(*items):
            if (seats is None or item.seat in seats) and (dealt is None or (game_id, item.seat) in dealt):
                yield item


def _seats_with(run: Run, roles: Collection[str]) -> set[tuple[str, int]]:
    found = run.seats.filter(pl.col("role").is_in(list(roles))).select("game_id", "seat").collect()
    return set(found.iter_rows())


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
