"""Settings of a hooked transformers model. No heavy imports."""

from __future__ import annotations

from typing import Literal

import msgspec


class HookedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `[backends.NAME.settings]` may say for kind "transformers"."""

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Of weights and activations while playing; `auto`: the dtype that the checkpoint was saved in, float32 where its
    config.json states none."""
    max_batch_tokens: int = 32_768
    """Prompt tokens of one batch, padding included."""
    max_wait_s: float = 0.004
    """How long a first prompt waits for others to batch with, in seconds."""
    cache_tokens: int = 200_000
    """Bound of the cache of sessions, in tokens."""
