"""Training text for the small model: an endless stream of games of the scripted players, seen from a seat.

Game `i` of a stream is a pure function of (seed, i), so training resumes where it stopped by its game counter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.lessons import Distribution, View, decisions, moderators_view, opens
from agents.llm.transcript_context import document
from agents.werewolf.lessons.games import EARLY, LAST_MIX, MIX, game_with_options
from agents.werewolf.lessons.questions import (
    belief_questions,
    cuts,
    expect,
    living,
    second_order_questions,
)
from agents.werewolf.lessons.soft_targets import turns
from games import chance, load_game
from games.records import Record
from games.werewolf.lexicon import lexicon as load_lexicon

OPENINGS, ALL_RULES = 0.28, 0.42
"""Shares of the games: up to the first, training has openings alone; from the second on, it has seats' views alone."""
ASKED = (4, 10)
"""Number of points of a game at which a seat is asked, before and after `ASKED_MORE` of the games."""
ASKED_MORE = 0.8
EXPECTED = 4.0
"""Number of games, in units of the curriculum's games, after which targets are soft: a question's target is the exact
observer's belief for the viewer instead of the truth, and a seat's own lines have its teacher's distribution.

Both have the same mean: the belief is the truth's mean over all games that look the same to the viewer. The truth is a
single draw, the same at every point of a game, which adds noise to every step.
"""
CHARACTERS_ASKED, CHARACTER_POINTS = 5.1, 2
"""Number of games, in the same units, after which there are questions about the others' characters, and their number of
points per game."""
SECOND_ORDER = (0.1, 0.4, 0.8, 1.0)
"""Share of the games with second-order questions: before and after `ASKED_MORE` of the games, from `CHARACTERS_ASKED`
on, and from `INFERENCE` on."""
SECOND_ORDER_POINTS = (2, 3)
"""Number of points per game with second-order questions, before and after `INFERENCE`."""
INFERENCE, VILLAGE = 7.5, 0.75
"""Number of games, in the same units, after which views need more inference: the rule sets are those of `LAST_MIX`, and
in a share `VILLAGE` of the games no view is a werewolf's, who knows the answers."""
LATER, LATER_WEIGHT = 7.93, 4
"""Number of games, in the same units, after which points from the second day on have this sampling weight, and seats
that live to see a ballot there are preferred, as village seats are."""
PLAIN = 9.2
"""Number of games, in the same units, after which plain villagers, who are told least, are preferred among those
seats."""


def views(index: int, seed: int, progress: float, lexicon: str, belief_share: float) -> list[View]:
    """The training texts of game `index`: two seats' views, or early in training the moderator's.

    `progress` is the share of the curriculum's games done, above 1 beyond them. The curriculum starts with the
    moderator's text before the first night, which states all roles, and questions about them: a model that has not
    learned to look up a name learns nothing else. From there it moves through the moderator's views of whole games to
    the seats' views, and from short games to all rule sets; it does so gradually, because a sudden change makes the
    model forget. A share `belief_share` of the seats' views has questions, at four points of the game, later ten (one
    where the seat is a werewolf, which knows the answers); in a tenth of these games, later more, also about others'
    beliefs, and from `CHARACTERS_ASKED` on about their characters. From `EXPECTED` on targets are soft: the exact
    observer's beliefs, and the player's distribution over its lines. With a share of 0 no text has a question,
    including the moderator's.
    """
    game = load_game("werewolf")
    key = chance.key(seed, "training", index)
    blend = min(1.0, max(0.0, (progress - OPENINGS) / (ALL_RULES - OPENINGS)))
    mix = EARLY if blend < 0.5 else MIX if progress < INFERENCE else LAST_MIX
    settings = mix[chance.draw([share for _, share in mix], chance.mix(key))][0]
    config = game.configure(**settings, lexicon=lexicon)
    log, options = game_with_options(config, key >> 1)
    kind = chance.uniform(chance.key(key, "view"))
    if kind >= blend:
        if belief_share == 0.0:  # an opening has no targets but its questions
            return [View(document(game.text, log, None, config), [])]
        opening = progress < OPENINGS or kind >= blend + 0.65 * (1.0 - blend)
        terms, look_ups = load_lexicon(config.lexicon).terms, chance.key(key, "look-ups")
        points = None if opening else cuts(log, look_ups, 3)
        return [moderators_view(game, log, config, terms, look_ups, points)]
    return seats_views(log, options, config, key, progress, belief_share)


def seats_views(
    log: list[Record],
    options: Sequence[Sequence[Distribution]],
    config: Any,
    key: int,
    progress: float,
    belief_share: float,
) -> list[View]:
    """What two seats read and wrote, with the questions that `views` tells of; `options` as in `game_with_options`."""
    game = load_game("werewolf")
    seats = list(chance.shuffled(range(config.n_players), chance.key(key, "seats")))
    facts = game.seats(config, log)
    inference, later = progress >= INFERENCE, progress >= LATER
    if inference and chance.uniform(chance.key(key, "village")) < VILLAGE:
        seats = [seat for seat in seats if facts[seat].role != "werewolf"]
        if later:
            second_day = next((i for i, r in enumerate(log) if opens(log, i, "ballot") and r.day > 1), 0)
            alive = living(log[:second_day], config.n_players)
            plain = progress >= PLAIN
            seats.sort(key=lambda seat: (seat not in alive, plain and facts[seat].role != "villager"))
    seats = seats[:2]
    weight = LATER_WEIGHT if later else 1
    asked = [seat for seat in seats if chance.uniform(chance.key(key, "asked", seat)) < belief_share]
    more, late, last = progress >= ASKED_MORE, progress >= EXPECTED, progress >= CHARACTERS_ASKED
    points = {
        seat: cuts(
            log,
            chance.key(key, "questions", seat),
            1 if facts[seat].role == "werewolf" else ASKED[more],
            weight,
        )
        for seat in asked
    }
    deeper, share = chance.key(key, "deeper"), SECOND_ORDER[more + last + inference]
    is_deeper = bool(asked) and chance.uniform(chance.key(key, "second order")) < share
    deeper_points = cuts(log, deeper, SECOND_ORDER_POINTS[inference], weight) if is_deeper else []
    wanted = {*deeper_points}
    characters = list[tuple[int, int]]()
    if late:
        wanted.update(*points.values(), (point for seat in seats for point, _ in decisions(log, seat)))
    if last:
        characters = [
            (point, seat)
            for seat in asked
            for point in points[seat][:CHARACTER_POINTS]
            if seat in living(log[:point], config.n_players)
        ]
    expected = expect(log, config, wanted, characters) if wanted else None
    forks = {
        seat: belief_questions(log, seat, config, points[seat], expected if late else None) for seat in asked
    }
    if expected is not None and deeper_points:
        found = second_order_questions(log, asked, config, deeper_points, deeper, expected, drawn=not late)
        forks = {seat: forks[seat] + found[seat] for seat in asked}
    names = tuple(fact.name for fact in facts)
    return [
        View(
            document(game.text, log, seat, config),
            forks.get(seat, []),
            names[seat],
            names,
            turns(log, seat, config, options[seat], expected) if late and expected is not None else [],
        )
        for seat in seats
    ]
