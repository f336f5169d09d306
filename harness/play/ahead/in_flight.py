"""How many games are played at the same time.

A seat's context grows from decision to decision. As long as a backend keeps the keys and values of all contexts under
way, a decision costs its new tokens; where they do not fit, each displaces another before that goes on, and every
decision costs its whole context: with twice as many games as fit a run takes several times as long, not less.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import msgspec

from agents.backends.registry import provider
from agents.models.folder import max_context
from harness.config.sections import BackendSection, Config
from harness.play.ahead.stand_in import StandIns
from harness.play.preflight.backends import in_words_of, spec_of
from harness.schedule.tournament import Schedule

IN_FLIGHT = 64
"""Games at a time where `run.in_flight` is not set and the caches do not say fewer."""
LOOKED_AT = 4
"""Games from which a tournament learns how long contexts get."""


class Fit(msgspec.Struct, frozen=True):
    """How many games' contexts a backend keeps at the same time."""

    backend: str
    cache: int
    """Tokens that it keeps."""
    game: int
    """Tokens of all contexts of a game in the end: the game with most of them, of those looked at."""

    @property
    def games(self) -> int:
        """Games at a time of which no context displaces another; at least 1."""
        return max(1, self.cache // self.game)


def wanted(config: Config, n_games: int) -> int:
    """Of n_games games, those that would be played at the same time if the caches kept all of their contexts."""
    return min(config.run.in_flight or IN_FLIGHT, n_games)


def fits(used: Mapping[str, BackendSection], stand_ins: StandIns) -> list[Fit]:
    """What is known of the backends used, by the games that stand-ins have played."""
    found = []
    for name, section in used.items():
        cache, game = _holds(name, section), stand_ins.held.get(name)
        if cache and game:
            found.append(Fit(name, cache, game))
    return found


def in_flight(config: Config, found: list[Fit]) -> int:
    """Games at a time: what the configuration says, else as many as the caches keep, at most `IN_FLIGHT`."""
    return config.run.in_flight or min([IN_FLIGHT, *(fit.games for fit in found)])


def look(
    schedule: Schedule, used: Mapping[str, BackendSection], models: Mapping[str, str], n_left: int
) -> list[Fit]:
    """The fits for a tournament of which n_left games are still to be played, by the first games of its schedule;
    none where all its games fit, however long they get.

    used: the backends that play. models: backend name -> model. Raises ConfigurationError where a model's tokenizer
    cannot be had.
    """
    games = wanted(schedule.config, n_left)
    if not any(_may_be_short(name, section, schedule, games) for name, section in used.items()):
        return []
    stand_ins = StandIns(schedule, dict(models))
    for _ in itertools.islice(stand_ins.play(LOOKED_AT), LOOKED_AT):
        pass
    return fits(used, stand_ins)


def words_of(config: Config, found: list[Fit], games: int) -> list[str]:
    """What a user should know of the games at a time. games: those that would be played together otherwise."""
    lines = []
    for fit in found:
        if fit.games >= games:
            continue
        remedy = (
            f"raise backends.{fit.backend}.settings.{_setting(config.backends[fit.backend])} to play more"
        )
        held = (
            f"{fit.backend} keeps {fit.cache:,} tokens of context and a game takes up to {fit.game:,}: "
            f"{fit.games:,} games fit"
        )
        if config.run.in_flight is None:
            lines.append(f"{held}, and so many are played at a time, not {games:,} ({remedy})")
        else:
            lines.append(
                f"{held}, but run.in_flight = {games:,}: contexts displace each other and are computed again and "
                f"again; leave run.in_flight out, set it to {fit.games:,}, or {remedy}"
            )
    return lines


def _holds(name: str, section: BackendSection) -> int | None:
    spec = spec_of(name, section, keys=False)
    with in_words_of(name):
        return provider(section.kind).holds(spec)


def _may_be_short(name: str, section: BackendSection, schedule: Schedule, games: int) -> bool:
    cache = _holds(name, section)
    if not cache:
        return False
    folder = spec_of(name, section, keys=False).need_folder()
    longest = max_context(folder, section.settings.get("max_context"))
    seats = max(cell.rules()[1].n_players for cell in schedule.cells)
    return cache < games * seats * longest


def _setting(section: BackendSection) -> str:
    return "cache_tokens" if section.kind == "transformers" else "kv_cache_gb"
