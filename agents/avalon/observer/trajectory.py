"""Beliefs over the course of a game."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from agents.avalon.observer.posterior import Observer
from games.records import Event, Record


class Trajectory(msgspec.Struct):
    """Beliefs after every public event of one game."""

    seq: np.ndarray
    """The event's seq in the log `(n_events,)`."""
    day: np.ndarray
    """The mission of each event `(n_events,)`."""
    kind: list[str]
    p: np.ndarray
    """`(n_events, n_viewers, n_seats, n_roles)`; NaN for viewers whose role the records do not tell."""


def trajectories(observer: Observer, records: Iterable[Record]) -> Trajectory:
    """Feed a fresh observer with a game's records and keep all viewers' beliefs after every public event."""
    seq, day, kinds, p = list[int](), list[int](), list[str](), list[np.ndarray]()
    for record in records:
        if not observer.update(record) or not isinstance(record, Event) or record.kind == "setup":
            continue
        seq.append(record.seq)
        day.append(record.day)
        kinds.append(record.kind)
        p.append(observer.all_beliefs())
    return Trajectory(np.array(seq), np.array(day), kinds, np.array(p))
