"""Beliefs over the course of a game, and how much one utterance moves them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from agents.werewolf.observer.posterior import Observer
from agents.werewolf.observer.second_order import all_second_order
from games.records import Event, Record, SpeechAct


class Trajectory(msgspec.Struct):
    """Beliefs after every public event of one game."""

    seq: np.ndarray
    """The event's seq in the log `(n_events,)`."""
    day: np.ndarray
    kind: list[str]
    alive: np.ndarray
    """bool `(n_events, n_seats)`."""
    revealed: np.ndarray
    """bool `(n_events, n_seats)`: something of the seat's role was shown to all."""
    p: np.ndarray
    """`(n_events, n_viewers, n_seats, n_roles)`; NaN for viewers whose role the records do not tell."""
    second: np.ndarray | None = None
    """`(n_events, n_viewers, n_seats, n_seats)`: what the viewer expects j to believe of k being a werewolf."""


def trajectories(observer: Observer, records: Iterable[Record], second_order: bool = False) -> Trajectory:
    """Feed a fresh observer with a game's records and keep all viewers' beliefs after every public event."""
    seq, day, kinds, alive, revealed, p, second = [], [], [], [], [], [], []
    for record in records:
        if not observer.update(record) or not isinstance(record, Event) or record.kind == "setup":
            continue
        seq.append(record.seq)
        day.append(record.day)
        kinds.append(record.kind)
        alive.append(list(observer.seen.alive))
        revealed.append([shown is not None for shown in observer.seen.revealed])
        p.append(observer.all_beliefs())
        if second_order:
            second.append(all_second_order(observer))
    return Trajectory(
        np.array(seq), np.array(day), kinds, np.array(alive), np.array(revealed), np.array(p),
        np.array(second) if second_order else None,
    )  # fmt: skip


class Shift(msgspec.Struct, frozen=True):
    """The change of one listener's belief by an utterance, and by alternatives that the speaker could have said."""

    before: np.ndarray
    """The listener's probability `(n_seats,)` that each seat is a werewolf, before the utterance."""
    after: np.ndarray
    """The same after the utterance."""
    alternatives: np.ndarray
    """After each alternative `(n_alternatives, n_seats)`; NaN for one that has probability zero."""
    nats: float
    """Kullback-Leibler divergence of the listener's belief over whole role assignments, after against before."""

    @property
    def change(self) -> np.ndarray:
        """after - before `(n_seats,)`."""
        return self.after - self.before

    def advantage(self, seats: Sequence[int]) -> float:
        """How much less suspect `seats` are on average than after the average alternative.

        With a faction's seats this is the faction's gain from the utterance. NaN without a possible alternative.
        """
        possible = self.alternatives[~np.isnan(self.alternatives).any(1)]
        if not len(possible):
            return float("nan")
        mine = list(seats)
        return float((possible[:, mine].mean(0) - self.after[mine]).mean())


def belief_shift(
    observer: Observer,
    utterance: Event,
    listener: int | None,
    alternatives: Sequence[Sequence[SpeechAct]] = (),
) -> Shift:
    """The shift of a listener's belief that a public speech causes, and that of alternatives in its place.

    `observer` has taken in all records before `utterance` (it is not changed); `listener` None is an outsider.
    For strategic deception give the truthful alternatives that the speaker had: `truthful`.
    """

    def assignments(o: Observer) -> np.ndarray:
        w = (o.weights() if listener is None else o.weights_of(listener)).sum(1)
        out: np.ndarray = w / w.sum()
        return out

    def heard(acts: Sequence[SpeechAct]) -> Observer | None:
        fork = observer.fork()
        try:
            fork.update(msgspec.structs.replace(utterance, acts=tuple(acts)))
            fork.p_werewolf(listener)
        except ValueError:
            return None
        return fork

    said = heard(utterance.acts)
    before = observer.p_werewolf(listener)
    nothing = np.full(observer.n, np.nan)
    nats = float("nan")
    if said is not None:
        # Worlds that an utterance rules out keep their place: rows are indices of all worlds.
        p = np.zeros(len(observer.world_weights.worlds.assignments))
        q = p.copy()
        p[said.world_weights.rows], q[observer.world_weights.rows] = assignments(said), assignments(observer)
        some = p > 0
        nats = float((p[some] * np.log(p[some] / q[some])).sum())
    others = [heard(acts) for acts in alternatives]
    after = [nothing if o is None else o.p_werewolf(listener) for o in others]
    return Shift(
        before,
        nothing if said is None else said.p_werewolf(listener),
        np.array(after).reshape(len(after), observer.n),
        nats,
    )


def truthful(
    roles: Sequence[str], speaker: int, living: Sequence[int], results: Sequence[tuple[int, bool]] = ()
) -> list[tuple[SpeechAct, ...]]:
    """Truthful speeches that a speaker had: silence, an accusation of a werewolf or a defence of another, as far as it
    knows them, and a seer's results.

    `roles` is the truth; a werewolf knows all of it, others their own inspections `results` (seat, is a werewolf).
    """
    known = dict(results)
    if roles[speaker] == "werewolf":
        known = {j: roles[j] == "werewolf" for j in living}
    out: list[tuple[SpeechAct, ...]] = [()]
    out += [
        (SpeechAct("accuse" if known[j] else "defend", j),) for j in living if j != speaker and j in known
    ]
    if roles[speaker] == "seer" and results:
        claim = SpeechAct("claim_role", role="seer")
        told = (SpeechAct("report_inspection", j, "werewolf" if wolf else "human") for j, wolf in results)
        out.append((claim, *told))
    return out
