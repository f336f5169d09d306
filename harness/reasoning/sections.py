"""The tables of a design that are about reasoning."""

from __future__ import annotations

from pydantic import Field

from harness.config.sections import Section


class ReasoningSection(Section):
    """`[reasoning]`: at each moment, measure the reasoning after every step, and continue it from there."""

    rollouts: int = Field(default=10, ge=0)
    """Free continuations of each prefix; 0: only forced decisions."""
    most: int = Field(default=12, ge=2)
    """Prefixes of one reasoning, evenly spread where it has more steps."""
    max_tokens: int = Field(default=256, ge=1)
    """Token limit of a continuation's reasoning."""
    repeats: int = Field(default=4, ge=0)
    """Continuations of one prefix that are drawn a second time by the same seeds with nothing cached."""
    judge: str | None = None
    """A model's folder: what each step does is then also judged by it, beside the rules."""
    belief: str | None = None
    """The key of a `[directions.*]` table, fitted or a saved probe: its belief is read after every step."""


class TurnsSection(Section):
    """`[turns]`: at each moment the player repeats its whole turn, unchanged and under each arm: it thinks, speaks
    and decides. Arms are of kind player."""

    n: int = Field(default=10, ge=1)
    """Turns of each moment and arm, with the same seeds for all arms."""
    layer: int | None = Field(default=None, ge=0)
    """Layer whose residual stream is kept for a probe, at a turn's last token; 0 = output of block 0. None: at two
    thirds of the depth."""
