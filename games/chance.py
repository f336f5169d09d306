"""Named random streams of a game's seed, as stateless hashes.

A draw is a pure function of (seed, stream name, counters): nothing has to be carried in the state, a game can be
entered in the middle, and the numpy form (`games.werewolf.arrays.vector`) makes the same draws for many games at once.
The mixing function is the finaliser of splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
number generators").
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from math import factorial
from operator import itemgetter
from typing import Any, Final, TypeVar

T = TypeVar("T")

MASK: Final = (1 << 64) - 1
GOLDEN: Final = 0x9E3779B97F4A7C15
FACTORIAL: Final = tuple(factorial(n) for n in range(8))


@cache
def stream_id(name: str) -> int:
    """The 64-bit constant of a stream's name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def mix(x: int) -> int:
    """splitmix64's finaliser: a bijection of 64-bit integers."""
    x = (x + GOLDEN) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def key(seed: int, stream: str, *counters: int) -> int:
    """A 64-bit key for one draw of the stream `stream`; equal arguments give equal keys."""
    x = seed
    for counter in (stream_id(stream), *counters):
        # `mix`, inlined: this is the innermost loop of the rules.
        x = ((x ^ counter) + GOLDEN) & MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        x ^= x >> 31
    return x


def uniform(k: int) -> float:
    """A float in [0, 1) from a key."""
    return (k >> 11) * (1.0 / (1 << 53))


def choice(items: Sequence[T], k: int) -> T:
    """One of `items`, equally likely (bias below 2**-58 for up to 64 items)."""
    return items[k % len(items)]


def shuffled(items: Sequence[T], k: int) -> tuple[T, ...]:
    """`items` in an order drawn by one key: Fisher-Yates with the key's mixed-radix digits.

    One key holds the digits for 20 items; with more, each further item has its own key, derived from it.
    """
    n = len(items)
    if 2 <= n <= 7:
        return _permuter(n, k % FACTORIAL[n])(items)
    return _permute(items, k)


def _permute(items: Sequence[T], k: int) -> tuple[T, ...]:
    out = list(items)
    for i in range(len(out) - 1, 0, -1):
        if i >= 20:
            k, j = mix(k), k % (i + 1)
        else:
            k, j = divmod(k, i + 1)
        out[i], out[j] = out[j], out[i]
    return tuple(out)


@cache
def _permuter(n: int, k: int) -> Callable[[Any], tuple[Any, ...]]:
    """The k-th of the n! orders as a function; few enough to keep for n <= 7."""
    return itemgetter(*_permute(range(n), k))


def sample(items: Sequence[T], n: int, k: int) -> tuple[T, ...]:
    """`n` different of `items` (at most 24), in an order: the first `n` steps of Fisher-Yates from the front."""
    out = list(items)
    for i in range(n):
        if i == 12:
            k = mix(k)  # one key holds twelve digits of at most 24
        k, j = divmod(k, len(out) - i)
        out[i], out[i + j] = out[i + j], out[i]
    return tuple(out[:n])


def draw(weights: Sequence[float], k: int) -> int:
    """An index drawn with probability proportional to `weights` (non-negative, not all zero)."""
    u = uniform(k) * sum(weights)
    for i, weight in enumerate(weights):
        u -= weight
        if u < 0:
            return i
    return max(i for i, weight in enumerate(weights) if weight > 0)
