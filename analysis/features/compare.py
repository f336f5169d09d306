"""Dictionaries of one run side by side: variance explained, loss recovered when spliced in, agreement between seeds.

Two dictionaries of the same rows that differ by their seed alone agree in a latent if a one-to-one matching of their
directions (Kuhn 1955, on cosines) pairs it with one of cosine `SAME` at least (Paulo and Belrose 2025). Latents that
are off on all held-out rows are left out. Chance is the same count after one of the two was rotated at random, which
keeps all angles within it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from analysis.data.captures import UNTRAINED
from analysis.stats.threads import one_thread
from harness.features.dictionary import BLOCK, Card, Dictionary
from harness.features.saved import load_dictionary, read_card
from harness.features.spliced import read_splice
from harness.run.derived import inputs_of, write_table

SAME = 0.7
MOST_ROWS = 8_192
COMPARED: dict[str, Any] = {
    "dictionary": pl.String,  # its folder's name
    "site": pl.String,
    "layer": pl.String,
    "kind": pl.String,
    "width": pl.Int32,
    "k": pl.Float64,  # active latents, as set for training
    "seed": pl.Int32,
    "variance_explained": pl.Float64,  # on rows of held-out games, as are the next three
    "l0": pl.Float64,
    "dead": pl.Float64,
    "recovered": pl.Float64,  # of the cross-entropy, spliced in; null where that was not measured
    "kept": pl.Float64,  # of the divergence
    "agreement": pl.Float64,  # share of active latents that another seed has too, mean over seeds; null without one
    "agreement_chance": pl.Float64,
    "n_seeds": pl.Int32,  # dictionaries that differ by the seed alone, including itself
}


def compared(run: Any, folders: Sequence[Path]) -> pl.DataFrame:
    """Schema `COMPARED`, in the order of the folders. Raises FeaturesError, ActivationsError."""
    cards = [read_card(folder) for folder in folders]
    groups: dict[Any, list[int]] = {}
    for i, card in enumerate(cards):
        groups.setdefault(_but_the_seed(card), []).append(i)
    agreed: dict[int, tuple[float, float]] = {}
    with one_thread():
        for members in groups.values():
            agreed |= _within(run, members, folders) if len(members) > 1 else {}
    rows = []
    for i, (folder, card) in enumerate(zip(folders, cards)):
        told = read_splice(folder)
        own, chance = agreed.get(i, (None, None))
        rows.append(
            {
                "dictionary": folder.name, "site": card.site, "layer": card.layer, "kind": card.kind,
                "width": card.width, "k": card.k, "seed": card.seed, "variance_explained": card.variance_explained,
                "l0": card.l0, "dead": card.dead, "recovered": told and told.recovered, "kept": told and told.kept,
                "agreement": own, "agreement_chance": chance, "n_seeds": len(groups[_but_the_seed(card)]),
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=COMPARED)


def write_compared(run: Any, folders: Sequence[Path]) -> pl.DataFrame:
    """`compared`, written to `RUN/features/compare.parquet`."""
    table = compared(run, folders)
    write_table(
        Path(run.path) / "features" / "compare.parquet", table, inputs_of([run.path], ("activations",))
    )
    return table


def agreement(a: NDArray[Any], b: NDArray[Any], seed: int = 0) -> tuple[float, float]:
    """(share of the directions `a` (n, d) that the matching pairs with a direction of `b` (m, d) at a cosine of at
    least `SAME`, the same with `b` rotated at random)."""
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (a, b))
    d = a.shape[1]
    rotation = np.linalg.qr(np.random.default_rng([seed, 23]).normal(size=(d, d)))[0]
    return _matched(a, b), _matched(a, b @ rotation)


def _matched(a: NDArray[Any], b: NDArray[Any]) -> float:
    cosine = a @ b.T
    rows, columns = linear_sum_assignment(-cosine)
    return float((cosine[rows, columns] >= SAME).sum() / max(1, len(a)))


def _but_the_seed(card: Card) -> tuple[Any, ...]:
    return (card.site, card.layer, card.model, card.kind, card.width, card.k, card.source, card.held_out)


def _within(run: Any, members: Sequence[int], folders: Sequence[Path]) -> dict[int, tuple[float, float]]:
    """Member -> (agreement, chance), means over the others of its group."""
    dictionaries = {i: load_dictionary(folders[i]) for i in members}
    x = _unseen(run, dictionaries[members[0]].card)  # the same of all members
    living = {i: _living(one, x) for i, one in dictionaries.items()}
    found: dict[int, list[tuple[float, float]]] = {i: [] for i in members}
    for one, other in permutations(members, 2):
        found[one].append(agreement(living[one], living[other]))
    return {
        i: (float(np.mean([x for x, _ in own])), float(np.mean([x for _, x in own])))
        for i, own in found.items()
    }


def _unseen(run: Any, card: Card) -> NDArray[Any]:
    """Held-out rows of a dictionary, at most `MOST_ROWS`; of all rows where none was held out."""
    store = run.activations(UNTRAINED if UNTRAINED in card.source else "activations")
    lines = store.index(site=card.site)
    unseen = lines.filter(pl.col("game_id").is_in(list(card.held_out))) if card.held_out else lines
    lines = unseen if unseen.height else lines
    rows: NDArray[Any] = store.read(lines[:: max(1, -(-lines.height // MOST_ROWS))], card.layer)
    return rows


def _living(found: Dictionary, x: NDArray[Any]) -> NDArray[Any]:
    """The directions of latents that are on in some of the rows."""
    on = np.zeros(found.card.width, dtype=bool)
    for at in range(0, len(x), BLOCK):
        on |= (found.encode(x[at : at + BLOCK]) > 0).any(axis=0)
    return found.w_dec[on]


def compare_lines(table: pl.DataFrame) -> list[str]:
    """The table for a terminal: a line a dictionary."""

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    head = "dictionary                          explained    L0   dead  recovered  kept   other seeds have (chance)"
    return [head] + [
        f"{r['dictionary']:<34} {share(r['variance_explained']):>9} {_one(r['l0'])} {share(r['dead']):>6} "
        f"{share(r['recovered']):>9} {share(r['kept']):>6}  {share(r['agreement'])} ({share(r['agreement_chance'])})"
        for r in table.iter_rows(named=True)
    ]  # fmt: skip


def _one(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.1f}"
