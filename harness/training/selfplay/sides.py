"""The two sides of the games that a model learns on."""

from __future__ import annotations

from typing import Literal, get_args

Side = Literal["werewolf", "village"]
"""The faction whose seats learn."""
SIDES: tuple[Side, ...] = get_args(Side)
