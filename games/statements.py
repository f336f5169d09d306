"""The truth of what was said, by the engine: what every game can tell of the typed acts in its log."""

from __future__ import annotations

from typing import Literal

import msgspec

Label = Literal["truth", "lie", "honest mistake", "none"]


class Statement(msgspec.Struct, frozen=True):
    """One typed act of one decision, held against the world and against what its speaker had been told."""

    seq: int
    """The decision that spoke."""
    act: int
    """Place in the decision's acts."""
    speaker: int
    is_false: bool | None
    """Whether the asserted proposition is false in the world; None where the act asserts nothing."""
    knows_false: bool | None
    """Whether what the speaker had been told leaves no room for the proposition to be true."""

    @property
    def label(self) -> Label:
        """`lie`: false and the speaker knew; `honest mistake`: false and it could not know; `truth`; `none`."""
        if self.is_false is None:
            return "none"
        if not self.is_false:
            return "truth"
        return "lie" if self.knows_false else "honest mistake"
