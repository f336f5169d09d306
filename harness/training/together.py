"""Processes that train one model side by side: each on games of its own, all by the gradient of them all.

A second thread hardly helps a model of this size; a second process takes as many tokens again.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from harness.errors import WolfscopeError
from harness.machine import cores
from harness.orphans import end_with_parent

HOST = "127.0.0.1"
PATIENCE = dt.timedelta(minutes=10)
"""How long a process waits for the others: longer than any of them makes its first games."""


class Together:
    """One of the processes: its `rank` among `size`; the first one (rank 0) writes, and says how far they are."""

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None) -> None:
        """store: of torch.distributed, the same for all; none where a process trains alone."""
        self.rank, self.size = rank, size
        self._group: Any = None
        if size > 1:
            from torch.distributed import ProcessGroupGloo

            self._group = ProcessGroupGloo(store, rank, size, PATIENCE)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of the values over all processes."""
        if self._group is not None:
            values = values.clone()
            self._group.allreduce([values]).wait()
        return values

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Each parameter's gradient becomes the sum of all processes' gradients."""
        if self._group is None:
            return
        own = [p.grad for p in parameters if p.grad is not None]
        sums = self.total(torch.cat([gradient.flatten() for gradient in own]))
        for gradient, part in zip(own, sums.split([g.numel() for g in own]), strict=True):
            gradient.copy_(part.view_as(gradient))


ALONE = Together()


def silent(text: str) -> None:
    """Says nothing."""


def train_together(
    learn: Callable[..., None], processes: int, device: str, say: Callable[[str], None]
) -> None:
    """Call `learn(together=..., say=...)` in that many processes, this one the first; a silent `say` in the others.

    learn: can be imported by a new process (a function of a module, or a `partial` of one). Raises WolfscopeError
    where there are fewer cores, where a GPU is to be used, or where another process ended before its time.
    """
    if processes == 1:
        learn(together=ALONE, say=say)
        return
    if not 1 <= processes <= cores():
        raise WolfscopeError(
            f"{processes} processes were asked for and there are {cores()} cores: give --processes 1 to {cores()}"
        )
    if device != "cpu":
        raise WolfscopeError(
            f"{processes} processes train side by side on a CPU, and the device is {device}: give --device cpu, or "
            "--processes 1"
        )
    from torch.distributed import TCPStore

    store = TCPStore(HOST, 0, processes, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=join, args=(learn, store.port, rank, processes))
        for rank in range(1, processes)
    ]
    for other in others:
        other.start()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        learn(together=Together(0, processes, store), say=say)
    except RuntimeError as error:
        if died := ended_early(others):
            raise WolfscopeError(
                f"{died} ended before the training did ({error}): see what it said above; the same command goes "
                "on from the last checkpoint"
            ) from error
        raise
    else:
        for other in others:
            other.join(timeout=60)
    finally:
        torch.set_num_threads(before)
        for other in others:
            other.terminate()
            other.join()


def ended_early(others: Sequence[Any]) -> str:
    """The processes that ended with an error, in words; empty where none did."""
    for other in others:
        other.join(timeout=5)
    codes = [f"process {i} (exit {other.exitcode})" for i, other in enumerate(others, 1) if other.exitcode]
    return ", ".join(codes)


def join(learn: Callable[..., None], port: int, rank: int, size: int) -> None:
    """One of the further processes."""
    from torch.distributed import TCPStore

    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    torch.set_num_threads(1)
    learn(together=Together(rank, size, TCPStore(HOST, port, size, is_master=False)), say=silent)
