"""A latent as something that scores rows, for the viewer's tint and tables (`analysis.evaluation.scores`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.features.dictionary import Card, Dictionary
from harness.features.saved import load_dictionary
from harness.run.derived import read_table


@dataclass(frozen=True)
class Latent:
    """One latent of a dictionary."""

    card: Card
    found: Dictionary
    number: int

    def score(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """The latent's activation `(n_rows,)`, divided by its largest value in these rows."""
        on = self.found.encode(x)[:, self.number].astype(np.float64)
        return on / max(1e-12, float(on.max(initial=0.0)))


def latents_of(folder: str | Path, numbers: tuple[int, ...]) -> dict[str, Latent]:
    """The latents by the names that the viewer shows. Raises FeaturesError for a latent that does not exist."""
    found = load_dictionary(folder)
    rules = Path(folder) / "rules.parquet"
    words = dict(read_table(rules).select("latent", "rule").iter_rows()) if rules.is_file() else {}
    out = {}
    for number in numbers:
        found.direction(number)
        name = f"latent {number}: {words[number]}" if number in words else f"latent {number}"
        out[name] = Latent(found.card, found, number)
    return out
