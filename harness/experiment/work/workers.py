"""The protocol of an experiment's workers, and the one worker of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from harness.experiment.moments import Moment
from harness.experiment.work.worker import Rows, Worker
from harness.play.progress import clock

Todo = Sequence[tuple[Moment, Any]]
"""Moments, each with its input beyond the folder's content."""


class Workers(Protocol):
    """Workers at the moments of one experiment."""

    def each(self, what: str, todo: Todo) -> Iterator[tuple[Moment, Rows]]:
        """The rows of every moment (`Worker.do`), as they come. Raises whatever the work raises."""
        ...


class Here:
    """One worker in this process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def each(self, what: str, todo: Todo) -> Iterator[tuple[Moment, Rows]]:
        """As `Workers.each`, in the order of `todo`."""
        for moment, given in todo:
            yield moment, self.worker.do(what, moment, given)


class Left:
    """Reports progress and the remaining time."""

    def __init__(self, what: str, n_done: int, n_all: int, say: Callable[[str], None]) -> None:
        """what: in words; n_done: moments that were done before."""
        self.what, self.n_done, self.n_all, self.say = what, n_done, n_all, say
        self.began, self.before = time.monotonic(), n_done

    def add(self, n: int = 1) -> None:
        """Count `n` more moments as done."""
        self.n_done += n
        spent = time.monotonic() - self.began
        left = spent / (self.n_done - self.before) * (self.n_all - self.n_done)
        self.say(f"{self.what}{self.n_done:,} of {self.n_all:,} moments; about {clock(left)} left")
