"""Training text for the small model: games of the scripted players, seen from a seat, without end.

Game `i` of a stream is a pure function of (seed, i), so training resumes where it stopped by its game counter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.context import document
from agents.evidence import Evidence
from agents.scripted import STYLES, Scripted
from games import chance, load_game
from games.play import Answer, observe, play
from games.records import Event, Record, Reply
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


def scripted_game(config: Any, seed: int) -> list[Record]:
    """The log of one game between scripted players whose characters are drawn from the seed."""
    game = load_game("werewolf")
    seats = [PLAYERS[chance.draw(WEIGHTS, chance.key(seed, "cast", i))] for i in range(config.n_players)]
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


def belief_questions(log: list[Record], seat: int, config: Any, key: int) -> list[str]:
    """The lines of a view that is cut at a random record and ends in up to three belief questions, answered truly.

    Asked about other living seats, in random order, while the viewer lives.
    """
    game = load_game("werewolf")
    facts = game.seats(config, log)
    events = [
        i
        for i, r in enumerate(log)
        if isinstance(r, Event) and r.kind in ("phase", "speech", "ballot", "exile")
    ]
    seen = Evidence.empty(config.n_players)
    cut = chance.choice(events, chance.key(key, "cut")) + 1
    for record in log[:cut]:
        seen.add(record)
    others = [i for i in range(config.n_players) if i != seat and seen.alive[i]]
    lines = document(game.text, log[:cut], seat, config)
    if not seen.alive[seat]:
        return lines
    lex = load_lexicon(config.lexicon)
    asked = chance.shuffled(others, chance.key(key, "asked"))[: 1 + key % 3]
    return lines + [
        f"{facts[seat].name} believes {facts[i].name} is {lex.terms[facts[i].role]}." for i in asked
    ]


def documents(index: int, seed: int, progress: float, lexicon: str, belief_share: float) -> list[str]:
    """The texts of game `index`: every seat's view, or early in training the moderator's.

    `progress` (0 to 1) is the share of training done: the curriculum starts with short games seen by the moderator,
    where all roles are stated, then turns to seats' views, then to longer games. A share `belief_share` of the seats'
    views ends in belief questions.
    """
    game = load_game("werewolf")
    key = chance.key(seed, "training", index)
    mix = EARLY if progress < 0.05 else MIX
    settings = mix[chance.draw([share for _, share in mix], chance.mix(key))][0]
    config = game.configure(**settings, lexicon=lexicon)
    log = scripted_game(config, key >> 1)
    moderator = chance.uniform(chance.key(key, "view")) < max(0.0, 1.0 - progress / 0.1)
    views: list[int | None] = [None] if moderator else list(range(config.n_players))
    texts = []
    for seat in views:
        own = chance.key(key, "document", -1 if seat is None else seat)
        if seat is not None and chance.uniform(own) < belief_share:
            lines = belief_questions(log, seat, config, own)
        else:
            lines = document(game.text, log, seat, config)
        texts.append("\n".join(lines) + "\n")
    return texts


def stream(
    seed: int, lexicon: str, belief_share: float, games: int, start: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """(index, documents) of the games from `start` on; `games` is the number that the curriculum is laid over."""
    index = start
    while True:
        yield index, documents(index, seed, min(1.0, index / games), lexicon, belief_share)
        index += 1
