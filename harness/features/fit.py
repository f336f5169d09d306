"""How well a dictionary describes given rows, and whether that is what its card says."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.features.dictionary import BLOCK, Card, Dictionary, FeaturesError

SHORT = 0.05
"""A dictionary may explain so much less of the variance of our rows than its card states."""
POOR = 0.3
"""One that explains less than this of our rows describes something else."""


class Fit(msgspec.Struct, frozen=True):
    """What a dictionary makes of some rows."""

    variance_explained: float
    """1 - squared error / variance about the mean of the same rows."""
    l0: float
    """Latents on in an average row."""
    dead: float
    """Share of latents that no row turned on."""
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
    """What must be said beside the dictionary's figures: nothing where it does on our rows what its card states.

    Raises FeaturesError where it explains less than `POOR`: an activation, a normalisation or a layer was then read
    otherwise than in training, and every later figure would be wrong.
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
    """What must be said of a dictionary that is put to rows of a place.

    Raises FeaturesError where width or layer are not its own, or its model's hash is another.
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
    """What must be said of a dictionary that is read at a site.

    Raises FeaturesError where it was trained on rows of another; one of every token of a text is read anywhere.
    """
    if card.site in ("", site):
        return ()
    if card.site.startswith("tokens"):
        return (f"trained on rows of {card.site}, read at {site}",)
    raise FeaturesError(
        f"the dictionary was trained on rows of {card.site}, these are of {site}: read it at {card.site}, train one on "
        f"{site}, or --force to go on with a stamp"
    )
