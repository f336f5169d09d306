"""Training text for the small model: games of the scripted players, seen from a seat, without end.

Game `i` of a stream is a pure function of (seed, i), so training resumes where it stopped by its game counter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from agents.beliefs import gone
from agents.context import document
from agents.observer import Mix, Observer
from agents.scripted import STYLES, Scripted
from games import chance, load_game
from games.base import SeatFacts
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
EXPECTED = 4.0
"""Games, in units of those that the curriculum is laid over, after which a question's answer is no longer the truth
but what the exact observer expects of it in the viewer's place.

Both teach the same on average: that expectation is the truth's mean over all games that look like this to the viewer.
But the truth is one draw, and the same one at every point of a game, and by then most of a step's direction was its
chance (the answers improved most while the learning rate fell, which averages chance out).
"""
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
    asked: list[tuple[str, dict[str, float]]]
    """(rest of the question, the probability of each answer)."""


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


def belief_questions(
    log: list[Record], seat: int, config: Any, key: int, n_cuts: int, expected: bool = False
) -> list[Fork]:
    """What the seat is asked while it lives: the role of each living other, answered with the truth, or with what the
    exact observer expects of it."""
    game = load_game("werewolf")
    facts = game.seats(config, log)
    terms = load_lexicon(config.lexicon).terms
    observer = Observer("exact", config, MIXTURE) if expected else None
    forks = []
    read = 0
    for cut in sorted(cuts(log, key, n_cuts)):
        alive = living(log[:cut], config.n_players)
        if seat not in alive:
            break
        answers = {i: {terms[facts[i].role]: 1.0} for i in alive if i != seat}
        if observer is not None:
            for record in log[read:cut]:
                observer.update(record)
            read = cut
            beliefs = observer.beliefs(seat)
            answers = {i: in_words(beliefs[i], observer.roles, terms) for i in answers}
        n_lines = len(document(game.text, log[:cut], seat, config))
        forks.append(Fork(n_lines, facts[seat].name, [(facts[i].name, p) for i, p in answers.items()]))
    return forks


def in_words(p: np.ndarray, roles: Sequence[str], terms: Mapping[str, str]) -> dict[str, float]:
    """Probabilities `(n_roles,)` by the role's word; impossible roles are left out."""
    p = np.maximum(p, 0.0) / np.maximum(p, 0.0).sum()
    return {terms[role]: float(x) for role, x in zip(roles, p, strict=True) if x > 0.0}


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


def second_order_questions(
    log: list[Record], seats: Sequence[int], config: Any, key: int, n_cuts: int, expected: bool = False
) -> dict[int, list[Fork]]:
    """What each seat is asked of the beliefs of each living other about all living.

    The answer is what the exact observer believes in the other's place, or a role drawn from that, so that a well
    calibrated answer is what the viewer expects of that belief.
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
                        p = beliefs[j, k]
                        if not expected:
                            drawn = chance.draw(
                                np.maximum(p, 0.0).tolist(), chance.key(key, "answer", cut, seat, j, k)
                            )
                            p = np.eye(len(p))[drawn]
                        answer = in_words(p, observer.roles, terms)
                        asked.append((f"{facts[j].name} believes {facts[k].name}", answer))
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
