"""Linear algebra on one thread: sums of floats depend on how they are split, and that on the machine."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]


def one_thread() -> AbstractContextManager[object]:
    """While it is entered, BLAS works on one thread; everything that is shown as a figure is computed inside.

    Also the faster way where several targets are evaluated side by side: BLAS threads that wait for one another lose
    most on a busy machine.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits
