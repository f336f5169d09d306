"""Where a capture stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class CaptureProgress:
    """The progress of a capture; the final one is its report."""

    n_items: int = 0
    """Decisions seen."""
    n_rows: int = 0
    """Rows read."""
    n_skipped: int = 0
    """Rows skipped as already stored."""
    n_context_tokens: int = 0
    """Tokens of the contexts up to their last site, summed over decisions."""
    n_computed_tokens: int = 0
    """Tokens that went through the model; the difference is what shared prefixes saved."""
    n_touched: int = 0
    """Positions that interventions have changed."""
    n_bytes: int = 0
    """Size of the rows read, as stored."""
    seconds: float = 0.0
    sites: set[str] = field(default_factory=set)
    """Sites that at least one decision has, as items name them; `tokens:speech` for all its tokens."""

    def missing(self, sites: Sequence[str]) -> list[str]:
        """The given sites that no decision has; `mention` counts as present where any `mention:<seat>` is."""
        return [
            site
            for site in sites
            if not any(name == site or name.startswith(f"{site}:") for name in self.sites)
        ]


def together(parts: Sequence[CaptureProgress]) -> CaptureProgress:
    """The sum over parallel captures; the seconds are those of the slowest."""
    return CaptureProgress(
        n_items=sum(one.n_items for one in parts),
        n_rows=sum(one.n_rows for one in parts),
        n_skipped=sum(one.n_skipped for one in parts),
        n_context_tokens=sum(one.n_context_tokens for one in parts),
        n_computed_tokens=sum(one.n_computed_tokens for one in parts),
        n_touched=sum(one.n_touched for one in parts),
        n_bytes=sum(one.n_bytes for one in parts),
        seconds=max((one.seconds for one in parts), default=0.0),
        sites={site for one in parts for site in one.sites},
    )
