"""Random legal games for the tests: what every decision is drawn from, and games played with it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from games.play import Answer, observe, play
from games.records import Action, Decision, Record, Reply, Request
from games.view import Views
from games.werewolf import GAME
from games.werewolf.acts import say
from games.werewolf.config import WerewolfConfig
from games.werewolf.discrete import Catalogue
from games.werewolf.discussion import SPEAK
from games.werewolf.text import Words, words_of


def random_action(request: Request, rng: random.Random, catalogue: Catalogue, w: Words) -> Action:
    """A legal action, each option equally likely; speeches hold up to two typed acts."""
    option = rng.choice(request.options) if request.options else None
    if not request.speaks or (request.kind == "speech" and request.options and option != SPEAK):
        return Action(option)
    acts = tuple(rng.choice(catalogue.speech_acts) for _ in range(rng.randrange(3)))
    return Action(option, say(acts, w.names, w.lex), acts)


def random_game(config: WerewolfConfig, seed: int, chooser: int = 0) -> list[Record]:
    """The whole log of a game of `seed` whose decisions are drawn from `chooser`."""
    rng = random.Random(chooser)
    catalogue = Catalogue(config)
    game = play(GAME, config, seed)
    log: list[Record] = []
    step = next(game)
    while True:
        log += step.new
        if not step.requests:
            return log
        w = words_of(config, log)
        step = game.send(
            [Answer(Reply(random_action(r, rng, catalogue, w)), "random") for r in step.requests]
        )


def view(config: WerewolfConfig, log: Sequence[Record], seat: int) -> tuple[Any, list[str]]:
    """Everything that a seat sees of a log: its records and its lines."""
    seen = observe(GAME, "g", config, 0, log, Request(seat, "speech")).records
    return seen, GAME.transcript(log, seat, config)


def decisions(log: Sequence[Record], kind: str | None = None) -> list[Decision]:
    """The decisions of a log, of one kind."""
    return [r for r in log if isinstance(r, Decision) and kind in (None, r.kind)]


def views_of(config: WerewolfConfig, log: Sequence[Record]) -> Views:
    """The incremental views of a whole log."""
    views = Views(GAME, config, config.n_players)
    for record in log:
        views.add((record,))
    return views
