"""The rows that a dictionary is evaluated on: games that it was not trained on, with codes, truth, and public
features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from analysis.data.frames import Logs
from analysis.stats.errors import AnalysisError
from harness.activations.store import Activations
from harness.features.dictionary import BLOCK, Card, Dictionary
from harness.features.saved import load_dictionary

MOST_ROWS = 12_000
"""At most this many rows in a fight: whole games are dropped at random."""
UNLABELLED = 16_384
"""Principal components are fitted on at most this many rows without labels."""


@dataclass(frozen=True)
class Material:
    """One dictionary and the rows that it is evaluated on."""

    found: Dictionary
    folder: Path
    lines: pl.DataFrame
    """Index lines of the rows (`harness.activations.store.INDEX_SCHEMA`), of games held out from its training, if
    any."""
    x: NDArray[np.float32]
    """`(n_rows, d_model)`."""
    codes: sparse.csr_matrix
    """`(n_rows, width)`."""
    made: NDArray[np.float32]
    """`(n_rows, d_model)`: the reconstructions."""
    unlabelled: NDArray[np.float32]
    """`(n, d_model)` of the games that it was trained on; `x` itself where no games were held out."""
    logs: Logs
    """The logs of the rows' games."""
    stamps: tuple[str, ...]
    """Caveats to show beside every figure."""
    runs: tuple[tuple[str, Any], ...] = ()
    """(prefix of the game ids, run): the dictionary's run, without a prefix, and the runs beside it."""

    @property
    def own(self) -> NDArray[np.bool_]:
        """`(n_rows,)`: whether the row is of the dictionary's run."""
        return np.asarray(~self.lines["game_id"].str.contains(":").to_numpy(), dtype=bool)


def material_of(
    run: Any, folder: str | Path, most: int = MOST_ROWS, seed: int = 0, beside: Sequence[Any] = ()
) -> Material:
    """The rows of the run that a saved dictionary is evaluated on, followed by those of the runs beside it, whose games
    are named `2:<id>`, `3:<id>`. Raises FeaturesError, ActivationsError, and AnalysisError where a run has no row of
    its site or layer."""
    found = load_dictionary(folder)
    card = found.card
    store = run.activations("activations")
    lines = store.index(site=card.site)
    if not lines.height:
        raise AnalysisError(
            f"{store.path} has no rows at site {card.site!r}; run: wolfscope capture {run.path} --site {card.site}"
        )
    stamps = list(card.stamps)
    if store.info.model != card.model:
        stamps.append(f"trained on {card.model}, judged on rows of {store.info.model}")
    unseen = pl.col("game_id").is_in(list(card.held_out))
    mine = lines.filter(unseen) if card.held_out else lines
    rest = lines.filter(~unseen) if card.held_out else lines
    if not mine.height:
        mine, rest = lines, lines
        stamps.append("none of the run's games were held out from it; it was trained elsewhere")
    mine = thinned(mine, most, seed)
    some = rest[:: max(1, rest.height // UNLABELLED)] if rest.height else mine
    unlabelled = store.read(some, card.layer)
    runs, parts = [("", run)], [(mine, store.read(mine, card.layer))]
    for number, other in enumerate(beside, start=2):
        runs.append((f"{number}:", other))
        parts.append(_beside(other, card, store.d_model, f"{number}:", most, seed))
    x = np.concatenate([rows for _, rows in parts])
    codes = sparse.vstack(
        [sparse.csr_matrix(found.encode(x[at : at + BLOCK])) for at in range(0, len(x), BLOCK)]
    )
    lines = pl.concat([own for own, _ in parts])
    logs = Logs(runs).some(lines["game_id"].unique(maintain_order=True).to_list())
    return Material(
        found, Path(folder), lines, x, codes.tocsr(), found.reconstruct(x), unlabelled, logs, tuple(stamps),
        tuple(runs),
    )  # fmt: skip


def _beside(
    run: Any, card: Card, d_model: int, prefix: str, most: int, seed: int
) -> tuple[pl.DataFrame, NDArray[np.float32]]:
    """(index lines with prefixed games, rows) of a run beside the dictionary's. Raises AnalysisError."""
    store = run.activations("activations")
    lines = store.index(site=card.site)
    if not lines.height or card.layer not in store.layers or store.d_model != d_model:
        raise AnalysisError(
            f"{store.path} has {lines.height:,} rows at {card.site}, layers {', '.join(store.layers)} of width "
            f"{store.d_model}; the dictionary reads {card.site} at {card.layer}, width {d_model}: capture that, or "
            "leave the run out"
        )
    lines = thinned(lines, most, seed)
    return lines.with_columns(game_id=pl.lit(prefix) + pl.col("game_id")), store.read(lines, card.layer)


def thinned(lines: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """At most `most` lines: whole games are dropped at random."""
    if lines.height <= most:
        return lines
    sizes = lines.group_by("game_id", maintain_order=True).len()
    order = np.random.default_rng(seed).permutation(sizes.height)
    kept = order[np.cumsum(sizes["len"].to_numpy()[order]) <= most]
    return lines.filter(pl.col("game_id").is_in(sizes["game_id"][np.sort(kept)].to_list()))


def joined(lines: pl.DataFrame, frame: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(positions in `lines`, positions in `frame`) of the rows that are in both.

    `frame` has game_id, seq, viewer and subject; lines without a subject are joined to the viewer's own rows alone.
    """
    bound = bool(lines["subject"].is_not_null().any())
    left = lines.select(
        "game_id", pl.col("seq").cast(pl.Int64), viewer=pl.col("seat").cast(pl.Int64),
        subject=pl.col("subject" if bound else "seat").cast(pl.Int64),
    ).with_row_index("line")  # fmt: skip
    right = frame.select(
        "game_id",
        pl.col("seq").cast(pl.Int64),
        pl.col("viewer").cast(pl.Int64),
        pl.col("subject").cast(pl.Int64),
    ).with_row_index("row")
    keys = ["game_id", "seq", "viewer", "subject"]
    both = right.join(
        left.unique(keys, keep="first", maintain_order=True), on=keys, how="inner", maintain_order="left"
    )
    return both["line"].to_numpy().astype(np.int64), both["row"].to_numpy().astype(np.int64)


def untrained_codes(run: Any, found: Dictionary, lines: pl.DataFrame) -> sparse.csr_matrix | None:
    """Codes of the same rows of the untrained model, by its own dictionary; None where a row was not captured."""
    store: Activations = run.activations("activations-untrained")
    theirs = store.index(site=found.card.site).with_row_index("theirs")
    keys = ["game_id", "seq", "seat", "subject", "token_index"]
    both = lines.select(keys).join(
        theirs.select(*keys, "theirs"), on=keys, how="left", maintain_order="left", nulls_equal=True
    )
    if both["theirs"].null_count() or both.height != lines.height:
        return None
    x = store.read(theirs[both["theirs"].to_numpy()].drop("theirs"), found.card.layer)
    return sparse.csr_matrix(sparse.vstack(
        [sparse.csr_matrix(found.encode(x[at : at + BLOCK])) for at in range(0, len(x), BLOCK)]
    ))  # fmt: skip


def untrained_folder(folder: Path) -> Path | None:
    """The untrained model's dictionary with the same training as this one; None without one."""
    home = folder.parent.parent
    same = home.with_name(f"{home.name}-untrained") / folder.parent.name
    exact = same / folder.name
    if (exact / "card.json").is_file():
        return exact
    others = sorted(path.parent for path in same.glob("*/card.json"))
    return others[0] if others else None


def folders_of(run: Path, asked: Sequence[Path] = ()) -> list[Path]:
    """The folders of the named dictionaries, or of all dictionaries of the run. Raises AnalysisError where there is
    none."""
    found = list(asked) or sorted(path.parent for path in run.glob("features/*/*/card.json"))
    if not found:
        raise AnalysisError(
            f"{run} holds no dictionary: wolfscope features train {run} --site SITE --layer LAYER makes one"
        )
    return found
