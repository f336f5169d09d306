"""Saved probes: written to files, applied to other runs, and used as steering directions.

A saved probe is `NAME.safetensors` (weights, mean, scale, the difference of the class means) beside `NAME.json`
(what it reads, where, from which run, how well). `apply` scores another run's captures with it, without refitting;
`intervention` gives what `agents.hooks.steering.Intervention` takes. The `.safetensors` file is itself what `wolfscope
branch --steer` and a steering table take: its metadata names the difference as its direction. `write_vector` writes
another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from analysis.evaluation.evaluate import Evaluation
from analysis.rungs.rungs import increment
from analysis.stats.errors import AnalysisError
from analysis.stats.logistic import fit_logistic, probabilities
from analysis.stats.moments import Moments
from harness.activations.format import block_of, layer_name
from harness.activations.store import open_activations
from harness.seals import hold, seal

SCHEMA_VERSION = 1
Along = Literal["weights", "mass_mean"]


class Card(msgspec.Struct, frozen=True):
    """Contents of the JSON file."""

    target: str
    question: str
    site: str
    layer: str
    """The layer's name in the store: `resid_post.3`; 0 is the output of block 0."""
    d_model: int
    models: tuple[str, ...]
    """`name@hash` of the model whose activations it was trained on."""
    runs: tuple[str, ...]
    """Hashes of the configurations of the runs that it was trained on."""
    n_rows: int
    n_games: int
    penalty: float
    bias: float
    metrics: dict[str, float]
    """Out of fold, with layer and penalty chosen inside; the saved fit itself used every game."""
    verdict: str
    schema_version: int = SCHEMA_VERSION


class SavedProbe(msgspec.Struct, frozen=True):
    """A logistic probe of one site and layer, in raw features."""

    card: Card
    weights: NDArray[np.float32]
    """`(d_model,)`, for standardised features."""
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    difference: NDArray[np.float32]
    """`(d_model,)`: mean of the positives minus mean of the negatives, raw: the mass-mean direction."""

    def score(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Probabilities `(n_rows,)` of raw activations `(n_rows, d_model)`. Raises AnalysisError for another width."""
        if x.ndim != 2 or x.shape[1] != self.card.d_model:
            raise AnalysisError(
                f"activations have shape {x.shape}, the probe was trained on width {self.card.d_model}; "
                "it can be applied to models of the same width only"
            )
        z = (np.asarray(x, dtype=np.float64) - self.mean) / self.scale
        return probabilities(z @ self.weights.astype(np.float64) + self.card.bias)

    def direction(self, along: Along = "mass_mean") -> NDArray[np.float32]:
        """Unit vector `(d_model,)` in raw space that points towards the positives."""
        raw = self.difference if along == "mass_mean" else self.weights / self.scale
        return np.asarray(raw / np.linalg.norm(raw), dtype=np.float32)

    @property
    def block(self) -> int:
        """Number of the layer, 0 for the output of block 0. Raises AnalysisError for the embeddings."""
        block = block_of(self.card.layer)
        if block is None:
            raise AnalysisError(
                f"layer {self.card.layer} is no block of the model; nothing can be steered there"
            )
        return block

    def intervention(self, scale: float, along: Along = "mass_mean", kind: str = "add") -> dict[str, Any]:
        """The arguments of `agents.hooks.steering.Intervention`: layer, vector, scale (in norms of the
        stream), point."""
        return {
            "kind": kind, "layer": self.block, "vector": self.direction(along), "scale": scale, "point": "resid_post"
        }  # fmt: skip

    def controls(self, n: int = 3, seed: int = 0, along: Along = "mass_mean") -> NDArray[np.float32]:
        """`(n, d_model)` random unit vectors orthogonal to the direction, as controls for any push of this size."""
        own = self.direction(along).astype(np.float64)
        drawn = np.random.default_rng(seed).normal(size=(n, len(own)))
        drawn -= np.outer(drawn @ own, own)
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)

    def write_vector(self, path: str | Path, along: Along = "mass_mean") -> Path:
        """Writes the direction as `.npy` (d_model,) for `wolfscope branch --steer`; the path."""
        out = Path(path).with_suffix(".npy")
        np.save(out, self.direction(along), allow_pickle=False)
        return out


def fit_probe(e: Evaluation, runs: Sequence[str] = ()) -> SavedProbe:
    """One fit on all games, at the layer and penalty that were chosen most often inside the folds."""
    target, main = e.target, e.target.activations[0]
    place = e.probe.place
    penalty = e.probe.penalty
    x, y = main.layer(main.probed[place]), target.y
    trained = Moments(1, x.shape[1], 1).add(x, np.zeros(len(y), dtype=int), y[:, None]).train([0])
    rate = float(y.mean())
    w, b = fit_logistic(trained, x, y, np.array([penalty * rate * (1 - rate)]))
    name = e.layers[place]
    card = Card(
        target.name, target.question, main.site, layer_name(name), x.shape[1],
        tuple(sorted(set(target.frame["model"].drop_nulls()))), tuple(runs), len(y), target.n_games, penalty,
        float(b[0] + trained.mean @ w[:, 0]),
        {"AUROC": e.probe.auroc, "increment": increment(e.evidence).value, **e.quality}, e.verdict,
    )  # fmt: skip
    return SavedProbe(
        card, (w[:, 0] * trained.scale).astype(np.float32), trained.mean.astype(np.float32),
        trained.scale.astype(np.float32),
        (x[y > 0].mean(axis=0, dtype=np.float64) - x[y <= 0].mean(axis=0, dtype=np.float64)).astype(np.float32),
    )  # fmt: skip


def save(probe: SavedProbe, folder: str | Path, name: str | None = None) -> tuple[Path, Path]:
    """Writes both files into the folder; the paths of the JSON file and of the safetensors file."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    stem = place / (name or probe.card.target)
    tensors = {
        key: np.ascontiguousarray(getattr(probe, key)) for key in ("weights", "mean", "scale", "difference")
    }
    save_file(tensors, stem.with_suffix(".safetensors"), {"direction": "difference"})
    text = msgspec.json.format(msgspec.json.encode(probe.card), indent=1)
    stem.with_suffix(".json").write_bytes(text + b"\n")
    seal(place, stem.with_suffix(".json"), stem.with_suffix(".safetensors"), verb="report")
    return stem.with_suffix(".json"), stem.with_suffix(".safetensors")


def saved_in(folder: Path) -> list[Path]:
    """The saved probes of a folder, as paths of their tensor files; other files in the folder are ignored."""
    return sorted(folder.glob("*.safetensors"))


def load(path: str | Path) -> SavedProbe:
    """Reads a saved probe by either of its files. Raises AnalysisError where one is missing or does not fit,
    RunDamaged where one was changed since."""
    stem = Path(path)
    files = stem.with_suffix(".json"), stem.with_suffix(".safetensors")
    for file in files:
        if not file.is_file():
            raise AnalysisError(
                f"{file} is missing: a saved probe is a .json beside a .safetensors of the same name"
            )
    hold(stem.parent, *(file.name for file in files))
    try:
        card = msgspec.json.decode(files[0].read_bytes(), type=Card)
    except (msgspec.DecodeError, RecursionError) as error:
        raise AnalysisError(f"{files[0]} is no saved probe: {error}") from error
    if card.schema_version != SCHEMA_VERSION:
        raise AnalysisError(
            f"{files[0]} has schema version {card.schema_version}, this version reads {SCHEMA_VERSION}; save it again"
        )
    try:
        tensors = load_file(files[1])
    except (SafetensorError, OSError, ValueError) as error:
        raise AnalysisError(f"{files[1]} cannot be read ({error}); save the probe again") from error
    parts = [tensors.get(key, np.empty(0)) for key in ("weights", "mean", "scale", "difference")]
    if any(part.shape != (card.d_model,) for part in parts):
        raise AnalysisError(
            f"{files[1]} does not hold four vectors of width {card.d_model}; save the probe again"
        )
    for key, part in zip(("weights", "mean", "scale", "difference"), parts, strict=True):
        wrong = "a value that is no finite number" if not np.isfinite(part).all() else None
        if key == "scale" and wrong is None and not (part > 0).all():
            wrong = "a value that is not above 0"
        if wrong is not None:
            raise AnalysisError(f"{files[1]}: {key} holds {wrong}; save the probe again")
    if not np.isfinite(card.bias):
        raise AnalysisError(f"{files[0]}: bias is {card.bias}, no finite number; save the probe again")
    return SavedProbe(card, *parts)


def apply(probe: SavedProbe, run: Any, folder: str = "activations") -> pl.DataFrame:
    """Scores of every captured row of the probe's site in a run (`harness.load_run(path)`), nothing refitted.

    Columns game_id, seq, viewer, subject (null where the site has none), p, same_model. Raises ActivationsError
    without captures or without the layer, AnalysisError for another width.
    """
    store = open_activations(Path(run.path) / folder)
    lines, x = store.select(probe.card.layer, site=probe.card.site)
    return lines.select("game_id", "seq", pl.col("seat").alias("viewer"), "subject").with_columns(
        p=pl.Series(probe.score(x) if len(x) else [], dtype=pl.Float64),
        same_model=pl.lit(store.info.model in probe.card.models),
    )


def config_hash(run: Any) -> str:
    """A run's identifier in a card: the hash of its configuration and of its number of games."""
    manifest = run.manifest
    key = f"{manifest.name}|{manifest.config_hash}|{manifest.n_games}"
    return blake2b(key.encode(), digest_size=8).hexdigest()
