"""Where games are played, and whether a run can be played there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from harness.errors import ConfigurationError

Executor = Literal["auto", "local", "ray"]
"""Where games are played: in processes of this machine, on Ray, or chosen by the run (`is_local`)."""
LOCAL_GAMES = 5_000
"""With no more games to play than this, and no model, a run needs no cluster."""


def check_place(executor: Executor, backends: Iterable[str], address: str | None) -> None:
    """Raises ConfigurationError where games shall be played on this machine only, but players ask one of `backends`
    or a cluster's `address` is named."""
    if executor != "local":
        return
    if asked := sorted(backends):
        raise ConfigurationError(
            f"--local plays without Ray, and the models of {', '.join(asked)} are asked through it: leave out --local"
        )
    if address is not None:
        raise ConfigurationError(
            f"--local plays on this machine, --ray-address {address} on a cluster: leave out one of them"
        )


def is_local(
    executor: Executor, backends: Iterable[str], address: str | None, n_left: Callable[[], int]
) -> bool:
    """Whether games are played in processes of this machine: where that was asked for, or nothing was, no player asks a
    model, no cluster is named and at most `LOCAL_GAMES` games are left."""
    if executor != "auto":
        return executor == "local"
    return address is None and not any(backends) and n_left() <= LOCAL_GAMES
