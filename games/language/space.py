"""A space of any text, for environments whose observations hold words."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

MAX_OBSERVED_CHARS = 10_000_000


MAX_SPOKEN_CHARS = 100_000


class AnyText(spaces.Text):
    """All strings up to a length. Samples are short and plain; membership does not restrict the alphabet."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length=max_length, min_length=0)

    def contains(self, x: Any) -> bool:
        """Whether `x` is a string that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A string of at most 40 letters and digits."""
        length = int(self.np_random.integers(40)) if mask is None or mask[0] is None else mask[0]
        return super().sample(mask=(length, None if mask is None else mask[1]))
