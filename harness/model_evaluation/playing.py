"""How a small model plays: whether its decisions are well-formed, and how often each side wins in its hands."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from agents.exam import HELD_OUT
from agents.lessons import lessons_of
from agents.llm.transcript import TranscriptPlayer
from analysis.stats.bootstrap import mean_interval
from games import chance, load_game
from games.base import Game, Observation, SeatFacts
from games.play import Answer, play
from games.records import Decision, Event, Record, Reply
from games.seat_view.views import Seen
from harness.play.progress import wilson


class Form(msgspec.Struct, frozen=True):
    """How many decisions of one kind were legal and well-formed, without constrained decoding."""

    kind: str
    n: int
    well_formed: int
    """Well-formed at the first attempt."""
    fallbacks: int
    """Not well-formed within three attempts: the game's legal fallback was used."""


async def play_game(
    game: Game,
    config: Any,
    seed: int,
    answer: Callable[[Sequence[Observation], Sequence[SeatFacts]], Awaitable[list[Answer]]],
) -> list[Record]:
    """The log of one game; `answer` gets each wave of requests, and the seats' players."""
    loop, log = play(game, config, seed), list[Record]()
    views = Seen(game, config, config.n_players)
    step = next(loop)
    while True:
        log += step.new
        if not step.requests:
            return log
        views.add(step.new)
        seen = [views.observation(f"held-out-{seed}", seed, request) for request in step.requests]
        step = loop.send(await answer(seen, game.seats(config, log)))


async def play_games(
    player: TranscriptPlayer, name: str, presets: Sequence[str], n_games: int, lexicon: str = "classic"
) -> list[list[Record]]:
    """Logs of games of the game called `name` in which the player has every seat, batched."""
    game = load_game(name)

    async def answer(seen: Sequence[Observation], _: Sequence[SeatFacts]) -> list[Answer]:
        return [Answer(reply, player.name) for reply in await asyncio.gather(*(player.act(o) for o in seen))]

    configs = [game.configure(preset=presets[i % len(presets)], lexicon=lexicon) for i in range(n_games)]
    running = (play_game(game, config, HELD_OUT + i, answer) for i, config in enumerate(configs))
    return list(await asyncio.gather(*running))


def measure_form(
    player: TranscriptPlayer, name: str, n_games: int = 60, lexicon: str = "classic"
) -> list[Form]:
    """Form by kind of decision in games of the rule sets `Exam.FORM_PRESETS`, then over all (`kind="all"`)."""
    n: Counter[str] = Counter()
    good: Counter[str] = Counter()
    fallback: Counter[str] = Counter()
    presets = lessons_of(name).exam.FORM_PRESETS
    for log in asyncio.run(play_games(player, name, presets, n_games, lexicon)):
        for record in log:
            if isinstance(record, Decision) and record.trace is not None:
                for kind in (record.kind, "all"):
                    n[kind] += 1
                    good[kind] += record.trace.attempts == 1 and record.fallback is None
                    fallback[kind] += record.fallback is not None
    kinds = [*sorted(k for k in n if k != "all"), "all"]
    return [Form(kind, n[kind], good[kind], fallback[kind]) for kind in kinds]


def play_side(
    name: str, side: str, player: TranscriptPlayer | None, n_games: int, lexicon: str = "classic"
) -> np.ndarray:
    """Whether `side` won `(n_games,)`: its seats are the player's, all others (None: all) drawn from its teachers.

    Game k has the same deal and the same opponents for every player.
    """
    game, exam = load_game(name), lessons_of(name).exam
    config = game.configure(preset=exam.PRESET, lexicon=lexicon)

    async def one(index: int) -> bool:
        seed = chance.key(HELD_OUT, "competence", index) >> 1
        seats = exam.cast(config, seed)

        async def answer(seen: Sequence[Observation], facts: Sequence[SeatFacts]) -> list[Answer]:
            async def one_seat(observation: Observation) -> Answer:
                seat = observation.request.seat
                if player is not None and facts[seat].faction == side:
                    return Answer(await player.act(observation), player.name)
                return Answer(Reply(seats[seat].choose(observation)), seats[seat].name)

            return list(await asyncio.gather(*map(one_seat, seen)))

        log = await play_game(game, config, seed, answer)
        return any(isinstance(r, Event) and r.kind == "outcome" and r.value == side for r in log)

    async def run() -> list[bool]:
        return list(await asyncio.gather(*(one(i) for i in range(n_games))))

    return np.array(asyncio.run(run()))


def print_form(player: TranscriptPlayer, name: str, n_games: int, say: Any, lexicon: str = "classic") -> None:
    """Form by kind of decision."""
    presets = lessons_of(name).exam.FORM_PRESETS
    say(f"form: unconstrained decisions in every seat of {n_games} games ({', '.join(presets)})")
    for f in measure_form(player, name, n_games, lexicon):
        say(
            f"  {f.kind:12} {f.well_formed:6} of {f.n:6} well-formed at once ({f.well_formed / f.n:.2%}), "
            f"{1 - f.fallbacks / f.n:.2%} within three attempts"
        )


def print_competence(
    player: TranscriptPlayer, name: str, n_games: int, say: Any, lexicon: str = "classic"
) -> None:
    """Win rates of the model and of the players it learned from, in the same seats against the same opponents."""
    say(
        f"competence: win rate in all seats of one side of {n_games} {lessons_of(name).exam.PRESET} games against "
        "scripted players"
    )
    for side in load_game(name).sides:
        ours, theirs = (play_side(name, side, who, n_games, lexicon) for who in (player, None))
        for who, won in (("small model", ours), ("scripted players", theirs)):
            low, high = wilson(int(won.sum()), len(won))
            say(f"  {side:10} {who:18} {won.mean():6.1%} [{low:.1%}, {high:.1%}]")
        gain = ours.astype(float) - theirs
        i = mean_interval(gain, np.arange(len(gain)))
        say(f"  {side:10} {'difference':18} {i.value:+6.1%} [{i.low:+.1%}, {i.high:+.1%}], paired by deal")
