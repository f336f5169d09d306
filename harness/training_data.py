"""Training text for the small model: games of the scripted players, seen from a seat, without end.

Game `i` of a stream is a pure function of (seed, i), so training resumes where it stopped by its game counter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from agents.context import document
from games import chance, load_game
from games.base import SeatFacts
from games.records import Record
from games.werewolf.lexicon import lexicon as load_lexicon
from harness.training_games import EARLY, MIX, scripted_game
from harness.training_questions import Fork, belief_questions, cuts, second_order_questions

OPENINGS, ALL_RULES = 0.28, 0.42
"""Shares of the games at which training leaves the openings, and at which it has come to the seats' views alone."""
ASKED = (4, 10)
"""Points of a game at which a seat's view is asked, before and after `ASKED_MORE` of the games."""
ASKED_MORE = 0.8
EXPECTED = 4.0
"""Games, in units of those that the curriculum is laid over, after which a question's answer is no longer the truth
but what the exact observer expects of it in the viewer's place.

Both teach the same on average: that expectation is the truth's mean over all games that look like this to the viewer.
But the truth is one draw, and the same one at every point of a game, and by then most of a step's direction was its
chance (the answers improved most while the learning rate fell, which averages chance out).
"""
SECOND_ORDER = (0.1, 0.4)
"""Share of the games whose views are also asked what others believe, before and after `ASKED_MORE` of the games."""


class View(msgspec.Struct, frozen=True):
    """What one seat reads and writes in a game, and the questions on the way."""

    lines: list[str]
    forks: list[Fork]
    name: str = ""
    """The seat's name; empty for the moderator."""
    names: tuple[str, ...] = ()
    """Those of all seats."""
    served: dict[str, list[str]] = {}
    """Verb -> the names with which it serves the seat's side, as the deal shows; empty where that is not judged."""


HUNTS, SPARES = ("accuse", "question", "vote", "votes", "inspects", "shoots", "poisons"), ("defend",)
"""Acts that serve the village where they name a werewolf, and where they do not."""


def served(facts: Sequence[SeatFacts], seat: int, lexicon: str) -> dict[str, list[str]]:
    """`View.served` of a seat: of the village's, who do not know whom to name; empty for the others."""
    if facts[seat].faction != "village":
        return {}
    terms = load_lexicon(lexicon).terms
    werewolves = [fact.name for fact in facts if fact.role == "werewolf"]
    others = [fact.name for fact in facts if fact.role != "werewolf"]
    return {terms[verb]: werewolves for verb in HUNTS} | {terms[verb]: others for verb in SPARES}


def moderators_view(log: list[Record], config: Any, key: int, opening: bool) -> View:
    """All that the moderator reads, or of that the opening, in which every role is stated; and questions about the
    roles of all seats, by the name of one of them, at its end or at three points."""
    game = load_game("werewolf")
    facts = game.seats(config, log)
    terms = load_lexicon(config.lexicon).terms
    lines = document(game.text, log, None, config)
    first = 1 + config.n_players
    ends = (
        [first]
        if opening
        else [len(document(game.text, log[:cut], None, config)) for cut in cuts(log, key, 3)]
    )
    forks = []
    for n_lines in ends:
        viewer = chance.key(key, "viewer", n_lines) % config.n_players
        asked = [(fact.name, {terms[fact.role]: 1.0}) for i, fact in enumerate(facts) if i != viewer]
        forks.append(Fork(n_lines, facts[viewer].name, asked))
    return View(lines[:first] if opening else lines, forks)


def views(index: int, seed: int, progress: float, lexicon: str, belief_share: float) -> list[View]:
    """The training texts of game `index`: two seats' views, or early in training the moderator's.

    `progress` is the share of the curriculum's games done, above 1 beyond them. The curriculum starts with what the
    moderator reads before the first night, where all roles are stated, and questions about them: a model that has not
    learned to look up a name learns nothing else. From there it goes gradually, as what was learned is lost by a sudden
    change, through the moderator's views of whole games to the seats' views, and from short games to all rule sets. In
    a share `belief_share` of the seats' views questions are asked on the way, at four points of the game, later ten
    (one where the seat is a werewolf, which knows the answers); in a tenth of the games that are asked about, later two
    fifths, also about others' beliefs. From `EXPECTED` on the answers are what the exact observer expects. With a share
    of 0 no text holds a question, the moderator's neither.
    """
    game = load_game("werewolf")
    key = chance.key(seed, "training", index)
    blend = min(1.0, max(0.0, (progress - OPENINGS) / (ALL_RULES - OPENINGS)))
    mix = EARLY if blend < 0.5 else MIX
    settings = mix[chance.draw([share for _, share in mix], chance.mix(key))][0]
    config = game.configure(**settings, lexicon=lexicon)
    log = scripted_game(config, key >> 1)
    kind = chance.uniform(chance.key(key, "view"))
    if kind >= blend:
        if belief_share == 0.0:  # an opening teaches by its questions alone
            return [View(document(game.text, log, None, config), [])]
        opening = progress < OPENINGS or kind >= blend + 0.65 * (1.0 - blend)
        return [moderators_view(log, config, chance.key(key, "look-ups"), opening)]
    seats = chance.shuffled(list(range(config.n_players)), chance.key(key, "seats"))[:2]
    asked = [seat for seat in seats if chance.uniform(chance.key(key, "asked", seat)) < belief_share]
    deeper: dict[int, list[Fork]] = {}
    more, expected = progress >= ASKED_MORE, progress >= EXPECTED
    if asked and chance.uniform(chance.key(key, "second order")) < SECOND_ORDER[more]:
        deeper = second_order_questions(log, asked, config, chance.key(key, "deeper"), 2, expected)
    facts = game.seats(config, log)
    found = []
    for seat in seats:
        points = 1 if facts[seat].role == "werewolf" else ASKED[more]
        n_cuts = points if seat in asked else 0
        forks = belief_questions(log, seat, config, chance.key(key, "questions", seat), n_cuts, expected)
        lines = document(game.text, log, seat, config)
        names = tuple(fact.name for fact in facts)
        found.append(
            View(lines, forks + deeper.get(seat, []), names[seat], names, served(facts, seat, lexicon))
        )
    return found


def stream(
    seed: int, lexicon: str, belief_share: float, games: int, start: int = 0
) -> Iterator[tuple[int, list[View]]]:
    """(index, views) of the games from `start` on; `games` is the number that the curriculum is laid over."""
    index = start
    while True:
        yield index, views(index, seed, index / games, lexicon, belief_share)
        index += 1
