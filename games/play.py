"""The one loop that plays a game over its rules: a generator that yields what happened and what is asked."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import msgspec

from games.base import Game, IllegalAction, Observation, Outcome, ReplayError
from games.records import Decision, Event, Record, Reply, Request
from games.seat_view.views import in_log, private_key, see


class Step(msgspec.Struct, frozen=True, gc=False):
    """One turn of the loop."""

    requests: tuple[Request, ...]
    """To be answered together; empty in the last step."""
    new: tuple[Record, ...]
    """The records since the last step, in order."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A reply and the roster name of the agent that gave it."""

    reply: Reply
    agent: str = ""


def stamp(request: Request, answer: Answer, seq: int, log: Sequence[Record] = ()) -> Decision:
    """The decision that an answer to `request` becomes at `seq`.

    An agent refers to its earlier decisions by the numbers of its view; `log`, all records so far, maps the decision
    that its trace continues to its number in the log.
    """
    r, reply = request, answer.reply
    trace = reply.trace
    if trace is not None and trace.continues is not None:
        trace = msgspec.structs.replace(trace, continues=in_log(log, r.seat, trace.continues))
    return Decision(
        seq, r.seat, r.kind, reply.action, r.options, r.day, r.phase, answer.agent, reply.fallback, trace
    )


def play(
    game: Game, config: Any, seed: int, replayed: Sequence[Record] = ()
) -> Generator[Step, Sequence[Answer], Outcome]:
    """Play one game: yields `Step`s, is sent one `Answer` per request in order, returns the outcome.

    With `replayed`, the first records of an earlier log of the same (config, seed), the rules are folded over its
    decisions first; the first step then holds the records after it. A wave of decisions that the log holds only in
    part (the journal was cut in the middle of it) is asked again as a whole.

    Raises:
        ReplayError: the rules give other events than `replayed` holds.
        IllegalAction: an answer is outside what its request allows.
    """
    state, log = fold(game, config, seed, replayed)
    new: tuple[Record, ...] = tuple(log[len(replayed) :])
    seq = len(log)
    while requests := game.to_act(state):
        answers = yield Step(requests, new)
        decisions = []
        for request, answer in zip(requests, answers, strict=True):
            decisions.append(stamp(request, answer, seq, log))
            seq += 1
        state, events = game.apply(state, decisions)
        new = (*decisions, *events)
        log += new
        seq += len(events)
    outcome = game.outcome(state)
    if outcome is None:
        raise ReplayError(f"{game.name}: the game asks nobody and has no outcome at seq {seq}")
    yield Step((), new)
    return outcome


def _check(log: list[Record], replayed: Sequence[Record]) -> None:
    """Raises ReplayError where the log that the rules give and `replayed` differ."""
    for ours, theirs in zip(log, replayed, strict=False):
        if ours != theirs:
            raise ReplayError(
                f"record {ours.seq} of the log is {theirs!r}, but the rules give {ours!r}: "
                "the log was made by other rules, another configuration or another seed, or was edited"
            )
    extra = [r for r in replayed[len(log) :] if isinstance(r, Event)]
    if extra:
        raise ReplayError(f"the log holds {extra[0]!r}, but the rules end at seq {len(log) - 1}")


def waves(
    game: Game, config: Any, seed: int, records: Sequence[Record]
) -> Iterator[tuple[tuple[Request, ...], list[Decision], Sequence[Record]]]:
    """(requests, their decisions, the records before they were asked), for each whole wave of a sound log."""
    steps = play(game, config, seed)
    step = next(steps)
    at = 0
    while step.requests:
        at += len(step.new)
        wave = [r for r in records[at : at + len(step.requests)] if isinstance(r, Decision)]
        if len(wave) < len(step.requests):
            return
        yield step.requests, wave, records[:at]
        step = steps.send([Answer(Reply(d.action)) for d in wave])  # the rules use nothing else of a decision


def fold(game: Game, config: Any, seed: int, records: Sequence[Record]) -> tuple[Any, list[Record]]:
    """The state after the decisions of `records`, and the log that the rules give for them.

    Raises ReplayError where that log and `records` differ, IllegalAction where a decision is not legal.
    """
    state, events = game.start(config, seed)
    log: list[Record] = list(events)
    past = [r for r in records if isinstance(r, Decision)]
    while (requests := game.to_act(state)) and len(past) >= len(requests):
        wave, past = past[: len(requests)], past[len(requests) :]
        log += wave
        try:
            state, events = game.apply(state, wave)
        except IllegalAction:
            _check(log, records)  # for another game's log, its first difference is the better message
            raise
        log += events
    _check(log, records)
    return state, log


def observe(
    game: Game, game_id: str, config: Any, seed: int, records: Sequence[Record], request: Request
) -> Observation:
    """What the request's seat may see of the log `records`, in the view's own numbers (`games.seat_view`), and its own
    random key for this decision.

    The plain definition: it reads the whole log each time. `games.seat_view.views.Views` gives the same, record by
    record.
    """
    seen = see(records, request.seat)
    return Observation(
        game_id=game_id,
        game=game.name,
        config=config,
        request=request,
        records=seen,
        seed=private_key(seed, request.seat, len(seen)),
    )
