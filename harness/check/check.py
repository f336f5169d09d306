"""Consistency checks of a run: schema, schedule, every game against its rules, prompts against what a seat may see,
activation rows against their tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import polars as pl

from games.base import GameError
from games.play import fold, observe
from games.records import Decision, Record
from harness.activations.format import ContextKey
from harness.activations.store import (
    Activations,
    ActivationsDamaged,
    open_activations,
    store_folders,
)
from harness.capture.belief_forks import BeliefForks
from harness.capture.contexts import Players, asked
from harness.check.files import Finding, derived_damage, store_damage, tables_damage
from harness.check.tables import Beside, held_to_journal
from harness.config.files import parse_config
from harness.config.sections import Config
from harness.errors import ConfigurationError, RunDamaged
from harness.exchange.imports.source import source_of
from harness.exchange.imports.werewolf.verify import UNCHECKED, verify_games
from harness.run.folder import Run, load_run
from harness.run.tables import TABLES
from harness.schedule.branched import origin_of, schedule_of
from harness.schedule.tournament import Planned

UNREAD = frozenset({"journal", *(f"{table}.parquet" for table in TABLES)})
"""Where one of these is damaged, no game can be checked."""


def check_run(path: str | Path, say: Callable[[str], None] = lambda text: None) -> list[Finding]:
    """Everything that is wrong with a run; an empty list means that the run is sound.

    Raises RunFolderError where there is no run that could be checked.
    """
    try:
        run = load_run(path)
    except RunDamaged as error:
        return [Finding("manifest.json", str(error))]
    say("holding the files to their digests")
    found = [*derived_damage(run), *tables_damage(run)]
    if not run.manifest.sealed:
        say("the folder is from before there were digests: only what the log holds can be checked")
        found += [] if any(f.where in UNREAD for f in found) else list(held_to_journal(run))
    if any(f.where in UNREAD for f in found):  # the checks below need readable files
        return [*found, *_stores(run, say, tokens=False)]
    found += _manifest(run)
    if (source := source_of(run.manifest)) is not None:
        say(f"{len(run.game_ids):,} games imported from {source.format}; {UNCHECKED}")
        return [*found, *(Finding(where, what) for where, what in verify_games(run, source))]
    say(f"{run.manifest.n_games:,} games are scheduled, {len(run.game_ids):,} have ended")
    schedule = schedule_of(run.manifest)
    planned = {p.game_id: p for p in schedule}
    if len(schedule) != (n := run.manifest.n_games):
        found.append(Finding("manifest.json", f"n_games is {n:,}, its configuration has {len(schedule):,}"))
    found += _scheduled(run, planned)
    say("folding every game through its rules")
    beside = Beside(run)
    found += [Finding(where, what) for where, what in beside.strangers()]
    found += [Finding("decisions.parquet", str(one)) for one in run.failing()]
    prompts = _Prompts(schedule.configs)
    for game_id, records in run.logs():
        if game_id in planned:
            wrong = list(_game(run, planned[game_id], records, beside))
            found += wrong or prompts.check(run, planned[game_id], records)
    for reason in prompts.skipped:
        say(f"prompts are not checked against the log: {reason}")
    return [*found, *_stores(run, say)]


def _stores(run: Run, say: Callable[[str], None], tokens: bool = True) -> Iterator[Finding]:
    for store in store_folders(run.path):
        say(f"holding the rows in {store.name} to their bytes and tokens")
        yield from store_damage(run, store, _Contexts(run) if tokens else None)


def _manifest(run: Run) -> Iterator[Finding]:
    """Checks the configuration against its hash, and the models that decisions name against those of the run."""
    manifest = run.manifest
    if manifest.parent is None and manifest.imported is None and not manifest.merged:
        try:
            found = parse_config(manifest.config, "manifest.json").hash()
        except ConfigurationError as error:
            yield Finding("manifest.json", f"its configuration cannot be read: {error}")
            return
        if manifest.sealed and found != manifest.config_hash:
            yield Finding(
                "manifest.json", f"config_hash is {manifest.config_hash}, its configuration has {found}"
            )
    used = run.decisions.select("model").unique(maintain_order=True).collect()["model"].drop_nulls()
    for model in sorted(set(used) - set(manifest.models.values())):
        yield Finding(
            "manifest.json",
            f"decisions were made by {model}; the run's models are {', '.join(manifest.models.values()) or 'none'}",
        )


def _scheduled(run: Run, planned: Mapping[str, Planned]) -> Iterator[Finding]:
    seen: set[str] = set()
    for game_id in run.game_ids:
        if game_id in seen:
            yield Finding(game_id, "the game is there twice")
        elif game_id not in planned:
            yield Finding(game_id, "the game is not in the schedule of the manifest's configuration")
        seen.add(game_id)
    missing = [game_id for game_id in planned if game_id not in seen]
    if run.finished and missing:
        yield Finding(missing[0], f"the game is scheduled and missing ({len(missing)} such games)")


def _game(run: Run, planned: Planned, records: Sequence[Record], beside: Beside) -> Iterator[Finding]:
    game, config, seed = run.game(planned.game_id)
    if seed != planned.seed:
        yield Finding(planned.game_id, f"the seed is {seed}, the schedule has {planned.seed}")
    for i, record in enumerate(records):
        if record.seq != i:
            yield Finding(planned.game_id, f"record {i} of the log has seq {record.seq}")
            return
    try:
        state, log = fold(game, config, seed, records)
    except GameError as error:
        yield Finding(planned.game_id, f"the rules do not give this log: {error}")
        return
    origin = origin_of(run.manifest)
    own = 0 if origin is None else max(origin.first, origin.seq + 1)  # the parent's log comes before it
    for decision in records:
        if isinstance(decision, Decision):
            if decision.seq >= own and decision.agent != planned.agents[decision.seat]:
                yield Finding(
                    f"{planned.game_id}/{decision.seq}",
                    f"seat {decision.seat} was played by {decision.agent!r}, the schedule has "
                    f"{planned.agents[decision.seat]!r}",
                )
            yield from _trace(f"{planned.game_id}/{decision.seq}", decision, records)
    outcome, row = game.outcome(state), beside.games[planned.game_id]
    for where, what in beside.wrong(planned, records, outcome):
        yield Finding(where, what)
    if row["status"] != "finished":
        return
    if len(log) != len(records) or outcome is None:
        yield Finding(
            planned.game_id, f"the log has {len(records)} records, but by the rules the game goes on"
        )
    elif outcome.winner != row["winner"]:
        yield Finding(
            planned.game_id, f"the winner is {row['winner']!r}, by the rules it is {outcome.winner!r}"
        )


def _trace(where: str, decision: Decision, records: Sequence[Record]) -> Iterator[Finding]:
    trace = decision.trace
    if trace is None:
        return
    if trace.logprobs and len(trace.logprobs) != len(trace.output_ids):
        yield Finding(
            where, f"{len(trace.output_ids)} output tokens have {len(trace.logprobs)} log-probabilities"
        )
    if trace.continues is None:
        return
    before = records[trace.continues] if 0 <= trace.continues < decision.seq else None
    if not isinstance(before, Decision) or before.seat != decision.seat or before.trace is None:
        yield Finding(where, f"continues {trace.continues}, which is no earlier model decision of this seat")


class _Prompts:
    """Checks that prompts depend only on what the seat may see: rebuilds each from the seat's observation."""

    def __init__(self, configs: Sequence[Config]) -> None:
        self._players = Players(configs)
        self.skipped = self._players.skipped

    def check(self, run: Run, planned: Planned, records: Sequence[Record]) -> Iterator[Finding]:
        if not any(isinstance(r, Decision) and r.trace is not None for r in records):
            return
        game, config, seed = run.game(planned.game_id)
        for request, decision, before in asked(game, config, seed, records):
            player = self._players.get(planned.cell, decision.agent) if decision.trace is not None else None
            if player is None:
                continue
            seen = observe(game, planned.game_id, config, seed, before, request)
            ours = list(player.context(seen).ids)
            logged = run.prompt_ids(planned.game_id, decision.seq)
            if player.multi_step:  # notes or repairs follow the first question
                logged = logged[: len(ours)]
            if ours != logged:
                at = next((i for i, (a, b) in enumerate(zip(ours, logged, strict=False)) if a != b), None)
                at = min(len(ours), len(logged)) if at is None else at
                yield Finding(
                    f"{planned.game_id}/{decision.seq}",
                    f"the prompt ({len(logged)} tokens) is not what seat {decision.seat} may see gives "
                    f"({len(ours)} tokens): they part at token {at}",
                )


class _Contexts(Mapping[ContextKey, Sequence[int]]):
    """A `harness.activations.verify.Contexts` that reads each game on demand."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._asked: dict[ContextKey, Sequence[int]] = {}
        self._of: str | None = None
        """The game whose contexts `_asked` holds."""

    @cached_property
    def _forks(self) -> BeliefForks:
        return BeliefForks(self._run)

    def __getitem__(self, key: ContextKey) -> Sequence[int]:
        game_id, seq, variant, fork = key
        if variant != "original":
            raise KeyError(key)
        if fork is not None:
            if self._of != game_id:
                self._of, self._asked = game_id, dict(self._asked_in(game_id))
            return self._asked[key]
        try:
            return self._run.context_ids(game_id, seq)
        except ValueError as error:
            raise KeyError(key) from error

    def _asked_in(self, game_id: str) -> Iterator[tuple[ContextKey, Sequence[int]]]:
        for item in self._forks.items(game_id, self._run.records(game_id), None):
            for subject, _ in item.sites.values():
                yield (game_id, item.seq, "original", subject), item.ids

    def __iter__(self) -> Iterator[ContextKey]:
        found = self._run.decisions.filter(pl.col("model").is_not_null()).select("game_id", "seq").collect()
        for game_id, seq in found.iter_rows():
            yield game_id, seq, "original", None

    def __len__(self) -> int:
        return sum(1 for _ in self)


def check_activations(
    path: str | Path, say: Callable[[str], None] = lambda text: None, *, n_contexts: int = 20, seed: int = 0
) -> list[Finding]:
    """Compare a sample of a run's stored rows with a plain forward pass of each context alone, and report how well
    they agree. An unreadable row is a finding, too.

    Raises RunFolderError, ActivationsError where nothing was captured, ConfigurationError where the model is gone.
    """
    run = load_run(path)
    try:
        return _sample(run, open_activations(run.path / "activations"), say, n_contexts, seed)
    except ActivationsDamaged as error:
        return [Finding("activations", str(error))]


def _sample(
    run: Run, store: Activations, say: Callable[[str], None], n_contexts: int, seed: int
) -> list[Finding]:
    from agents.hooks.model import load_hooked_model
    from agents.models.folder import is_model
    from harness.capture.job import CaptureJob
    from harness.capture.parity import check_sample
    from harness.capture.share import capture_items
    from harness.config.models import model_folder

    named = [name for name, model in run.manifest.models.items() if model == store.info.model]
    if not named:
        return [
            Finding(
                "activations/store.json",
                f"the rows are of {store.info.model}, no model of this run; its models are "
                f"{', '.join(run.manifest.models.values()) or 'none'}",
            )
        ]
    index = store.index(variant=None).select("game_id", "site", "variant").unique(maintain_order=True)
    variants = [
        v for v in index["variant"].unique(maintain_order=True).sort().to_list() if "steered-" not in v
    ]
    if len(variants) < index["variant"].n_unique():
        say("steered rows are left out: a plain forward pass is not what they should equal")
    games = (
        index["game_id"]
        .unique(maintain_order=True)
        .sort()
        .sample(fraction=1.0, shuffle=True, seed=seed)[:n_contexts]
    )
    job = CaptureJob(
        named[0], tuple(index["site"].unique(maintain_order=True).sort()), ("all",), tuple(variants)
    )
    config = schedule_of(run.manifest).configs[0]
    folder = model_folder(config.backends[named[0]])
    hooked = load_hooked_model(folder)
    if not is_model(store.info.model, folder):
        raise ConfigurationError(
            f"{folder} holds {hooked.name}, the rows were read with {store.info.model}: put the same weights back"
        )
    items = capture_items(run, store.info.model, job, games=set(games))
    checks = check_sample(items, hooked, store, n_items=n_contexts, seed=seed)
    worst = max(c.error for c in checks)
    wrong = [c for c in checks if not c.agrees]
    say(
        f"{len(checks) - len(wrong)} of {len(checks)} rows of a sample agree with a plain forward pass in "
        f"{str(hooked.dtype).removeprefix('torch.')}: largest relative error {worst:.1e}, tolerance "
        f"{checks[0].tolerance:.0e}"
    )
    return [
        Finding(
            f"{c.game_id}/{c.seq}",
            f"the activation at {c.site}{'' if c.subject is None else f':{c.subject}'} ({c.variant}) "
            + (
                "was read on other tokens than the context has"
                if c.error == float("inf")
                else f"differs from a plain forward pass by {c.error:.1e} of its length, tolerance {c.tolerance:.0e}"
            ),
        )
        for c in wrong
    ]
