"""Joins a target's rows with the activations that were captured for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.spans import Spans
from analysis.data.targets import SiteActivations, Target
from harness.activations.store import Activations, ActivationsDamaged, ActivationsError

HEADLINE, OWN_HEADLINE = ("belief_mention", "mention"), ("prompt_last",)
"""Sites of the headline in order of preference, unless one is named. A belief about another player is read where that
player is asked about, after everything that the baselines count, and else at the last mention of its name; one's own
words are read where they begin.
"""
UNTRAINED = "activations-untrained"
"""The store with a re-initialised model's activations on the same contexts, beside the run's own."""


def stores_of(run: Any) -> tuple[list[tuple[str, Activations]], str]:
    """The run's stores as (variant, store); where there is none, the reason in words."""
    found: list[tuple[str, Activations]] = []
    why = ""
    for variant, folder in (("original", "activations"), ("untrained", UNTRAINED)):
        try:
            found.append((variant, run.activations(folder)))
        except ActivationsDamaged:
            raise
        except ActivationsError as error:
            why = why or str(error)
    if not any(variant == "original" for variant, _ in found):
        return [], why or "no activations were captured"
    return found, ""


def attach(
    target: Target, runs: Sequence[tuple[str, Any]], own: bool = False, site: str | None = None
) -> Target:
    """The target on the rows that were captured at the headline's site, with their activations; where there are none,
    the target with only `missing` set. site: the headline's site, for targets that are not about the seat's own words
    (`own`).

    `runs` are (prefix of the game ids, run). All runs must hold the same layers and width; those that
    differ from the first are left out and named in `missing`.
    """
    parts: dict[tuple[str, str], list[tuple[pl.DataFrame, NDArray[np.float32]]]] = {}
    layers: tuple[str, ...] = ()
    why = ""
    vectors: dict[str, NDArray[np.float32]] | None = None
    others: list[tuple[str, Activations, str]] = []
    for prefix, run in runs:
        stores, reason = stores_of(run)
        why = why or reason
        for variant, store in stores:
            names = tuple(name for name in store.layers if name == "embed" or name.startswith("resid_post."))
            layers = layers or names
            if variant == "original":
                vectors = vectors or store.names()
            if names != layers:
                why = f"{store.path} holds layers {', '.join(names)}; the first run holds {', '.join(layers)}"
            elif variant == "original":
                _read(target.frame, prefix, store, names, variant, own, parts)
            else:
                others.append((prefix, store, variant))
    wanted = OWN_HEADLINE if own else HEADLINE if site is None else (site,)
    # Where runs were captured at different sites, the site of most runs is used; rows of the others are left out.
    n_runs = {site: len(pieces) for (site, variant), pieces in parts.items() if variant == "original"}
    best = max(wanted, key=lambda one: n_runs.get(one, 0))
    for prefix, store, variant in others:  # other models' rows are read at the headline's site alone
        if best in store.sites():
            _read(target.frame, prefix, store, layers, variant, own, parts, best)
    shown = tuple(name.removeprefix("resid_post.") for name in layers)
    captured = [
        _joined(target.frame, site, variant, shown, pieces, own, vectors if variant == "original" else None)
        for (site, variant), pieces in sorted(parts.items())
    ]
    main = next((r for r in captured if r.site == best and r.variant == "original"), None)
    most = max(n_runs.values(), default=0)
    if main is not None and n_runs[best] < most:
        lacking = f"{most - n_runs[best]} of {most} runs have no rows at site {best}: they are left out"
        why = f"{why}; {lacking}" if why else lacking
    if main is None or not (main.at >= 0).any():
        sites = ", ".join(sorted({r.site for r in captured})) or "none"
        return replace(target, missing=why or f"no site {' or '.join(wanted)} was captured (sites: {sites})")
    rest = [r for r in captured if r is not main and (r.variant == "original" or r.site == main.site)]
    whole = replace(target, activations=(main, *rest), missing=why)
    return whole.take(np.flatnonzero(main.at >= 0))


def checkpoints_of(target: Target, runs: Sequence[tuple[str, Any]]) -> dict[str, SiteActivations]:
    """Activations of other models at the headline's site on the same contexts, by model `name@hash`.

    A folder `activations-...` beside a run's own store, other than the untrained one, holds another checkpoint's. Only
    stores with the headline's layers and width count.
    """
    main = target.activations[0]
    names = tuple(name if name == "embed" else f"resid_post.{name}" for name in main.layers)
    parts: dict[str, dict[tuple[str, str], list[tuple[pl.DataFrame, NDArray[np.float32]]]]] = {}
    for prefix, run in runs:
        for folder in sorted(Path(run.path).glob("activations-*")):
            if folder.name == UNTRAINED or not (folder / "store.json").is_file():
                continue
            store = run.activations(folder.name)
            same = set(names) <= set(store.layers) and store.d_model == main.x.shape[2]
            if same:
                mine = parts.setdefault(store.info.model, {})
                _read(target.frame, prefix, store, names, "original", not main.per_subject, mine)
    return {
        model: _joined(target.frame, main.site, "original", main.layers, found[main.site, "original"], False)
        for model, found in parts.items()
        if (main.site, "original") in found
    }


def spans_of(
    target: Target, runs: Sequence[tuple[str, Any]], site: str, most: int = 3000, seed: int = 0
) -> tuple[Target, Spans] | None:
    """The rows of the target with every token captured at `site`, and these tokens; None without any.

    A row is one decision. There are at most about `most` rows: whole games are dropped at random. As in `attach`, all
    runs must hold the layers of the first.
    """
    wanted = target.frame.select("game_id", pl.col("seq").cast(pl.Int64)).with_row_index("target_row")
    parts: list[pl.DataFrame] = []
    values: list[NDArray[np.float32]] = []
    layers: tuple[str, ...] = ()
    for prefix, run in runs:
        store = dict(stores_of(run)[0]).get("original")
        if store is None:
            continue
        names = tuple(name for name in store.layers if name == "embed" or name.startswith("resid_post."))
        layers = layers or names
        lines = store.index(site=site).with_columns(game_id=pl.lit(prefix) + pl.col("game_id"))
        mine = lines.join(wanted, on=["game_id", "seq"], how="inner", maintain_order="left")
        games = mine["game_id"].unique(maintain_order=True)
        share = most / max(1, mine["target_row"].n_unique())
        if share < 1:
            kept = np.random.default_rng(seed).permutation(len(games))[: max(1, int(share * len(games)))]
            mine = mine.filter(pl.col("game_id").is_in(games[np.sort(kept)].to_list()))
        if names == layers and mine.height:
            probed = [name for name in names if name != "embed"]
            mine = mine.sort("target_row", "token_index", maintain_order=True)
            parts.append(mine.select("target_row"))
            values.append(store.read_rows(mine, probed))
    if not parts:
        return None
    rows = pl.concat(parts)["target_row"].to_numpy().astype(np.int64)
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    start = np.concatenate([first, [len(rows)]]).astype(np.int64)
    shown = tuple(name.removeprefix("resid_post.") for name in layers if name != "embed")
    return target.take(rows[first]), Spans(site, shown, np.concatenate(values), start)


def _read(
    frame: pl.DataFrame,
    prefix: str,
    store: Activations,
    names: Sequence[str],
    variant: str,
    own: bool,
    parts: dict[tuple[str, str], list[tuple[pl.DataFrame, NDArray[np.float32]]]],
    site: str | None = None,
) -> None:
    keys = frame.select("game_id", pl.col("seq").cast(pl.Int64), "subject").unique(maintain_order=True)
    # Changed contexts in the run's own store (the role line removed, for example) are variants too.
    only = "original" if variant != "original" else None
    lines = store.index(site=site, variant=only).with_columns(game_id=pl.lit(prefix) + pl.col("game_id"))
    lines = lines.filter(
        ~pl.col("site").str.starts_with("tokens:")
    )  # many rows a decision: `spans_of` reads them
    for (site, changed), group in lines.group_by("site", "variant", maintain_order=True):
        bound = bool(group["subject"].is_not_null().any())
        on = ["game_id", "seq", "subject"] if bound else ["game_id", "seq"]
        if own and bound:
            continue  # the position of a mention of oneself is not that of one's own next words
        needed = group.join(keys.select(on).unique(maintain_order=True), on=on, how="semi")
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
    names: Mapping[str, NDArray[np.float32]] | None = None,
) -> SiteActivations:
    lines = pl.concat([piece for piece, _ in pieces]).with_row_index("stored")
    values = np.concatenate([value for _, value in pieces])
    bound = bool(lines["subject"].is_not_null().any())
    on = ["game_id", "seq", "subject"] if bound else ["game_id", "seq"]
    lines = lines.select(*on, "stored").unique(on, keep="last", maintain_order=True)
    at = frame.select("game_id", pl.col("seq").cast(pl.Int64), "subject").join(
        lines, on=on, how="left", maintain_order="left"
    )["stored"].cast(pl.Int64).fill_null(-1)  # fmt: skip
    return SiteActivations(site, layers, values, at.to_numpy(), bound or own, variant, names)
