"""Training text for the small model: games of the scripted players, seen from a seat, without end.

Game `i` of a stream is a pure function of (seed, i), so training resumes where it stopped by its game counter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from agents.beliefs import gone
from agents.context import document
from agents.observer import Mix, Observer
from agents.scripted import STYLES, Scripted
from games import chance, load_game
from games.play import Answer, observe, play
from games.records import Decision, Event, Record, Reply
from games.werewolf.lexicon import lexicon as load_lexicon

FIVE = {"preset": "custom", "roles": {"werewolf": 1, "seer": 1, "villager": 3}, "reveal_night": "role",
        "reveal_day": "role", "ballot_abstain": True}  # fmt: skip
EARLY: tuple[tuple[dict[str, Any], float], ...] = (
    (FIVE, 0.6),
    ({"preset": "probe-6", "speech_rounds": 1}, 0.4),
)
"""Short games, with which training begins."""
MIX: tuple[tuple[dict[str, Any], float], ...] = (
    (FIVE, 0.12),
    ({"preset": "probe-6"}, 0.2),
    ({"preset": "classic-7"}, 0.4),
    ({"preset": "kaggle-7"}, 0.1),
    ({"preset": "aiwolf-5"}, 0.04),
    ({"preset": "foaster-6"}, 0.04),
    ({"preset": "xu-7"}, 0.04),
    ({"preset": "secretmafia-7", "speech_rounds": 1}, 0.03),
    ({"preset": "arena-8"}, 0.03),
)
"""All rule sets of the main part of training, with their shares."""
PLAYERS = tuple(Scripted(name, name) for name in (*STYLES, "random"))
WEIGHTS = (*(1.0 for _ in STYLES), 0.1)
MIXTURE: Mix = dict(zip((player.name for player in PLAYERS), WEIGHTS, strict=True))
"""The characters from which every seat is drawn, as the observers take them."""
OPENINGS, ALL_RULES = 0.28, 0.42
"""Shares of the games at which training leaves the openings, and at which it has come to the seats' views alone."""
ASKED = (4, 10)
"""Points of a game at which a seat's view is asked, before and after `ASKED_MORE` of the games."""
ASKED_MORE = 0.8
SECOND_ORDER = (0.1, 0.4)
"""Share of the games whose views are also asked what others believe, before and after `ASKED_MORE` of the games."""


def cast(config: Any, seed: int) -> list[Scripted]:
    """The player of each seat, drawn from the seed."""
    return [PLAYERS[chance.draw(WEIGHTS, chance.key(seed, "cast", i))] for i in range(config.n_players)]


def scripted_game(config: Any, seed: int) -> list[Record]:
    """The log of one game between scripted players whose characters are drawn from the seed."""
    game = load_game("werewolf")
    seats = cast(config, seed)
    loop = play(game, config, seed)
    log: list[Record] = []
    step = next(loop)
    while True:
        log += step.new
        if not step.requests:
            return log
        answers = []
        for request in step.requests:
            observation = observe(game, "", config, seed, log, request)
            answers.append(Answer(Reply(seats[request.seat].choose(observation)), seats[request.seat].name))
        step = loop.send(answers)


class Fork(msgspec.Struct, frozen=True):
    """Questions asked at one point of a view, each of them as if the others were not."""

    n_lines: int
    """How many lines of the view were read before."""
    viewer: str
    """Name of the seat that is asked; every question begins with `NAME believes`."""
    asked: list[tuple[str, str]]
    """(rest of the question, the answer)."""


class View(msgspec.Struct, frozen=True):
    """What one seat reads and writes in a game, and the questions on the way."""

    lines: list[str]
    forks: list[Fork]
    name: str = ""
    """The seat's name; empty for the moderator."""


def opens_ballot(log: Sequence[Record], i: int) -> bool:
    """Whether record `i` is the first decision of a ballot."""
    record = log[i]
    before = log[i - 1] if i else None
    return (
        isinstance(record, Decision)
        and record.kind == "ballot"
        and not (isinstance(before, Decision) and before.kind == "ballot")
    )


def cuts(log: list[Record], key: int, n: int) -> list[int]:
    """Up to `n` points of a log at which to ask: half of them before a ballot is cast, the others anywhere by day."""
    ballots, others = list[int](), list[int]()
    for i, record in enumerate(log):
        if opens_ballot(log, i):
            ballots.append(i)
        elif isinstance(record, Event) and record.kind in ("phase", "speech", "ballot", "exile"):
            others.append(i + 1)
    chosen = chance.shuffled(ballots, chance.key(key, "ballots"))[: (n + 1) // 2]
    return [*chosen, *chance.shuffled(others, chance.key(key, "others"))[: n - len(chosen)]]


def belief_questions(log: list[Record], seat: int, config: Any, key: int, n_cuts: int) -> list[Fork]:
    """What the seat is asked while it lives: the role of each living other, answered with the truth."""
    game = load_game("werewolf")
    facts = game.seats(config, log)
    terms = load_lexicon(config.lexicon).terms
    forks = []
    for cut in cuts(log, key, n_cuts):
        alive = living(log[:cut], config.n_players)
        if seat in alive:
            n_lines = len(document(game.text, log[:cut], seat, config))
            asked = [(facts[i].name, terms[facts[i].role]) for i in alive if i != seat]
            forks.append(Fork(n_lines, facts[seat].name, asked))
    return forks


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
        asked = [(fact.name, terms[fact.role]) for i, fact in enumerate(facts) if i != viewer]
        forks.append(Fork(n_lines, facts[viewer].name, asked))
    return View(lines[:first] if opening else lines, forks)


def second_order_questions(
    log: list[Record], seats: Sequence[int], config: Any, key: int, n_cuts: int
) -> dict[int, list[Fork]]:
    """What each seat is asked of the beliefs of each living other about all living.

    The answer is a role drawn from what the exact observer believes in the other's place, so that a well calibrated
    answer is what the viewer expects of that belief.
    """
    game = load_game("werewolf")
    facts = game.seats(config, log)
    terms = load_lexicon(config.lexicon).terms
    observer = Observer("exact", config, MIXTURE)
    forks: dict[int, list[Fork]] = {seat: [] for seat in seats}
    read = 0
    for cut in sorted(cuts(log, key, n_cuts)):
        for record in log[read:cut]:
            observer.update(record)
        read = cut
        alive = living(log[:cut], config.n_players)
        beliefs = observer.all_beliefs()
        for seat in seats:
            if seat not in alive:
                continue
            asked = []
            for j in alive:
                for k in alive:
                    if j != k and seat != j:
                        p = np.maximum(beliefs[j, k], 0.0)
                        role = observer.roles[
                            chance.draw(p.tolist(), chance.key(key, "answer", cut, seat, j, k))
                        ]
                        asked.append((f"{facts[j].name} believes {facts[k].name}", terms[role]))
            some = list(chance.shuffled(asked, chance.key(key, "asked", cut, seat))[:8])
            forks[seat].append(
                Fork(len(document(game.text, log[:cut], seat, config)), facts[seat].name, some)
            )
    return forks


def living(log: Sequence[Record], n: int) -> list[int]:
    """The seats that are alive after these records."""
    out = gone(load_game("werewolf"), log)
    return [i for i in range(n) if i not in out]


def views(index: int, seed: int, progress: float, lexicon: str, belief_share: float) -> list[View]:
    """The training texts of game `index`: two seats' views, or early in training the moderator's.

    `progress` (0 to 1) is the share of games done. The curriculum starts with what the moderator reads before the
    first night, where all roles are stated, and questions about them: a model that has not learned to look up a
    name learns nothing else. From there it goes gradually, as what was learned is lost by a sudden change, through
    the moderator's views of whole games to the seats' views, and from short games to all rule sets. In a share
    `belief_share` of the seats' views questions are asked on the way, at four points of the game, later ten (one where
    the seat is a werewolf, which knows the answers); in a tenth of the games that are asked about, later two fifths,
    also about others' beliefs. With a share of 0 no text holds a question, the moderator's neither.
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
    more = progress >= ASKED_MORE
    if asked and chance.uniform(chance.key(key, "second order")) < SECOND_ORDER[more]:
        deeper = second_order_questions(log, asked, config, chance.key(key, "deeper"), 2)
    facts = game.seats(config, log)
    found = []
    for seat in seats:
        points = 1 if facts[seat].role == "werewolf" else ASKED[more]
        n_cuts = points if seat in asked else 0
        forks = belief_questions(log, seat, config, chance.key(key, "questions", seat), n_cuts)
        lines = document(game.text, log, seat, config)
        found.append(View(lines, forks + deeper.get(seat, []), facts[seat].name))
    return found


def stream(
    seed: int, lexicon: str, belief_share: float, games: int, start: int = 0
) -> Iterator[tuple[int, list[View]]]:
    """(index, views) of the games from `start` on; `games` is the number that the curriculum is laid over."""
    index = start
    while True:
        yield index, views(index, seed, min(1.0, index / games), lexicon, belief_share)
        index += 1
