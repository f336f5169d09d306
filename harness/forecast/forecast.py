"""A run's cost estimated before it is played: calls, tokens, time, disk and price, from a few of its games.

The games are either really played (a sample) or played by scripted stand-ins, where only the prompts are the models'
own. Figures extrapolated from a few games are estimates; `Forecast.measured` and `assumed` say which are which.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.models.folder import max_context
from games import load_game
from games.log import dumps
from games.records import Decision
from harness.activations.format import BELIEF_MENTION
from harness.activations.sites import game_items
from harness.capture.belief_forks import n_questions
from harness.capture.variants import ORIGINAL
from harness.config.models import model_folder, model_names, used_backends
from harness.config.sections import Config
from harness.errors import ConfigurationError
from harness.machine import cores
from harness.play.ahead.in_flight import IN_FLIGHT, Fit, fits, in_flight, wanted, words_of
from harness.play.ahead.side_by_side import engines, side_by_side
from harness.play.ahead.sooner import sooner
from harness.play.ahead.stand_in import Played, StandIns
from harness.play.budget import cost_of, prices_of
from harness.play.factory import check_agents
from harness.play.preflight.backends import check_backends
from harness.play.progress import Progress
from harness.run.journal import End
from harness.run.usage import Usage
from harness.schedule.tournament import Schedule

STAND_IN_GAMES = 4
"""How many games of each combination stand-ins play; fewer where that would exceed 40 in all."""


class Activations(msgspec.Struct, frozen=True):
    """The size of what `wolfscope capture` would write."""

    rows: int
    streams: int
    """Tensors a row: layers, embeddings, parts of blocks."""
    d_model: int
    dtype: str
    bytes: int


class Forecast(msgspec.Struct, frozen=True):
    """The forecast of the whole run."""

    games: int
    from_games: int
    """Number of games that the forecast is based on."""
    sampled: bool
    """Whether they were really played."""
    decisions: dict[str, dict[str, int]]
    """Agent -> kind -> how many."""
    usage: dict[str, Usage]
    """Model -> calls and tokens, belief questions included."""
    most_generated: dict[str, int]
    """Model -> generated tokens if every call of the estimate used its whole limit."""
    seconds: float | None
    """Seconds of playing; None where unknown without a sample."""
    setup_seconds: float | None
    log_bytes: int
    activations: Activations | None
    measured: tuple[str, ...]
    assumed: tuple[str, ...]
    most_calls: dict[str, int] = {}
    """Model -> calls if every decision of the estimate used all its attempts."""
    fits: tuple[Fit, ...] = ()
    """How many games' contexts each backend keeps at the same time, where that is known before it is started."""
    in_flight: int = IN_FLIGHT
    """Games that would be played at the same time."""
    engines: dict[str, int] = {}
    """Backend -> engines side by side, of those that vLLM plays."""
    advice: tuple[str, ...] = ()
    """What to change about it, in words."""


def forecast(config: Config, sample: int = 0, progress: Progress | None = None) -> Forecast:
    """The forecast of a configuration. sample: how many games of each combination of factors to really play, into a
    temporary folder; 0: none.

    Raises ConfigurationError and ModelFilesError, with a sample also what `run_tournament` raises.
    """
    schedule = Schedule(config)
    check_agents(schedule.configs, outside=sample > 0)
    used = used_backends(schedule.configs)
    check_backends(used, keys=sample > 0)
    models = model_names(used)
    if sample:
        return _from_sample(config, schedule, models, sample, progress or Progress("quiet"))
    return _from_stand_ins(config, schedule, models)


def _from_stand_ins(config: Config, schedule: Schedule, models: Mapping[str, str]) -> Forecast:
    per_cell = min(config.run.games, max(1, min(STAND_IN_GAMES, 40 // len(schedule.cells))))
    stand_ins = StandIns(schedule, dict(models))
    games = list(stand_ins.play(per_cell))
    scripted = all(config.agents[name].kind == "scripted" for name in _seated(schedule))
    measured = [f"decisions by kind: {len(games)} games, models and humans played by scripted players"]
    assumed = []
    if not scripted:
        measured.append("prompt tokens: the models' own prompts and tokenizers in those games")
        assumed += [
            "games are as long as the stand-ins' games, and one call a decision is enough",
            "generated tokens: those of the stand-ins' words; at most: every call uses its whole max_tokens",
            "cached tokens: a prefix cache serves all of a seat's earlier context, and no belief questions",
        ]
    if stand_ins.outside:
        assumed.append(
            f"{', '.join(sorted(stand_ins.outside))}: code from outside, which a dry run does not run; a "
            "scripted player decided in its place"
        )
    if stand_ins.wordless:
        assumed.append(
            f"{', '.join(sorted(stand_ins.wordless))}: prompts are messages, whose tokens only the server can count; "
            "they are not in these figures"
        )
    seconds = None
    if scripted:
        runners = min(config.run.runners or cores(), len(schedule))
        seconds = sum(g.seconds for g in games) * len(schedule) / len(games) / runners
        measured.append("time: the same games on one core of this machine")
        assumed.append(f"{runners} runners have a core each; starting Ray and writing the tables come on top")
    _check_lengths(config, stand_ins)
    bounds = {key: (most, stand_ins.attempts.get(key, 1)) for key, most in stand_ins.most.items()}
    found = _scaled(config, schedule, models, games, (seconds, None), False, measured, assumed, bounds)
    used = used_backends(schedule.configs)
    n_engines = engines(schedule, used)
    held = fits(side_by_side(used, n_engines), stand_ins)
    calls = {model: one.calls for model, one in found.usage.items()}
    return msgspec.structs.replace(
        found,
        fits=tuple(held),
        in_flight=min(in_flight(config, held), len(schedule)),
        engines=n_engines,
        advice=(*words_of(config, held, wanted(config, len(schedule))), *sooner(used, models, calls)),
    )


def _check_lengths(config: Config, stand_ins: StandIns) -> None:
    """Raises ConfigurationError where a prompt of the games does not fit into the context that its model has."""
    for name, (tokens, agent) in stand_ins.longest.items():
        section = config.backends[name]
        if section.kind == "openai" and not section.serve:
            continue
        folder = model_folder(section)
        whole = max_context(folder)
        own = section.settings.get("max_context") or whole
        if tokens > min(own, whole):
            what = f"settings.max_context = {own}" if own < whole else f"its model reads {whole} tokens"
            raise ConfigurationError(
                f"backends.{name}: {what}, but a decision of {agent} needs up to {tokens} tokens (the longest "
                "prompt of the games looked at, and sampling.max_tokens after it): raise max_context, lower "
                "max_tokens, or play shorter games"
            )


def _from_sample(
    config: Config, schedule: Schedule, models: Mapping[str, str], sample: int, progress: Progress
) -> Forecast:
    from harness.play.tournament import run_tournament
    from harness.run.folder import load_run

    run_section = config.run.model_copy(update={"games": min(sample, config.run.games)})
    small = config.model_copy(update={"run": run_section})
    watch = _Clock(progress)
    with tempfile.TemporaryDirectory(prefix="wolfscope-sample-") as folder:
        started = time.monotonic()
        run = load_run(run_tournament(small, Path(folder) / "run", watch))
        whole = time.monotonic() - started
        ends = run.journal.ends
        planned = {p.game_id: p for p in Schedule(small)}
        games = [
            Played(planned[game_id], records, ends[game_id].usage, ends[game_id].seconds)
            for game_id, records in run.logs()
        ]
    n = len(games)
    together = wanted(config, len(schedule))
    side_by_side = min(together, n)
    measured = [f"everything: {n} games really played, {side_by_side} of them at a time"]
    assumed = ["the other games are like these"]
    if side_by_side < together:
        assumed.append(f"time: no gain from playing {together} games at a time, so rather too long")
    failed = sum(end.status == "failed" for end in ends.values())
    if failed:
        assumed.append(f"{failed} of the {n} games failed, and count with what they had used by then")
    seconds = watch.played * len(schedule) / n
    return _scaled(
        config, schedule, models, games, (seconds, whole - watch.played), True, measured, assumed, {}
    )


class _Clock(Progress):
    """Forwards messages and measures how long games are played."""

    def __init__(self, inner: Progress) -> None:
        super().__init__("quiet")
        self._inner = inner
        self._start = self._end = time.monotonic()

    def say(self, text: str) -> None:
        self._inner.say(f"sample: {text}")

    def begin(self, total: int, kept: list[End]) -> None:
        self._start = self._end = time.monotonic()
        super().begin(total, kept)

    def ended(self, end: End) -> None:
        self._end = time.monotonic()
        super().ended(end)

    @property
    def played(self) -> float:
        """Seconds from the start of playing to the last game's end."""
        return self._end - self._start


def _scaled(
    config: Config,
    schedule: Schedule,
    models: Mapping[str, str],
    games: Sequence[Played],
    seconds: tuple[float | None, float | None],
    sampled: bool,
    measured: list[str],
    assumed: list[str],
    bounds: Mapping[tuple[int, str], tuple[int, int]],
) -> Forecast:
    """Extrapolate from the games of each combination of factors to its scheduled number.

    bounds: (cell, agent) -> the most tokens of one decision, and its most attempts.
    """
    n_of_cell = Counter(game.planned.cell for game in games)
    weight = {cell: config.run.games / n for cell, n in n_of_cell.items()}
    prices = prices_of(config, models)
    decisions: dict[str, dict[str, float]] = {}
    sums: dict[str, np.ndarray[Any, Any]] = {}
    most: dict[str, float] = {}
    again: dict[str, float] = {}
    log_bytes = 0.0
    for game in games:
        w = weight[game.planned.cell]
        log_bytes += w * len(dumps(game.records))
        for model, used in game.usage.items():
            row = np.array([used.calls, used.prompt, used.cached, used.generated], dtype=float)
            sums[model] = sums.get(model, np.zeros(4)) + w * row
        for record in game.records:
            if isinstance(record, Decision):
                agent = game.planned.agents[record.seat]
                kinds = decisions.setdefault(agent, {})
                kinds[record.kind] = kinds.get(record.kind, 0.0) + w
                if record.trace is not None:
                    model = record.trace.model
                    tokens, attempts = bounds.get((game.planned.cell, agent), (0, 1))
                    most[model] = most.get(model, 0.0) + w * tokens
                    again[model] = again.get(model, 0.0) + w * (attempts - 1)
    usage: dict[str, Usage] = {}
    for model, row in sums.items():
        calls, prompt, cached, generated = (round(x) for x in row)
        usage[model] = Usage(
            calls, prompt, cached, generated, cost_of(prices.get(model), prompt, cached, generated)
        )
    activations = _activations(config, models, games, weight) if config.activations.enabled else None
    if activations is not None and set(config.activations.variants) != {ORIGINAL}:
        assumed.append("activations: every variant has as many rows as the original")
    return Forecast(
        games=len(schedule),
        from_games=len(games),
        sampled=sampled,
        decisions={a: {k: round(n) for k, n in kinds.items()} for a, kinds in sorted(decisions.items())},
        usage=usage,
        most_generated={model: round(n) for model, n in most.items()},
        seconds=seconds[0],
        setup_seconds=seconds[1],
        log_bytes=round(log_bytes),
        activations=activations,
        measured=tuple(measured),
        assumed=tuple(assumed),
        most_calls={model: usage[model].calls + round(n) for model, n in again.items() if model in usage},
    )


def _activations(
    config: Config, models: Mapping[str, str], games: Iterable[Played], weight: Mapping[int, float]
) -> Activations | None:
    from harness.capture.job import chosen_backend

    section = config.activations
    backend = chosen_backend(config, section.backend)
    rows = 0.0
    for game in games:
        items = game_items(game.planned.game_id, game.records, models[backend], section.sites)
        n = len(section.variants) * sum(len(item.sites) for item in items)
        if BELIEF_MENTION in section.sites:
            seats, rules = len(game.planned.agents), load_game(config.game.name)
            asked = n_questions(rules, seats, game.records, models[backend], config.beliefs.before)
            n += asked * sum(variant != "other_seat" for variant in section.variants)
        rows += weight[game.planned.cell] * n
    streams, d_model = _shape(config, backend)
    size = {"float32": 4}.get(section.dtype, 2)
    n = round(rows)
    return Activations(n, streams, d_model, section.dtype, n * streams * d_model * size)


def _shape(config: Config, backend: str) -> tuple[int, int]:
    """(streams a row, d_model), from the model's own configuration file."""
    from agents.models.folder import read_config

    plain = read_config(model_folder(config.backends[backend]))
    plain = plain.get("text_config", plain)
    depth, layers = int(plain["num_hidden_layers"]), config.activations.layers
    if layers == "all" or "all" in layers:
        whole = depth + (layers == "all" or layers == ("all",) or "embed" in layers)
    else:
        whole = len(set(layers) - {"attn_out", "mlp_out"})
    parts = 0 if layers == "all" else depth * len(set(layers) & {"attn_out", "mlp_out"})
    return whole + parts, int(plain["hidden_size"])


def _seated(schedule: Schedule) -> set[str]:
    return {name for one in schedule.configs for name in one.roster.agents()}
