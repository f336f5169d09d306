"""Training text of Avalon: games of the scripted players, seen from a seat. Game `i` is a function of (seed, i)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.avalon.lessons.games import EARLY, MIX, game_with_options, opening, scripted_game
from agents.avalon.lessons.questions import Expected, belief_questions, cuts, second_order_questions
from agents.avalon.lessons.soft_targets import turns
from agents.lessons import Distribution, PointQuestions, View, decisions, moderators_view
from agents.llm.transcript_context import document
from games import chance
from games.avalon.game import GAME
from games.avalon.lexicon import lexicon as load_lexicon
from games.records import Record

OPENINGS, ALL_RULES = 0.28, 0.42
"""Shares of the games: up to the first, training has openings alone; from the second on, it has seats' views alone."""
SEATS = 3
"""Number of seats' views per game."""
ASKED, SECOND_ORDER = 6, (0.1, 0.3)
"""Number of points of a game at which a seat is asked, and share of the games with questions about others' beliefs,
before and after `ALL_ASKED` of the games."""
ALL_ASKED = 0.8
SECOND_ORDER_POINTS = 2
"""Number of points with questions about others' beliefs."""


def views(index: int, seed: int, progress: float, lexicon: str, belief_share: float) -> list[View]:
    """The training texts of game `index`: `SEATS` seats' views, or early in training the moderator's.

    As with Werewolf (`agents.werewolf.lessons`), training begins with the moderator's text before anybody acts, which
    states all roles, and questions about them; it moves gradually through the moderator's views of whole games to the
    seats' views, and from small games to all rule sets. Targets are soft from the start: a seat's questions have the
    exact observer's beliefs in its seat, its own lines have its player's distribution; the true role and the actual
    line are single draws from these. With a `belief_share` of 0 no text has a question.
    """
    key = chance.key(seed, "training", index)
    blend = min(1.0, max(0.0, (progress - OPENINGS) / (ALL_RULES - OPENINGS)))
    mix = EARLY if blend < 0.5 else MIX
    settings = mix[chance.draw([share for _, share in mix], chance.mix(key))][0]
    config = GAME.configure(**settings, lexicon=lexicon)
    kind = chance.uniform(chance.key(key, "view"))
    if kind < blend:
        log, options = game_with_options(config, key >> 1)
        return seats_views(log, options, config, key, progress, belief_share)
    terms, look_ups = load_lexicon(config.lexicon).terms, chance.key(key, "look-ups")
    first = progress < OPENINGS or kind >= blend + 0.65 * (1.0 - blend)
    if first and belief_share > 0.0:
        return [moderators_view(GAME, opening(config, key >> 1), config, terms, look_ups, None)]
    log = scripted_game(config, key >> 1)
    if belief_share == 0.0:  # an opening has no targets but its questions
        return [View(document(GAME.text, log, None, config), [])]
    return [moderators_view(GAME, log, config, terms, look_ups, cuts(log, look_ups, 3))]


def seats_views(
    log: list[Record],
    options: Sequence[Sequence[Distribution]],
    config: Any,
    key: int,
    progress: float,
    belief_share: float,
) -> list[View]:
    """What some seats read and wrote, with the questions in between; `options` as in `game_with_options`."""
    seats = list(chance.shuffled(range(config.n_players), chance.key(key, "seats")))[:SEATS]
    facts = GAME.seats(config, log)
    names = tuple(fact.name for fact in facts)
    asked = [seat for seat in seats if chance.uniform(chance.key(key, "asked", seat)) < belief_share]
    points = {seat: cuts(log, chance.key(key, "questions", seat), ASKED) for seat in asked}
    deeper = chance.key(key, "deeper")
    share = SECOND_ORDER[progress >= ALL_ASKED]
    is_deeper = bool(asked) and chance.uniform(chance.key(key, "second order")) < share
    deeper_points = cuts(log, deeper, SECOND_ORDER_POINTS) if is_deeper else []
    wanted = {*deeper_points, *(point for some in points.values() for point in some)}
    wanted.update(point for seat in seats for point, _ in decisions(log, seat))
    expected = Expected(log, config, wanted)
    found = []
    for seat in seats:
        forks = list[PointQuestions]()
        if seat in asked:
            forks = belief_questions(log, seat, config, points[seat], expected)
            forks += second_order_questions(log, seat, config, deeper_points, deeper, expected)
        found.append(
            View(
                document(GAME.text, log, seat, config),
                forks,
                names[seat],
                names,
                turns(log, seat, config, options[seat], expected),
            )
        )
    return found
