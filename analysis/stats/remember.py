"""Memoisation of results inside a block, where the same fit is requested several times.

with remembering():
    ...  # a function marked `remembered` is computed once for arguments that are equal, value by value
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
_kept: ContextVar[dict[bytes, Any] | None] = ContextVar("remembered", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Remember the results of functions marked `remembered` until the block ends; outside of one they are computed
    each time."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """The function, whose results a block of `remembering` keeps. Arguments are arrays, dataclasses, sequences of them
    and what `repr` tells apart; the results are shared, so nobody may change them."""

    @functools.wraps(function)
    def call(*given: P.args, **named: P.kwargs) -> R:
        kept = _kept.get()
        if kept is None:
            return function(*given, **named)
        digest = hashlib.blake2b(f"{function.__module__}.{function.__qualname__}".encode(), digest_size=16)
        _add(digest, (given, sorted(named.items())))
        key = digest.digest()
        if key not in kept:
            kept[key] = function(*given, **named)
        found: R = kept[key]
        return found

    return call


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif is_dataclass(value) and not isinstance(value, type):
        digest.update(type(value).__name__.encode())
        for part in fields(value):
            _add(digest, getattr(value, part.name))
    elif isinstance(value, (list, tuple, np.ndarray)):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        for part in value:
            _add(digest, part)
    else:
        digest.update(repr(value).encode())
