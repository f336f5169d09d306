"""Directions of an experiment: from a saved probe, from a file, or fitted on games that hold no moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from harness.activations.format import block_of, layer_name
from harness.activations.steering import read_vector
from harness.config.sections import SteeringSection
from harness.errors import ConfigurationError
from harness.experiment.design import DirectionSection, ExperimentError, Where
from harness.features.saved import load_dictionary
from harness.seals import hold

Vector = NDArray[np.float32]

SITES: dict[str, Where] = {
    "belief_mention": "option", "mention": "last_mention", "prompt_last": "answer",
}  # fmt: skip
"""Site of a probe -> its position in a prompt, by meaning."""


class Direction(msgspec.Struct, frozen=True):
    """A unit vector and where it belongs."""

    name: str
    vector: Vector
    """float32 (d_model,), of length 1."""
    layer: int
    """0 = output of block 0."""
    at: Where
    own_layer: int | None
    """The layer of its card, None for a bare vector."""
    origin: str
    """The direction's origin, in words."""
    weights: Vector | None = None
    """float32 (d_model,) of a probe for raw activations: P = 1 / (1 + exp(-(x . weights + bias))). None for a
    direction without a fitted probe."""
    bias: float = 0.0
    dictionary: str | None = None
    """The folder of the dictionary of its latents."""
    latents: tuple[int, ...] = ()


def read_direction(name: str, section: DirectionSection) -> Direction:
    """A direction from a file. Raises ConfigurationError, ExperimentError."""
    if section.probe is not None:
        return _of_probe(name, section)
    if section.dictionary is not None:
        return _of_latents(name, section, section.dictionary)
    path = section.vector or ""
    vector = read_vector(SteeringSection(vector=path, layer=0))
    return Direction(
        name, unit(vector, path), section.layer or 0, "option", None, f"the vector {Path(path).name}"
    )


def _of_probe(name: str, section: DirectionSection) -> Direction:
    stem = Path(section.probe or "").expanduser()
    card_file, file = stem.with_suffix(".json"), stem.with_suffix(".safetensors")
    if not card_file.is_file() or not file.is_file():
        raise ExperimentError(
            f"directions.{name}: there is no saved probe {stem}: a report writes them into its folder `probes` "
            "(NAME.json beside NAME.safetensors)"
        )
    hold(stem.parent, card_file.name, file.name)
    try:
        card: dict[str, Any] = json.loads(card_file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ExperimentError(f"directions.{name}: {card_file} is no saved probe ({error})") from error
    own = block_of(str(card.get("layer", "")))
    if own is None:
        raise ExperimentError(
            f"directions.{name}: the probe reads {card.get('layer')}, which is no block's output"
        )
    vector = read_vector(SteeringSection(vector=str(file), layer=0))
    layer = own if section.layer is None else section.layer
    at = SITES.get(str(card.get("site")), "last_mention")
    tensors = load_file(file)
    scale = tensors.get("scale", np.ones_like(vector))
    weights = (tensors["weights"] / scale).astype(np.float32) if "weights" in tensors else None
    mean = tensors.get("mean", np.zeros_like(vector))
    bias = float(card.get("bias", 0.0)) - (0.0 if weights is None else float(mean @ weights))
    return Direction(
        name, unit(vector, str(file)), layer, at, own, f"the saved probe {stem.name} at {card.get('site')}",
        weights, bias,
    )  # fmt: skip


def _of_latents(name: str, section: DirectionSection, folder: str) -> Direction:
    path = Path(folder).expanduser().resolve()
    found = load_dictionary(path)
    own = block_of(found.card.layer)
    if own is None or layer_name(own) != found.card.layer:
        raise ExperimentError(
            f"directions.{name}: the dictionary is of {found.card.layer}, which is no block's output"
        )
    total = np.sum([found.direction(latent) for latent in section.latents], axis=0)
    words = ", ".join(map(str, section.latents))
    at = SITES.get(found.card.site, "last_mention")
    origin = f"latents {words} of {path.parent.name}/{path.name}"
    layer = own if section.layer is None else section.layer
    return Direction(
        name,
        unit(total, str(path)),
        layer,
        at,
        own,
        origin,
        dictionary=str(path),
        latents=tuple(section.latents),
    )


def unit(vector: Vector, what: str) -> Vector:
    """The vector at length 1. Raises ConfigurationError for one that is no direction."""
    norm = float(np.linalg.norm(vector))
    if vector.ndim != 1 or not np.isfinite(norm) or norm == 0:
        raise ConfigurationError(
            f"{what} has shape {vector.shape} and length {norm:g}: it is no direction (d_model,)"
        )
    return (vector / norm).astype(np.float32)


def fit_mass_mean(
    streams: NDArray[np.float32], labels: NDArray[np.bool_], games: Sequence[int], layer: int | None
) -> tuple[Vector, int, list[float]]:
    """(unit difference of the class means, its layer, AUROC of every layer).

    streams: (n_rows, n_layers, d_model). layer: None chooses the one that tells the classes apart best on the second
    half of the games, with the difference from the first half.
    """
    codes = np.unique(np.asarray(games), return_inverse=True)[1]
    first = codes % 2 == 0
    scores = []
    for k in range(streams.shape[1]):
        x = streams[:, k].astype(np.float64)
        w = x[first & labels].mean(axis=0) - x[first & ~labels].mean(axis=0)
        scores.append(auroc(labels[~first], x[~first] @ w))
    best = int(np.argmax(scores[:-1] or scores)) if layer is None else layer
    x = streams[:, best].astype(np.float64)
    w = x[labels].mean(axis=0) - x[~labels].mean(axis=0)
    return unit(w.astype(np.float32), "the difference of the class means"), best, scores


def fit_probability(
    scores: NDArray[np.float64], labels: NDArray[np.bool_], penalty: float = 1e-3, steps: int = 50
) -> tuple[float, float]:
    """(slope, offset) of P(label) = 1 / (1 + exp(-(slope * score + offset))): Platt's scaling by Newton's method with a
    small ridge on the slope of the standardised score."""
    mean, sd = float(scores.mean()), float(scores.std()) or 1.0
    x = np.stack([(scores - mean) / sd, np.ones(len(scores))], axis=1)
    w, ridge = np.zeros(2), np.diag([penalty * len(scores), 0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge + 1e-9 * np.eye(2)
        w = w + np.linalg.solve(hessian, x.T @ (labels - p) - ridge @ w)
    return float(w[0] / sd), float(w[1] - w[0] * mean / sd)


def auroc(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Area under the ROC curve, ties one half; .5 where a class is empty."""
    if labels.all() or not labels.any():
        return 0.5
    up, down = scores[labels], scores[~labels]
    order = np.sort(down)
    wins = np.searchsorted(order, up, "left") + np.searchsorted(order, up, "right")
    return float(wins.sum() / (2 * len(up) * len(down)))


def random_directions(
    n: int, d_model: int, rng: np.random.Generator, away_from: Vector | None = None
) -> Vector:
    """(n, d_model) unit vectors, drawn evenly over the sphere; away_from: orthogonal to this one."""
    drawn = rng.normal(size=(n, d_model))
    if away_from is not None:
        own = away_from.astype(np.float64)
        drawn -= np.outer(drawn @ own, own)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
