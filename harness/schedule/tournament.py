"""The schedule: which games a run has, who sits where, each game's seed and id; a pure function of the configuration.

Game `k` of every cell (combination of factors) has the same seed, so cells are compared on the same deals. Adding
games to a run leaves the earlier ones as they are.
"""

from __future__ import annotations

import difflib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from games import chance, load_game
from games.base import SeatFacts
from harness.config.files import parse_config, set_key
from harness.config.hashing import canonical, hash_of_text
from harness.config.sections import AgentSection, BackendSection, Config
from harness.errors import ConfigurationError
from harness.run.manifest import Cell
from harness.schedule.assignment import cheapest

SEED_MASK = 2**63 - 1


class Planned(msgspec.Struct, frozen=True):
    """One game of the schedule."""

    index: int
    game_id: str
    """Hash of what determines the game: rules, settings, seed, and each seat's player."""
    cell: int
    seed: int
    agents: tuple[str, ...]
    """The agent of each seat."""


class Schedule:
    """All games of a configuration, made one after the other."""

    def __init__(self, config: Config, backends: Mapping[str, BackendSection] | None = None) -> None:
        """backends: those that the games' ids are derived from, where a run began with equivalent other ones.

        Raises ConfigurationError for factors, settings or rosters that do not fit.
        """
        self.config = config
        self._backends = config.backends if backends is None else backends
        self.cells: list[Cell] = []
        self.configs: list[Config] = []
        """The configuration of each cell, its factors applied."""
        factors = config.experiment.factors
        for levels in itertools.product(*factors.values()):
            self._add(dict(zip(factors, levels, strict=True)))

    def _add(self, levels: dict[str, Any]) -> None:
        plain = self.config.plain()
        for key, level in levels.items():
            set_key(plain, key, level)
        where = ", ".join(f"{key} = {json.dumps(level)}" for key, level in levels.items())
        config = parse_config(plain, f"with {where}" if where else "configuration")
        check_game(config)
        self.configs.append(config)
        self.cells.append(Cell(factors=levels, game=config.game.name, settings=config.game.settings))

    def __len__(self) -> int:
        return self.config.run.games * len(self.cells)

    def __iter__(self) -> Iterator[Planned]:
        """The games in order; cells take turns. Raises ConfigurationError where two games would be the same."""
        seen: dict[str, int] = {}
        tables = [_Seating(config, self._backends) for config in self.configs]
        for index in range(len(self)):
            k, cell = divmod(index, len(self.cells))
            seed = chance.key(self.config.run.seed, "games", k) & SEED_MASK
            seated, game_id = tables[cell].game(k, seed)
            if game_id in seen:
                raise ConfigurationError(
                    f"games {seen[game_id]} and {index} would be the same game: two combinations of "
                    f"experiment.factors do not differ ({self.cells[cell].factors})"
                )
            seen[game_id] = index
            yield Planned(index, game_id, cell, seed, seated)


def clocked(config: Config, begun: str) -> Config:
    """The configuration with the time that chat templates get: its own, or the run's start."""
    if config.run.clock is not None:
        return config
    return config.model_copy(update={"run": config.run.model_copy(update={"clock": begun})})


def check_game(config: Config) -> None:
    """Raises ConfigurationError for an unknown game, a wrong setting, a roster or steered seats that do not fit it."""
    seated, _ = _Seating(config).game(0, 0)
    for name in config.roster.agents():
        steering = config.agents[name].steering
        if steering is None or steering.seats is None:
            continue
        if max(steering.seats) >= len(seated):
            raise ConfigurationError(
                f"agents.{name}.steering.seats names seat {max(steering.seats)}; this game of {config.game.name} has "
                f"seats 0 to {len(seated) - 1}"
            )
        if config.roster.seats is not None and all(seated[seat] != name for seat in steering.seats):
            raise ConfigurationError(
                f"agents.{name}.steering.seats is {list(steering.seats)}, where roster.seats never puts {name}: it "
                f"sits at {[seat for seat, agent in enumerate(seated) if agent == name]}"
            )


class _Seating:
    """Deals the players of one cell to seats."""

    def __init__(self, config: Config, backends: Mapping[str, BackendSection] | None = None) -> None:
        self._config = config
        self._backends = config.backends if backends is None else backends
        try:
            self._game = load_game(config.game.name)
            self._check_settings()
            self._rules = self._game.configure(**config.game.settings)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"[game]: {error}") from error
        self._settings_text = canonical(self._settings())
        self._specs = {name: canonical(self._spec(agent)) for name, agent in config.agents.items()}
        self._pool: list[str] = []
        self._epoch = 0
        self._n_dealt: Counter[str] = Counter()
        self._in_role: Counter[tuple[str, str]] = Counter()
        self._in_seat: Counter[tuple[str, int]] = Counter()
        self._turns: Counter[str] = Counter()

    def _check_settings(self) -> None:
        fields = self._game.settings()
        for key in self._config.game.settings:
            if key not in fields:
                near = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(fields)}"
                raise ValueError(f"the game {self._config.game.name} has no setting {key!r}; {hint}")

    def _spec(self, agent: AgentSection) -> dict[str, Any]:
        spec = agent.model_dump(mode="json")
        if agent.backend is not None:
            backend = self._backends[agent.backend]
            spec["backend"] = backend.model_dump(
                mode="json", include={"kind", "model", "tokenizer", "settings"}
            )
        return spec

    def game(self, k: int, seed: int) -> tuple[tuple[str, ...], str]:
        """(agent of each seat, id) of game `k`; games are asked for in order."""
        _, events = self._game.start(self._rules, seed)
        facts = self._game.seats(self._rules, events)
        roster = self._config.roster
        if roster.seats is not None:
            seated = roster.seats
            if len(seated) != len(facts):
                raise ConfigurationError(
                    f"roster.seats names {len(seated)} players, this game of {self._config.game.name} has "
                    f"{len(facts)} seats (preset {self._rules.preset})"
                )
        elif roster.roles is not None:
            seated = tuple(self._by_role(fact) for fact in facts)
        else:
            seated = self._mixed(k, facts)
        return seated, self._id(seed, seated)

    def _settings(self) -> Any:
        return self._rules.model_dump(mode="json")

    def _id(self, seed: int, seated: Sequence[str]) -> str:
        """The hash of [game, settings, seed, agent of each seat, player of each seat], mostly precomputed."""
        players = ",".join(self._specs[agent] for agent in seated)
        name, agents = canonical(self._config.game.name), canonical(list(seated))
        return hash_of_text(f"[{name},{self._settings_text},{seed},{agents},[{players}]]")

    def _by_role(self, fact: SeatFacts) -> str:
        roles = self._config.roster.roles or {}
        key = next((key for key in (fact.role, fact.faction, "others") if key in roles), None)
        if key is None:
            raise ConfigurationError(
                f"roster.roles has no player for the role {fact.role!r} (faction {fact.faction!r}); it names "
                f'{", ".join(roles)}: add {fact.role} = "AGENT" or others = "AGENT"'
            )
        agents = roles[key]
        if isinstance(agents, str):
            return agents
        self._turns[key] += 1
        return agents[(self._turns[key] - 1) % len(agents)]

    def _mixed(self, k: int, facts: Sequence[SeatFacts]) -> tuple[str, ...]:
        """The next players of the pool, on the seats whose role and number they had least often so far."""
        mix = self._config.roster.mix or {}
        rng = np.random.default_rng([self._config.run.seed, k])
        while len(self._pool) < len(facts):
            everyone = [agent for agent, share in mix.items() for _ in range(share)]
            shuffle = np.random.default_rng([self._config.run.seed, self._epoch, 1])
            self._pool += [everyone[i] for i in shuffle.permutation(len(everyone))]
            self._epoch += 1
        players, self._pool = sorted(self._pool[: len(facts)]), self._pool[len(facts) :]
        n = len(facts)
        roles = Counter(fact.role for fact in facts)
        costs = {agent: self._costs(agent, facts, roles) for agent in mix}
        cost = np.array([costs[agent] for agent in players])
        seats = cheapest((cost + 0.01 * rng.random((n, n))).tolist())
        seated = [""] * n
        for agent, seat in zip(players, seats, strict=True):
            seated[seat] = agent
            self._in_role[agent, facts[seat].role] += 1
            self._in_seat[agent, seat] += 1
            self._n_dealt[agent] += 1
        return tuple(seated)

    def _costs(self, agent: str, facts: Sequence[SeatFacts], roles: Mapping[str, int]) -> list[float]:
        """The excess with which an agent had each seat's role and number so far. roles: role -> seats that have
        it."""
        n, dealt = len(facts), self._n_dealt[agent]
        costs = []
        for seat, fact in enumerate(facts):
            role = self._in_role[agent, fact.role] - dealt * roles[fact.role] / n
            place = self._in_seat[agent, seat] - dealt / n
            # A role counts relative to how often it is dealt, so that rare roles are balanced as well.
            costs.append(role / roles[fact.role] + 0.5 * place)
        return costs
