"""Measure the small model on held-out games: whether its language is well-formed, and its stated beliefs.

Run it with `wolfscope eval-small-model`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import torch
from scipy.special import rel_entr

from agents.backends.hooked.backend import load_hooked_backend
from agents.llm.transcript import TranscriptPlayer
from agents.models.folder import load_tokenizer
from agents.werewolf.lessons.games import HELD_OUT, cast
from agents.werewolf.observer import RUNGS
from agents.werewolf.vocabulary import lexicon_of
from analysis.stats.bootstrap import mean_interval, r2_interval
from analysis.stats.metrics import auroc, brier, ece, log_odds
from games import chance, load_game
from games.base import Observation, SeatFacts
from games.play import Answer, observe, play
from games.records import Decision, Event, Record, Reply
from harness.model_evaluation.held_out import sittings, stack
from harness.model_evaluation.probes import auroc_of, characters, represented
from harness.model_evaluation.readings import BELIEF_SITES, SITES, Reading, Stated
from harness.play.progress import wilson

FORM_PRESETS = ("classic-7", "probe-6", "kaggle-7")
FURTHEST = 0.03
"""The report states how much of the divergence from the exact observer lies in this share of the questions."""


class Form(msgspec.Struct, frozen=True):
    """How many decisions of one kind were legal and well-formed, without constrained decoding."""

    kind: str
    n: int
    well_formed: int
    """Well-formed at the first attempt."""
    fallbacks: int
    """Not well-formed within three attempts: the game's legal fallback was used."""


class Belief(msgspec.Struct, frozen=True):
    """How well one source of beliefs separates werewolves from others, over living unrevealed subjects."""

    source: str
    n: int
    n_games: int
    auroc: float
    low: float
    """Bounds of the AUROC's 95% interval over games (`analysis.stats.bootstrap`)."""
    high: float
    brier: float
    ece: float


async def play_game(
    config: Any,
    seed: int,
    answer: Callable[[Sequence[Observation], Sequence[SeatFacts]], Awaitable[list[Answer]]],
) -> list[Record]:
    """The log of one game; `answer` gets each wave of requests, and the seats' players."""
    game = load_game("werewolf")
    loop, log = play(game, config, seed), list[Record]()
    step = next(loop)
    while True:
        log += step.new
        if not step.requests:
            return log
        seen = [observe(game, f"held-out-{seed}", config, seed, log, request) for request in step.requests]
        step = loop.send(await answer(seen, game.seats(config, log)))


async def play_games(
    player: TranscriptPlayer, presets: Sequence[str], n_games: int, lexicon: str = "classic"
) -> list[list[Record]]:
    """Logs of games in which the player has every seat, batched."""
    game = load_game("werewolf")

    async def answer(seen: Sequence[Observation], _: Sequence[SeatFacts]) -> list[Answer]:
        return [Answer(reply, player.name) for reply in await asyncio.gather(*(player.act(o) for o in seen))]

    configs = [game.configure(preset=presets[i % len(presets)], lexicon=lexicon) for i in range(n_games)]
    return list(await asyncio.gather(*(play_game(c, HELD_OUT + i, answer) for i, c in enumerate(configs))))


def measure_form(
    player: TranscriptPlayer,
    n_games: int = 60,
    presets: Sequence[str] = FORM_PRESETS,
    lexicon: str = "classic",
) -> list[Form]:
    """Form by kind of decision, then over all (`kind="all"`)."""
    n: Counter[str] = Counter()
    good: Counter[str] = Counter()
    fallback: Counter[str] = Counter()
    for log in asyncio.run(play_games(player, presets, n_games, lexicon)):
        for record in log:
            if isinstance(record, Decision) and record.trace is not None:
                for kind in (record.kind, "all"):
                    n[kind] += 1
                    good[kind] += record.trace.attempts == 1 and record.fallback is None
                    fallback[kind] += record.fallback is not None
    kinds = [*sorted(k for k in n if k != "all"), "all"]
    return [Form(kind, n[kind], good[kind], fallback[kind]) for kind in kinds]


def score(source: str, p: np.ndarray, truth: np.ndarray, games: np.ndarray) -> Belief:
    """AUROC, Brier score and expected calibration error of probabilities `(n,)`."""
    (area,) = auroc_of(truth, [p], games)
    return Belief(
        source=source,
        n=len(p),
        n_games=len(np.unique(games)),
        auroc=area.value,
        low=area.low,
        high=area.high,
        brier=brier(truth, p),
        ece=ece(truth, p),
    )


def surprise(exact: np.ndarray, stated: np.ndarray) -> tuple[float, float]:
    """Mean Kullback-Leibler divergence in nats of stated from exact probabilities, both `(n,)`, and the share of its
    sum that is in the `FURTHEST` of the questions."""
    q = np.clip(exact, 0.0, 1.0)  # sums of weights may exceed 1 by rounding
    p = np.clip(stated, 1e-4, 1.0 - 1e-4)
    nats = np.sort(rel_entr(q, p) + rel_entr(1.0 - q, 1.0 - p))
    return float(nats.mean()), float(nats[-round(FURTHEST * len(nats)) :].sum() / nats.sum())


def play_side(
    side: str,
    player: TranscriptPlayer | None,
    n_games: int,
    preset: str = "classic-7",
    lexicon: str = "classic",
) -> np.ndarray:
    """Whether `side` won `(n_games,)`: its seats are the player's, all others (None: all) drawn from the characters.

    Game k has the same deal and the same opponents for every player.
    """
    game = load_game("werewolf")
    config = game.configure(preset=preset, lexicon=lexicon)

    async def one(index: int) -> bool:
        seed = chance.key(HELD_OUT, "competence", index) >> 1
        seats = cast(config, seed)

        async def answer(seen: Sequence[Observation], facts: Sequence[SeatFacts]) -> list[Answer]:
            async def one_seat(observation: Observation) -> Answer:
                seat = observation.request.seat
                if player is not None and facts[seat].faction == side:
                    return Answer(await player.act(observation), player.name)
                return Answer(Reply(seats[seat].choose(observation)), seats[seat].name)

            return list(await asyncio.gather(*map(one_seat, seen)))

        log = await play_game(config, seed, answer)
        return any(isinstance(r, Event) and r.kind == "outcome" and r.value == side for r in log)

    async def run() -> list[bool]:
        return list(await asyncio.gather(*(one(i) for i in range(n_games))))

    return np.array(asyncio.run(run()))


def evaluate(folder: Path, n_games: int = 200, n_belief_games: int = 400, say: Any = print) -> None:
    """Print all tables; those of play, or of beliefs, are left out where no games are asked for."""
    torch.set_num_threads(1)  # at this size a second thread costs more than it gains
    if n_games:
        player = load_player(folder)
        lexicon = lexicon_of(load_tokenizer(folder))
        print_form(player, n_games, say, lexicon)
        print_competence(player, n_games, say, lexicon)
        asyncio.run(player.backend.close())
    if n_belief_games:
        print_beliefs(folder, n_belief_games, say)


def load_player(folder: Path) -> TranscriptPlayer:
    """The model as an unconstrained player with two retries. The caller must close its backend."""
    return TranscriptPlayer("small", load_hooked_backend(folder), load_tokenizer(folder), retries=2)


def print_form(player: TranscriptPlayer, n_games: int, say: Any, lexicon: str = "classic") -> None:
    """Form by kind of decision."""
    say(f"form: unconstrained decisions in every seat of {n_games} games ({', '.join(FORM_PRESETS)})")
    for f in measure_form(player, n_games, lexicon=lexicon):
        say(
            f"  {f.kind:12} {f.well_formed:6} of {f.n:6} well-formed at once ({f.well_formed / f.n:.2%}), "
            f"{1 - f.fallbacks / f.n:.2%} within three attempts"
        )


def print_beliefs(folder: Path, n_games: int, say: Any, preset: str = "classic-7") -> None:
    """The model's stated and represented beliefs, beside the observers on every rung of evidence and the
    baselines."""
    from agents.hooks.model import load_hooked_model
    from harness.capture.reader import reinitialised

    tokenizer = load_tokenizer(folder)
    reading = Reading(load_hooked_model(folder), tokenizer)
    found = list(sittings(preset, n_games, lexicon_of(tokenizer)))
    asked = stack([item for sitting in found for item in sitting.inquiries])
    texts = [item.text for sitting in found for item in sitting.inquiries]
    stated = Stated(reading, found)
    truth, games = asked["is_werewolf"], asked["game"]
    kinds = [kind for kind in (*RUNGS, "exact") if kind in asked]
    days = {"": truth >= 0, " on day 1": asked["day"] == 1, " later": asked["day"] > 1}
    for when, rows in days.items():
        say(
            f"stated belief{when}: is the subject a werewolf? Plain villagers before each ballot of {n_games} "
            f"scripted {preset} games, living others ({rows.sum()} questions)"
        )
        exact = float(auroc(truth[rows], asked["exact"][rows]))
        for source in ("stated", *kinds):
            p = (stated.first if source == "stated" else asked[source])[rows]
            b = score(source, p, truth[rows], games[rows])
            say(
                f"  {b.source:10} AUROC {b.auroc:.3f} [{b.low:.3f}, {b.high:.3f}]  Brier {b.brier:.3f}  "
                f"ECE {b.ece:.3f}  share of exact's excess {(b.auroc - 0.5) / (exact - 0.5):.1%}"
            )
        mean, share = surprise(asked["exact"][rows], stated.first[rows])
        say(
            f"  from the exact posterior to the stated: {mean:.3f} nats a question, {share:.0%} of them in the "
            f"{FURTHEST:.0%} of the questions that are furthest"
        )
    with TemporaryDirectory() as scratch:
        activations = {
            "small model": reading.capture(found, Path(scratch) / "activations"),
            "untrained model": reading.capture(
                found, Path(scratch) / "activations-untrained", reinitialised(reading.hooked)
            ),
        }
    targets = {
        "log-odds of the exact posterior of the subject": log_odds(asked["exact"]),
        "log-odds of what the subject is expected to believe of the viewer (second order)": log_odds(
            asked["expected"]
        ),
    }
    said = {0: log_odds(stated.first), 1: log_odds(stated.second)}
    measured = games % 2 == 1
    for n, (name, target) in enumerate(targets.items()):
        say(f"represented belief: R2 of the {name}; fitted on even games, measured on odd ones")
        r2 = r2_interval(target[measured], said[n][measured], games[measured])
        say(f"  {'stated':24} {r2.value:6.3f} [{r2.low:.3f}, {r2.high:.3f}]")
        for r in represented(activations, target, asked["counts"], texts, games, BELIEF_SITES):
            say(f"  {r.source:24} {r.value:6.3f} [{r.low:.3f}, {r.high:.3f}]  {r.chosen}")
    say("hidden character of the subject: AUROC, one against the rest, averaged")
    for r in characters(
        activations["small model"],
        asked["counts"],
        asked["p_characters"],
        asked["character"],
        games,
        SITES,
        stated.characters,
    ):
        say(f"  {r.source:24} {r.value:6.3f} [{r.low:.3f}, {r.high:.3f}]  {r.chosen}")


def print_competence(player: TranscriptPlayer, n_games: int, say: Any, lexicon: str = "classic") -> None:
    """Win rates of the model and of the players it learned from, in the same seats against the same opponents."""
    say(
        f"competence: win rate in all seats of one side of {n_games} classic-7 games against scripted players"
    )
    for side in ("werewolf", "village"):
        ours, theirs = (play_side(side, who, n_games, lexicon=lexicon) for who in (player, None))
        for name, won in (("small model", ours), ("scripted players", theirs)):
            low, high = wilson(int(won.sum()), len(won))
            say(f"  {side:10} {name:18} {won.mean():6.1%} [{low:.1%}, {high:.1%}]")
        gain = ours.astype(float) - theirs
        i = mean_interval(gain, np.arange(len(gain)))
        say(f"  {side:10} {'difference':18} {i.value:+6.1%} [{i.low:+.1%}, {i.high:+.1%}], paired by deal")
