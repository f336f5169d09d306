"""Activations of all tokens of rows that are spans, as a ragged array: one span after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spans:
    """The tokens of the rows of a target."""

    site: str
    layers: tuple[str, ...]
    x: NDArray[np.float32]
    """`(n_tokens, n_layers, d_model)`; the tokens of a row are consecutive."""
    start: NDArray[np.int64]
    """`(n_rows + 1,)`: row i holds tokens `start[i]` to `start[i + 1]`, at least one."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.start) - 1

    def mean(self) -> Spans:
        """Spans of one token: the mean of each row's."""
        counts = np.diff(self.start)[:, None, None]
        x = np.add.reduceat(self.x, self.start[:-1], axis=0) / counts
        return Spans(self.site, self.layers, x.astype(np.float32), np.arange(self.n_rows + 1))

    def last(self) -> Spans:
        """Spans of one token: the last of each row's."""
        return Spans(self.site, self.layers, self.x[self.start[1:] - 1], np.arange(self.n_rows + 1))

    def take(self, rows: NDArray[np.int64]) -> Spans:
        """The spans of some rows (indices)."""
        counts = np.diff(self.start)[rows]
        start = np.concatenate([[0], np.cumsum(counts)])
        tokens = np.repeat(self.start[rows] - start[:-1], counts) + np.arange(start[-1])
        return Spans(self.site, self.layers, self.x[tokens], start)
