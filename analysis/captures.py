"""Joins a target's rows with the activations that were captured for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.targets import Readout, Target
from harness.activations import Activations, ActivationsError, open_activations

HEADLINE = {"others": ("mention", "belief_mention"), "self": ("prompt_last",)}
"""Sites of the headline in order of preference: where a belief about another is bound, where an utterance
begins.
"""
UNTRAINED = "activations-untrained"
"""The store of a re-initialised model's activations on the same contexts, beside the run's own."""


def stores_of(run: Any) -> tuple[list[tuple[str, Activations]], str]:
    """The run's stores as (variant, store), and in words why there is none."""
    found: list[tuple[str, Activations]] = []
    why = ""
    for variant, folder in (("original", "activations"), ("untrained", UNTRAINED)):
        try:
            found.append((variant, open_activations(Path(run.path) / folder)))
        except ActivationsError as error:
            why = why or str(error)
    if not any(variant == "original" for variant, _ in found):
        return [], why or "no activations were captured"
    return found, ""


def attach(target: Target, runs: Sequence[tuple[str, Any]], own: bool = False) -> Target:
    """The target on the rows that were captured, with its read-outs; unchanged but for `missing` where
    there are none.

    `runs` are (prefix of the game ids, run). All runs must hold the same layers and width; those that
    differ from the first are left out and named in `missing`.
    """
    parts: dict[tuple[str, str], list[tuple[pl.DataFrame, NDArray[np.float32]]]] = {}
    layers: tuple[str, ...] = ()
    why = ""
    for prefix, run in runs:
        stores, reason = stores_of(run)
        why = why or reason
        for variant, store in stores:
            names = tuple(name for name in store.layers if name == "embed" or name.startswith("resid_post."))
            layers = layers or names
            if names != layers:
                why = f"{store.path} holds layers {', '.join(names)}; the first run holds {', '.join(layers)}"
                continue
            _read(target.frame, prefix, store, names, variant, own, parts)
    shown = tuple(name.removeprefix("resid_post.") for name in layers)
    readouts = [
        _joined(target.frame, site, variant, shown, pieces, own)
        for (site, variant), pieces in sorted(parts.items())
    ]
    wanted = HEADLINE["self" if own else "others"]
    main = next((r for site in wanted for r in readouts if r.site == site and r.variant == "original"), None)
    if main is None or not (main.at >= 0).any():
        sites = ", ".join(sorted({r.site for r in readouts})) or "none"
        return replace(target, missing=why or f"no site {' or '.join(wanted)} was captured (sites: {sites})")
    rest = [r for r in readouts if r is not main and (r.variant == "original" or r.site == main.site)]
    whole = replace(target, readouts=(main, *rest), missing=why)
    return whole.take(np.flatnonzero(main.at >= 0))


def _read(
    frame: pl.DataFrame,
    prefix: str,
    store: Activations,
    names: Sequence[str],
    variant: str,
    own: bool,
    parts: dict[tuple[str, str], list[tuple[pl.DataFrame, NDArray[np.float32]]]],
) -> None:
    keys = frame.select("game_id", pl.col("seq").cast(pl.Int64), "subject").unique()
    # Of the run's own store, contexts that were changed (the role line removed, say) are read as variants too.
    only = "original" if variant != "original" else None
    lines = store.index(variant=only).with_columns(game_id=pl.lit(prefix) + pl.col("game_id"))
    for (site, changed), group in lines.group_by("site", "variant"):
        bound = bool(group["subject"].is_not_null().any())
        on = ["game_id", "seq", "subject"] if bound else ["game_id", "seq"]
        if own and bound:
            continue  # a mention of oneself is not where one's own next words are
        needed = group.join(keys.select(on).unique(), on=on, how="semi")
        if needed.height:
            values = store.read_rows(needed, list(names))
            name = variant if changed == "original" else str(changed)
            parts.setdefault((str(site), name), []).append(
                (needed.select("game_id", "seq", "subject"), values)
            )


def _joined(
    frame: pl.DataFrame,
    site: str,
    variant: str,
    layers: tuple[str, ...],
    pieces: Sequence[tuple[pl.DataFrame, NDArray[np.float32]]],
    own: bool,
) -> Readout:
    lines = pl.concat([piece for piece, _ in pieces]).with_row_index("stored")
    values = np.concatenate([value for _, value in pieces])
    bound = bool(lines["subject"].is_not_null().any())
    on = ["game_id", "seq", "subject"] if bound else ["game_id", "seq"]
    lines = lines.select(*on, "stored").unique(on, keep="last")
    at = frame.select("game_id", pl.col("seq").cast(pl.Int64), "subject").join(
        lines, on=on, how="left", maintain_order="left"
    )["stored"].cast(pl.Int64).fill_null(-1)  # fmt: skip
    return Readout(site, layers, values, at.to_numpy(), bound or own, variant)
