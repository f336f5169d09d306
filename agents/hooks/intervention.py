"""One change of the residual stream, as a record that any process can hold: no torch here."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Point = Literal["embed", "resid_post", "attn_out", "mlp_out"]


class SteeringError(RuntimeError):
    """An intervention did not touch what it was meant to touch."""


class Intervention(msgspec.Struct, frozen=True):
    """One change at one hook point of one context."""

    kind: Literal["add", "ablate", "patch"]
    """add: scale * |h| * unit vector; ablate: remove `scale` of the component along the vector; patch: replace."""
    layer: int
    vector: Any
    """Array or tensor (d_model,); for a patch at k positions also (k, d_model), in the order of `positions`."""
    positions: Literal["all", "prompt", "generated"] | tuple[int, ...] = "all"
    """Token indices in the whole context; or every token; or those of the prompt; or `generated`: the positions
    that output tokens are read from, that is the last prompt token and each generated one."""
    scale: float = 1.0
    point: Point = "resid_post"
