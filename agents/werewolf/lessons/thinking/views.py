"""Training text of the thinking model: seats' views of games, and what a seat thinks before decisions of its own.

A thought is on a fork of the view: no later text contains it. After it come the decision, with the same targets as
without a thought (its player's distribution, with advantage weights from the exact belief), and questions for the
seat's belief. Both have targets that do not depend on the written thought.

The belief follows a second time in another order, with the exact observer's numbers as targets: looking up one player
in a line is a skill of its own, which the small loss reduction in decisions teaches slowly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from agents.lessons import Turn, View, decisions, in_words
from agents.llm.transcript_context import document
from agents.llm.written.line import Kind, Line, n_words, opening, written
from agents.werewolf.lessons import curriculum
from agents.werewolf.lessons.curriculum import VILLAGE
from agents.werewolf.lessons.games import LAST_MIX, game_with_options
from agents.werewolf.lessons.questions import belief_questions, cuts, living
from agents.werewolf.lessons.soft_targets import turns
from agents.werewolf.lessons.thinking.evidence import Followed, follow, line_at
from agents.werewolf.scripted import Distribution
from games import chance, load_game
from games.records import Record
from games.werewolf.lexicon import lexicon as load_lexicon

REHEARSED, LATE = 0.05, 12.0
"""Share of the games whose views and questions are those of the small model's own training, and how far that is."""
SHARES: dict[Kind, float] = {"steps": 0.6, "belief": 0.45, "filler": 0.15}
"""Share of a seat's decisions before which it thinks in each way, each drawn by itself; before a ballot it always does
so by `BALLOTS`."""
BALLOTS: tuple[Kind, ...] = ("steps", "belief")
N_VIEWS, N_POINTS, N_ASKED = 3, 3, 3
"""Seats of a game that are trained on, points at which one is asked without a thought, questions after a thought."""
LONGEST_FILLER = 64


class Thought(msgspec.Struct, frozen=True):
    """What a seat thinks before one of its decisions."""

    kind: Kind
    n_lines: int
    """How many lines of the view were read before."""
    given: str
    """What is given of the thought: its opening, and filler as a whole."""
    written: str
    """What is to be written; empty for filler."""
    turn: Turn
    """The decision that follows."""
    line: str
    """Its line, as the game went."""
    again: tuple[str, str]
    """The belief a second time, in another order: an opening, and what is to be written behind the thought and it; both
    empty for filler."""
    asked: list[tuple[str, dict[str, float]]]
    """Questions for the seat's belief after the thought, each as if it were asked alone: (`Ada believes Ben`, the
    probability of each answer)."""


class Thinker(msgspec.Struct, frozen=True):
    """One seat's view with its thoughts."""

    view: View
    thoughts: list[Thought] = []


def views(index: int, seed: int, lexicon: str, preset: str | None = None) -> list[Thinker]:
    """The training texts of game `index`, a pure function of (seed, index).

    preset: the only rule set, in place of those of the small model's last training (`LAST_MIX`); then nothing of that
    training is rehearsed.
    """
    game = load_game("werewolf")
    key = chance.key(seed, "thinking", index)
    if preset is None and chance.uniform(chance.key(key, "rehearsed")) < REHEARSED:
        return [Thinker(view) for view in curriculum.views(index, seed, LATE, lexicon, 1.0)]
    settings: dict[str, Any] = {"preset": preset}
    if preset is None:
        settings = LAST_MIX[chance.draw([share for _, share in LAST_MIX], chance.mix(key))][0]
    config = game.configure(**settings, lexicon=lexicon)
    log, options = game_with_options(config, key >> 1)
    return thinkers(log, options, config, key)


def thinkers(
    log: list[Record], options: Sequence[Sequence[Distribution]], config: Any, key: int
) -> list[Thinker]:
    """What some seats read, thought and wrote; `options` as in `game_with_options`."""
    game = load_game("werewolf")
    facts = game.seats(config, log)
    names = tuple(fact.name for fact in facts)
    seats = list(chance.shuffled(range(config.n_players), chance.key(key, "seats")))
    if chance.uniform(chance.key(key, "village")) < VILLAGE:
        seats = [seat for seat in seats if facts[seat].role != "werewolf"]
    seats = seats[:N_VIEWS]
    points = {seat: cuts(log, chance.key(key, "questions", seat), N_POINTS) for seat in seats}
    wanted = {*(i for at in points.values() for i in at), *(i for s in seats for i, _ in decisions(log, s))}
    followed = follow(log, config, wanted, names)
    found = []
    for seat in seats:
        own = turns(log, seat, config, options[seat], followed.expected)
        forks = belief_questions(log, seat, config, points[seat], followed.expected)
        view = View(document(game.text, log, seat, config), forks, names[seat], names, own)
        found.append(
            Thinker(
                view, list(thoughts(followed, log, seat, view, config, chance.key(key, "thoughts", seat)))
            )
        )
    return found


def thoughts(
    followed: Followed, log: Sequence[Record], seat: int, view: View, config: Any, key: int
) -> Iterator[Thought]:
    """A seat's thoughts before its decisions, in their order; which, is drawn from `key`."""
    terms = load_lexicon(config.lexicon).terms
    for (point, decision), turn in zip(decisions(log, seat), view.turns, strict=True):
        others = [j for j in living(log[:point], config.n_players) if j != seat]
        ballot = decision.kind == "ballot"
        kinds = [
            kind
            for kind, share in SHARES.items()
            if (ballot and kind in BALLOTS) or chance.uniform(chance.key(key, kind, point)) < share
        ]
        for kind in kinds:
            mine = chance.key(key, f"line of {kind}", point)
            order = chance.shuffled(others, mine)
            line = line_at(followed, log, point, seat, order, view.names)
            given, text, again = opening(view.name, kind, [view.names[j] for j in order]), "", ("", "")
            if kind == "filler":
                given += written(kind, line, n_filler(line, mine))
            else:
                text = written(kind, line)
                turned = [view.names[j] for j in chance.shuffled(order, chance.key(mine, "again"))]
                belief = Line((), {name: line.belief[name] for name in turned})
                again = (opening(view.name, "belief", turned), written("belief", belief))
            beliefs = followed.expected.beliefs[point][seat]
            asked = [
                (
                    f"{view.name} believes {view.names[j]}",
                    in_words(beliefs[j], followed.expected.roles, terms),
                )
                for j in chance.shuffled(others, chance.key(mine, "asked"))[:N_ASKED]
            ]
            yield Thought(kind, turn.line, given, text, turn, view.lines[turn.line], again, asked)


def n_filler(line: Any, key: int) -> int:
    """How many words of filler: as many as the line would have with its steps or with its belief alone, or any."""
    drawn = chance.uniform(chance.key(key, "length"))
    if drawn < 0.5:
        return n_words(written("steps", line)) - 1
    if drawn < 0.75:
        return n_words(written("belief", line)) - 1
    return 1 + chance.key(key, "filler") % LONGEST_FILLER
