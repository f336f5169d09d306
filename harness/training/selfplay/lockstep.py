"""Many games at once: each plays until its players wait for a model, then all are answered together.

The players are those of tournaments (`agents.llm.transcript`), so a rollout's contexts equal a tournament's. Their
coroutines are driven by hand: they await only answers to prompts.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import torch

from agents.backends.base import Capabilities, Generation, Prompt
from agents.base import Agent
from games import DEFAULT, load_game
from games.log import dumps, loads
from games.play import Answer, play
from games.records import Record, Reply
from games.seat_view.views import Views
from harness.atomic import write_whole
from harness.machine import cores
from harness.training.selfplay.sampler import Sampler


class Planned(msgspec.Struct, frozen=True):
    """One planned game."""

    game_id: str
    config: Any
    seed: int
    """Seed of the rules: the deal, the names, the order of speaking, ties."""
    players_seed: int
    """Seed of the players' own draws. In a tournament it equals the rules' seed."""
    agents: tuple[str, ...]
    """The agent of each seat."""
    deal: int = 0
    """Games of one deal have equal `seed` and `agents`."""
    opponents: str = ""
    """Name of the deal's opponents."""
    game: str = DEFAULT


class Played(msgspec.Struct, frozen=True):
    """One played game."""

    planned: Planned
    log: list[Record]


class Waiting:
    """Awaited by a player; the driver of its coroutine receives it and sends the answers."""

    def __init__(self, sampler: Sampler, prompts: Sequence[Prompt]) -> None:
        self.sampler, self.prompts = sampler, prompts

    def __await__(self) -> Generator[Waiting, list[Generation], list[Generation]]:
        return (yield self)


class LockStepBackend:
    """A backend whose prompts wait until `play_together` has collected those of all games."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self.capabilities = sampler, Capabilities()
        self.model = sampler.name

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Answered by `play_together`; awaiting it elsewhere fails."""
        return await Waiting(self.sampler, prompts)

    async def close(self) -> None:
        """Forget all contexts."""
        self.sampler.forget()


Acting = Coroutine[Waiting, list[Generation], Reply]
Asked = list[Waiting]


def play_together(planned: Sequence[Planned], players: Mapping[str, Agent]) -> list[Played]:
    """Play all games in lock-step. players: those that `Planned.agents` names.

    A player's exception propagates; an unreadable model reply becomes the player's recorded fallback.
    """
    games = [_game(one, players) for one in planned]
    asked: dict[int, Asked] = {}
    done: dict[int, Played] = {}
    for i in range(len(games)):
        _go_on(i, games[i], None, asked, done)
    while asked:
        order = [(i, k) for i, waiting in asked.items() for k in range(len(waiting))]
        answers: dict[tuple[int, int], list[Generation]] = {}
        for sampler in dict.fromkeys(asked[i][k].sampler for i, k in order):
            some = [(i, k) for i, k in order if asked[i][k].sampler is sampler]
            prompts = [prompt for i, k in some for prompt in asked[i][k].prompts]
            generations = iter(sampler.answer(prompts))
            for i, k in some:
                answers[i, k] = [next(generations) for _ in asked[i][k].prompts]
        for i in list(asked):
            given = [answers[i, k] for k in range(len(asked.pop(i)))]
            _go_on(i, games[i], given, asked, done)
    return [done[i] for i in range(len(games))]


def play_side_by_side(planned: Sequence[Planned], casts: Sequence[Mapping[str, Agent]]) -> list[Played]:
    """All games, in order, in as many parts as there are casts, side by side in threads, as many as there are cores.

    casts: the players of each part, as in `play_together`; they may share models, not samplers. The number of parts
    changes the rounding of large sums, the number of threads nothing.
    """
    n, n_threads = len(casts), torch.get_num_threads()
    shares = [planned[i * len(planned) // n : (i + 1) * len(planned) // n] for i in range(n)]
    with ThreadPoolExecutor(
        min(n, cores()), initializer=torch.set_num_threads, initargs=(n_threads,)
    ) as threads:
        return [one for some in threads.map(play_together, shares, casts) for one in some]


AT_ONCE = 64
"""Games that `play_kept` plays and writes in one batch."""


def play_kept(planned: Sequence[Planned], casts: Sequence[Mapping[str, Agent]], folder: Path) -> list[Played]:
    """`play_side_by_side`, with each game's log kept as `folder/<game_id>.jsonl`; games with a log are not played
    again."""
    files = [folder / f"{one.game_id}.jsonl" for one in planned]
    missing = [i for i, file in enumerate(files) if not file.is_file()]
    for first in range(0, len(missing), AT_ONCE):
        some = missing[first : first + AT_ONCE]
        folder.mkdir(parents=True, exist_ok=True)
        for i, played in zip(some, play_side_by_side([planned[i] for i in some], casts), strict=True):
            write_whole(files[i], dumps(played.log))
    return [Played(one, loads(file.read_bytes())) for one, file in zip(planned, files, strict=True)]


Game = Generator[Asked, list[list[Generation]], Played]


def _go_on(
    i: int,
    game: Game,
    answers: list[list[Generation]] | None,
    asked: dict[int, Asked],
    done: dict[int, Played],
) -> None:
    """Run a game until it waits or ends."""
    try:
        asked[i] = next(game) if answers is None else game.send(answers)
    except StopIteration as end:
        done[i] = end.value


def _game(planned: Planned, players: Mapping[str, Agent]) -> Game:
    """One game as a generator: yields the prompts that its players wait for, and is sent the answers in order."""
    game = load_game(planned.game)
    views = Views(game, planned.config, len(planned.agents))
    loop = play(game, planned.config, planned.seed)
    step = next(loop)
    log: list[Record] = []
    while True:
        log += step.new
        if not step.requests:
            break
        views.add(step.new)
        replies: list[Reply | None] = [None] * len(step.requests)
        acting: dict[int, tuple[Acting, Waiting]] = {}
        for place, request in enumerate(step.requests):
            player = players[planned.agents[request.seat]]
            coroutine: Any = player.act(views.observation(planned.game_id, planned.players_seed, request))
            _act(place, coroutine, None, replies, acting)
        while acting:
            places = list(acting)
            answers = yield [acting[place][1] for place in places]
            for place, answer in zip(places, answers, strict=True):
                _act(place, acting.pop(place)[0], answer, replies, acting)
        step = loop.send(
            [
                Answer(reply, planned.agents[request.seat])
                for request, reply in zip(step.requests, replies, strict=True)
                if reply is not None
            ]
        )
    for name in dict.fromkeys(planned.agents):
        backend = getattr(players[name], "backend", None)
        if isinstance(backend, LockStepBackend):
            backend.sampler.forget(planned.game_id)
    return Played(planned, log)


def _act(
    place: int,
    coroutine: Acting,
    answer: list[Generation] | None,
    replies: list[Reply | None],
    acting: dict[int, tuple[Acting, Waiting]],
) -> None:
    """Run a player until it waits or replies."""
    try:
        waiting = coroutine.send(answer)  # type: ignore[arg-type]  # None starts it
    except StopIteration as end:
        replies[place] = end.value
    else:
        acting[place] = (coroutine, waiting)
