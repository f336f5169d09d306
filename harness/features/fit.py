"""How well a dictionary reconstructs given rows, and whether that matches its card."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.features.dictionary import BLOCK, Card, Dictionary, FeaturesError

SHORT = 0.05
"""Tolerated shortfall of the variance explained on our rows against the card's figure."""
POOR = 0.3
"""A dictionary that explains less than this of our rows does not fit them."""


class Fit(msgspec.Struct, frozen=True):
    """A dictionary's fit on some rows."""

    variance_explained: float
    """1 - squared error / variance about the mean of the same rows."""
    l0: float
    """Active latents of an average row."""
    dead: float
    """Share of latents that no row activates."""
    n_rows: int


def fit_of(found: Dictionary, x: NDArray[Any]) -> Fit:
    """The fit on rows `(..., d_model)`; every leading axis counts as rows. Raises FeaturesError for no row."""
    rows = np.ascontiguousarray(x, dtype=np.float32).reshape(-1, x.shape[-1])
    if not len(rows):
        raise FeaturesError("a dictionary cannot be held to no row at all; capture some of its site first")
    fired = np.zeros(found.card.width, dtype=np.int64)
    squares, on = 0.0, 0
    for at in range(0, len(rows), BLOCK):
        some = rows[at : at + BLOCK]
        lit = found.encode(some) > 0
        fired += lit.sum(axis=0)
        on += int(lit.sum())
        squares += float(((some - found.reconstruct(some)).astype(np.float64) ** 2).sum())
    whole = float(((rows - rows.mean(axis=0)).astype(np.float64) ** 2).sum())
    return Fit(1 - squares / max(whole, 1e-30), on / len(rows), float((fired == 0).mean()), len(rows))


def check_fit(card: Card, fit: Fit) -> tuple[str, ...]:
    """Warnings for the dictionary's figures; empty where its fit on our rows matches its card.

    Raises FeaturesError where it explains less than `POOR`: then activation, normalisation or layer differ from
    training, and every later figure would be wrong.
    """
    ours, stated = fit.variance_explained, card.variance_explained
    if ours < POOR:
        said = f"its card states {stated:.0%}" if stated is not None else "its card states nothing"
        raise FeaturesError(
            f"the dictionary explains {ours:.0%} of the variance of {fit.n_rows:,} of our rows, {said}: its activation "
            f"({card.activation}), normalisation ({card.normalisation}), site ({card.site}) or layer ({card.layer}) is "
            "not that of these rows; name the right ones, or --force to go on with a stamp"
        )
    if stated is not None and ours < stated - SHORT:
        return (
            f"explains {ours:.0%} of the variance of {fit.n_rows:,} of our rows, {stated:.0%} by its card",
        )
    return ()


def check_place(card: Card, model: str, layer: str, d_model: int) -> tuple[str, ...]:
    """Warnings for a dictionary applied to rows of a model and layer.

    Raises FeaturesError where width, layer or the model's hash differ from its card.
    """
    if card.d_model != d_model:
        raise FeaturesError(
            f"the dictionary reads width {card.d_model}, the rows of {model} have {d_model}: it belongs to "
            f"{card.model or 'another model'}"
        )
    if card.layer and card.layer != layer:
        raise FeaturesError(
            f"the dictionary was trained at {card.layer}, the rows are of {layer}: read those of {card.layer}"
        )
    name, _, content = card.model.partition("@")
    if content and card.model != model:
        raise FeaturesError(
            f"the dictionary was trained on {card.model}, the rows are of {model}: its latents mean nothing there"
        )
    if name and name.rpartition("/")[2].lower() not in model.lower():
        return (f"its card names the model {name}, the rows are of {model}",)
    return ()


def check_site(card: Card, site: str) -> tuple[str, ...]:
    """Warnings for a dictionary applied at a site.

    Raises FeaturesError where it was trained on another site; a dictionary of all tokens fits every site.
    """
    if card.site in ("", site):
        return ()
    if card.site.startswith("tokens"):
        return (f"trained on rows of {card.site}, read at {site}",)
    raise FeaturesError(
        f"the dictionary was trained on rows of {card.site}, these are of {site}: read it at {card.site}, train one on "
        f"{site}, or --force to go on with a stamp"
    )
