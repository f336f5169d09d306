"""How one layer's stream moved between two models: distance, cosine, and number of directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

LAYERS: dict[str, Any] = {
    "layer": pl.String, "n_tokens": pl.Int64,
    "norm": pl.Float64,  # mean length of A's stream
    "moved": pl.Float64,  # mean length of B minus A, in lengths of A's stream
    "cosine": pl.Float64,  # mean cosine of A's and B's stream
    "shared": pl.Float64,  # share of the squared difference that is one shift common to all tokens
    "explained": pl.List(pl.Float64),  # shares of the rest along each principal direction
    "dimension": pl.Float64,  # of the rest: (sum of the eigenvalues)^2 / sum of their squares
    "decisions_shared": pl.Float64,  # as `shared`, at tokens just before an emitted one
    "decisions_dimension": pl.Float64,
}  # fmt: skip
N_DIRECTIONS = 8
Vectors = np.ndarray[Any, np.dtype[np.float32]]


class Moved:
    """Second moments of the differences of one layer's streams."""

    def __init__(self, d_model: int) -> None:
        self.n = 0
        self.norm = self.ratio = self.cosine = 0.0
        self.total = np.zeros(d_model)
        self.gram = np.zeros((d_model, d_model))

    def add(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Streams `(n_tokens, d_model)` of both models at the same tokens."""
        a, b = a.double(), b.double()
        moved, length = b - a, a.norm(dim=1)
        self.n += len(a)
        self.norm += float(length.sum())
        self.ratio += float((moved.norm(dim=1) / length.clamp_min(1e-12)).sum())
        self.cosine += float(torch.nn.functional.cosine_similarity(a, b, dim=1).sum())
        self.total += moved.sum(dim=0).cpu().numpy()
        self.gram += (moved.T @ moved).cpu().numpy()

    def mean(self) -> Vectors:
        """The difference of the means, B minus A, `(d_model,)`."""
        return np.asarray(self.total / max(1, self.n), dtype=np.float32)

    def spread(self) -> tuple[float, float, np.ndarray, np.ndarray]:
        """(share of one shift, dimension of the rest, eigenvalues ascending, eigenvectors in columns)."""
        mean = self.total / max(1, self.n)
        values, vectors = np.linalg.eigh(self.gram / max(1, self.n) - np.outer(mean, mean))
        values = np.maximum(values, 0.0)
        whole = float(np.trace(self.gram)) / max(1, self.n)
        dimension = float(values.sum() ** 2 / max(float((values**2).sum()), 1e-24))
        return float(mean @ mean) / max(whole, 1e-12), dimension, values, vectors


def finish(layer: str, everywhere: Moved, decisions: Moved) -> tuple[dict[str, Any], dict[str, Vectors]]:
    """The row of `LAYERS`, and the vectors: under the layer's name the principal directions `(N_DIRECTIONS, d_model)`,
    largest first; under `mean.<layer>` the difference of the means at tokens just before an emitted one."""
    shared, dimension, values, vectors = everywhere.spread()
    most = min(N_DIRECTIONS, len(values))
    there_shared, there_dimension, _, _ = decisions.spread()
    row = {
        "layer": layer, "n_tokens": everywhere.n, "norm": everywhere.norm / everywhere.n,
        "moved": everywhere.ratio / everywhere.n, "cosine": everywhere.cosine / everywhere.n, "shared": shared,
        "explained": (values[::-1][:most] / max(float(values.sum()), 1e-12)).tolist(), "dimension": dimension,
        "decisions_shared": there_shared, "decisions_dimension": there_dimension,
    }  # fmt: skip
    kept = np.ascontiguousarray(vectors[:, ::-1][:, :most].T.astype(np.float32))
    return row, {layer: kept, f"mean.{layer}": decisions.mean()}
