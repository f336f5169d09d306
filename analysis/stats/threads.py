"""Linear algebra on one thread: sums of floats depend on how they are split, and that on the machine."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]


def one_thread() -> AbstractContextManager[object]:
    """While it is entered, BLAS works on one thread; everything that is shown as a figure is computed inside.

    It is also faster where several targets are evaluated in parallel: BLAS threads that wait for each other are slow on
    a busy machine.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits
