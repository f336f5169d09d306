"""The result of splicing a dictionary into the model, as saved beside the dictionary.

Recovered is 1 where splicing changes nothing, 0 where it is as bad as the mean row. `harness.features.splice` measures.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.features.dictionary import FeaturesError
from harness.seals import hold

FILE = "splice.json"


class Splice(msgspec.Struct, frozen=True):
    """The content of `splice.json`."""

    cross_entropy: float | None
    """Cross-entropy of the following tokens with the unchanged stream, nats per token; None where the site ends its
    contexts."""
    spliced: float | None
    """The same with reconstructions in place."""
    removed: float | None
    """The same with the mean row in place."""
    divergence: float
    """KL(unchanged || spliced), nats a token."""
    divergence_removed: float
    n_contexts: int
    n_tokens: int
    """Predictions that were compared."""
    n_edited: int
    """Tokens whose stream was replaced."""
    n_followed: int = 0
    """Predictions with a following token, over which cross-entropy is averaged."""

    @property
    def recovered(self) -> float | None:
        """1 - (spliced - unchanged) / (removed - unchanged) of the cross-entropy; None where removing costs nothing."""
        if self.cross_entropy is None or self.spliced is None or self.removed is None:
            return None
        cost = self.removed - self.cross_entropy
        return None if cost < 1e-4 else 1 - (self.spliced - self.cross_entropy) / cost

    @property
    def kept(self) -> float | None:
        """1 - KL(spliced) / KL(removed); None where removing changes nothing."""
        return None if self.divergence_removed < 1e-6 else 1 - self.divergence / self.divergence_removed


def read_splice(folder: str | Path) -> Splice | None:
    """The splice result of the dictionary in `folder`; None where it was not measured. Raises FeaturesError,
    RunDamaged."""
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    hold(Path(folder), FILE)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Splice)
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise FeaturesError(
            f"{path} cannot be read ({error}); wolfscope features judge --splice makes it again"
        ) from error


def splice_lines(found: Splice) -> list[str]:
    """The result in words."""
    where = f"spliced in at {found.n_edited:,} tokens of {found.n_contexts:,} contexts"
    divergence = f"KL {found.divergence:.4f} (mean row: {found.divergence_removed:.4f})"
    kept = "the mean row changes nothing either" if found.kept is None else f"kept {found.kept:.1%}"
    if found.cross_entropy is None:
        return [
            where,
            "no token follows the site in its contexts, so no cross-entropy",
            f"{divergence}, {kept}",
        ]
    entropy = (
        f"cross-entropy of {found.n_followed:,} tokens that follow {found.cross_entropy:.4f} -> {found.spliced:.4f} "
        f"nats a token (mean row: {found.removed:.4f})"
    )
    recovered = (
        "the mean row costs nothing" if found.recovered is None else f"recovered {found.recovered:.1%}"
    )
    return [where, f"{entropy}, {recovered}", f"{divergence}, {kept}"]
