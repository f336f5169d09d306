"""The training data of a game: the learning seats' contexts, their own tokens, and the situation of each decision."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from games import load_game
from games.records import Decision, Event
from harness.training.selfplay.lockstep import Played
from harness.training.selfplay.settings import SelfPlayError


class Own(msgspec.Struct):
    """One decision of a learning seat that is not a fallback."""

    seq: int
    """Its seq in the game's log."""
    kind: str
    start: int
    """Index of its first token in the context."""
    end: int
    logprobs: tuple[float, ...]
    """Log-probabilities of its tokens when drawn, nats."""
    situation: str
    """The key of the baselines: `role own/others`, with the living seats of its own side and of all others."""
    advantage: float = 0.0


class LearnerContext(msgspec.Struct):
    """One learning seat's view of one game, as the model read and wrote it."""

    ids: list[int]
    own: list[Own]
    seat: int
    role: str
    game: int
    """Index of the game among those of its iteration."""
    deal: int
    opponents: str
    won: bool
    weights: str
    """Hash of the weights that drew its tokens."""
    last: str = ""
    """The situation that the game ended in."""
    passed: list[str] = []
    """The situations that the game went through, in order, without repeats."""


def contexts_of(played: Played, index: int, learners: Collection[str]) -> list[LearnerContext]:
    """The contexts of the seats whose agents learn, in order of seats; seats with only fallbacks have none.

    A fallback decision is in the context, as the seat saw it afterwards, but is not trained on. Raises SelfPlayError
    where tokens of one context were drawn by different weights.
    """
    game = load_game(played.planned.game)
    log, agents = played.log, played.planned.agents
    facts = game.seats(played.planned.config, log)
    winner = next(r.value for r in log if isinstance(r, Event) and r.kind == "outcome")
    alive = set(range(len(agents)))
    found: dict[int, LearnerContext] = {}
    for seat, name in enumerate(agents):
        if name in learners:
            fact = facts[seat]
            found[seat] = LearnerContext(
                [], [], seat, fact.role, index, played.planned.deal, played.planned.opponents,
                fact.faction == winner, "",
            )  # fmt: skip

    def situation(seat: int) -> str:
        mine = sum(facts[i].faction == facts[seat].faction for i in alive)
        return f"{facts[seat].role} {mine}/{len(alive) - mine}"

    for seat, context in found.items():
        _pass(context, situation(seat))
    for record in log:
        if isinstance(record, Event):
            if record.kind in game.exit_kinds and record.target is not None:
                alive.discard(record.target)
                for seat, context in found.items():
                    _pass(context, situation(seat))
            continue
        if record.seat in found:
            context = found[record.seat]
            _pass(context, situation(record.seat))
            _add(context, record, situation(record.seat))
    for seat, context in found.items():
        context.last = situation(seat)
    return [context for context in found.values() if context.own]


def _pass(context: LearnerContext, situation: str) -> None:
    if not context.passed or context.passed[-1] != situation:
        context.passed.append(situation)


def _add(context: LearnerContext, decision: Decision, situation: str) -> None:
    """Append a decision's tokens to its seat's context."""
    trace = decision.trace
    if trace is None:
        return
    weights = trace.model.partition("@")[2]
    if context.weights and weights != context.weights:
        raise SelfPlayError(
            f"seat {context.seat} was played by weights {context.weights} and {weights} in one game: its tokens' "
            "probabilities are not of one policy"
        )
    context.weights = weights
    if trace.continues is None:
        context.ids = []
    context.ids += trace.prompt_ids
    start = len(context.ids)
    context.ids += trace.output_ids
    if decision.fallback is None and trace.output_ids:
        context.own.append(
            Own(decision.seq, decision.kind, start, len(context.ids), trace.logprobs, situation)
        )
