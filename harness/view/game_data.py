"""A page's data of one game: the compact log, with the truth of each statement, as plain JSON.

Keys are short because there are thousands of pages. A record is an event or, with `D`, a decision:
`s` seq, `k` kind, `d` day, `p` phase, `g` group, `a` actor or deciding seat, `t` target, `v` value, `x` text, `c` typed
acts `[kind, subject, role, label]`, `u` audience (absent: everyone), `l` the line that readers read (`o`: its actor's
own line, where that differs), `m` the moderator's line where there are no words, `q` the decision that an event
repeats, `e` the event that repeats a decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from games.records import Decision, Event, SpeechAct, Trace
from harness.replay.replay import Replay

LONGEST = 200_000
"""Most characters of one text in a page; the run folder holds the whole text."""


def game_records(replay: Replay, first: int = 0) -> list[dict[str, Any]]:
    """The records from `first` on, as above."""
    exits = replay.game.exit_kinds
    repeats = {decision: event for event, decision in replay.echoes.items()}
    moderator = {m.seq: m.line for m in replay.moments()}
    labels = {(s.seq, s.act): s.label for rows in replay.statements.values() for s in rows}
    rows = []
    for record in replay.records:
        if record.seq < first:
            continue
        if isinstance(record, Decision):
            row = _decision(replay, record, labels)
            if record.seq in repeats:
                row["e"] = repeats[record.seq]
        else:
            row = _event(replay, record, moderator.get(record.seq), exits)
            if record.seq in replay.echoes:
                source = replay.echoes[record.seq]
                row["q"] = source
                if "c" in row:
                    row["c"] = _acts(record.acts, labels, source)
        rows.append(row)
    return rows


def _event(replay: Replay, event: Event, moderator: str | None, exits: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"s": event.seq, "k": event.kind, "d": event.day, "p": event.phase}
    row["g"] = (
        "death" if event.kind in exits else "ballot" if event.kind.endswith("ballot") else
        "outcome" if event.kind == "outcome" else ""
    )  # fmt: skip
    given = {"a": event.actor, "t": event.target, "v": event.value}
    row |= {key: value for key, value in given.items() if value is not None}
    if event.text is not None:
        row["x"] = cut(event.text)
    if event.acts:
        row["c"] = _acts(event.acts, {}, event.seq)
    if event.audience is not None:
        row["u"] = list(event.audience)
    shared = replay.line(event, None)
    if shared is not None:
        row["l"] = shared
    elif moderator is not None:
        row["m"] = moderator
    if event.actor is not None and (event.audience is None or event.actor in event.audience):
        own = replay.line(event, event.actor)
        if own != shared:
            row["o"] = own
    return row


def _decision(replay: Replay, decision: Decision, labels: Mapping[tuple[int, int], str]) -> dict[str, Any]:
    action = decision.action
    row: dict[str, Any] = {
        "s": decision.seq,
        "D": 1,
        "k": decision.kind,
        "d": decision.day,
        "p": decision.phase,
        "g": "",
        "a": decision.seat,
        "l": replay.line(decision, decision.seat),
        "ag": decision.agent,
    }
    if action.option is not None:
        row["op"] = action.option
    if decision.options:
        row["os"] = list(decision.options)
    if action.acts:
        row["c"] = _acts(action.acts, labels, decision.seq)
    if decision.seq not in replay.echoes.values() and action.text:
        row["x"] = cut(action.text)
    if decision.fallback is not None:
        row["fb"] = decision.fallback
    if decision.trace is not None:
        row["tr"] = _trace(decision.trace)
    return row


def _trace(trace: Trace) -> dict[str, Any]:
    n = len(trace.logprobs)
    return {
        "model": trace.model,
        "n_prompt": len(trace.prompt_ids),
        "n_cached": trace.n_cached,
        "n_output": len(trace.output_ids),
        "mean_logprob": sum(trace.logprobs) / n if n else None,
        "attempts": trace.attempts,
        "output": cut(trace.output_text),
        "rejected": [cut(reply) for reply in trace.rejected],
        "reasoning": None if trace.reasoning is None else cut(trace.reasoning),
        "sampling": trace.sampling,
    }


def _acts(
    acts: Sequence[SpeechAct], labels: Mapping[tuple[int, int], str], seq: int
) -> list[tuple[str, int | None, str | None, str]]:
    return [(a.kind, a.subject, a.role, labels.get((seq, i), "none")) for i, a in enumerate(acts)]


def cut(text: str) -> str:
    """The text, or its beginning with a note of how long it is."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]} [... cut here: {len(text):,} characters, all of them are in the run folder]"


def seat_rows(replay: Replay, seats: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cast; `seats` are the game's rows of the `seats` table, in seat order (empty for an unfinished game)."""
    exits = replay.game.exit_kinds
    left = {
        r.target: (r.seq, r.kind)
        for r in replay.records
        if isinstance(r, Event) and r.kind in exits and r.target is not None and r.target >= 0
    }
    agents = {r.seat: r.agent for r in reversed(replay.records) if isinstance(r, Decision)}
    return [
        {
            "name": fact.name,
            "role": fact.role,
            "faction": fact.faction,
            "agent": seats[i]["agent"] if seats else agents.get(i, ""),
            "model": seats[i]["model"] if seats else None,
            "exit": left[i][0] if i in left else None,
            "won": seats[i]["won"] if seats else None,
        }
        for i, fact in enumerate(replay.seats)
    ]
