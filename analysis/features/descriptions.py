"""Descriptions of latents as rules over the state of the game: exhaustive search of a grammar, checked on other games.

Every rule of the grammar (`analysis.features.predicates`) is tried for every latent; the one with the largest mutual
information with "the latent is on" on one half of the held-out games is its description. Precision (the share of rows
with the latent on that satisfy the rule), recall (the share of rows satisfying the rule with the latent on) and the
number of false negatives are measured on the other half. A rule with low recall describes only part of the latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from analysis.stats.codes import codes_of

RULES: dict[str, Any] = {
    "latent": pl.Int32,
    "rule": pl.String,
    "information": pl.Float64,  # mutual information on the checking half, bits
    "share": pl.Float64,  # share of the latent's entropy on the checking half
    "precision": pl.Float64,
    "recall": pl.Float64,
    "false_negatives": pl.Int64,  # rows that satisfy the rule with the latent off
    "n_on": pl.Int64,  # rows of the checking half with the latent on
    "n_rows": pl.Int64,
    "chosen_information": pl.Float64,  # the same information on the half where the rule was chosen
}
BLOCK = 256
FEWEST_ON = 10
"""A latent that is on in fewer rows of either half has no description."""


def describe(
    words: Sequence[str], atoms: NDArray[np.bool_], codes: sparse.csr_matrix, games: NDArray[Any],
    latents: Sequence[int] | None = None, seed: int = 0,
) -> pl.DataFrame:  # fmt: skip
    """Schema `RULES`, one row a latent that is on often enough, the most informative first.

    `atoms` is `(n_rows, n_atoms)` with their `words`, `codes` `(n_rows, width)`, `games` `(n_rows,)` ids. latents: only
    these.
    """
    chosen = np.arange(codes.shape[1]) if latents is None else np.asarray(latents, dtype=np.int64)
    on = sparse.csr_matrix((codes[:, chosen] > 0).astype(np.float32))
    half = halves(games, seed)
    look, check = np.flatnonzero(~half), np.flatnonzero(half)
    often = [np.asarray(on[rows].sum(axis=0)).ravel() for rows in (look, check)]
    kept = np.flatnonzero((often[0] >= FEWEST_ON) & (often[1] >= FEWEST_ON))
    if not len(kept):
        return pl.DataFrame(schema=RULES)
    best = np.full(len(kept), -1.0)
    which: list[tuple[int, bool, int, bool]] = [(0, False, -1, False)] * len(kept)
    here, theirs = on[look][:, kept], often[0][kept]
    for rules, table in grammar(atoms[look]):
        both = np.asarray(here.T @ table.astype(np.float32)).T  # (n_rules, n_latents)
        found = information(both, table.sum(axis=0)[:, None], theirs[None, :], len(look))
        top = found.argmax(axis=0)
        for latent, rule in enumerate(top):
            if found[rule, latent] > best[latent] + 1e-9:
                best[latent], which[latent] = found[rule, latent], rules[rule]
    rows = [
        _row(
            int(chosen[kept[i]]),
            which[i],
            words,
            atoms[check],
            _column(on, check, int(kept[i])),
            float(best[i]),
        )
        for i in range(len(kept))
    ]
    return pl.DataFrame(rows, schema=RULES).sort(
        "information", "latent", descending=[True, False], maintain_order=True
    )


def halves(games: NDArray[Any], seed: int = 0) -> NDArray[np.bool_]:
    """`(n_rows,)`: whether the row's game is of the half on which rules are checked."""
    code = codes_of(games)
    order = np.random.default_rng([seed, 5]).permutation(int(code.max(initial=-1)) + 1)
    return np.asarray(order[code] % 2 == 1)


def grammar(
    atoms: NDArray[np.bool_],
) -> Iterator[tuple[list[tuple[int, bool, int, bool]], NDArray[np.bool_]]]:
    """All rules in blocks: [(first atom, negated, second atom or -1, negated)], `(n_rows, n_rules)`."""
    n = atoms.shape[1]
    single = [(i, negated, -1, False) for negated in (False, True) for i in range(n)]
    yield single, np.hstack([atoms, ~atoms])
    for i in range(n):
        rest = np.arange(n) if i == 0 else np.delete(np.arange(n), i)
        later = rest[rest > i]
        # `i and j` once, `i and not j` for every j
        table = np.hstack([atoms[:, [i]] & atoms[:, later], atoms[:, [i]] & ~atoms[:, rest[rest != i]]])
        rules = [(i, False, int(j), False) for j in later] + [
            (i, False, int(j), True) for j in rest if j != i
        ]
        if rules:
            yield rules, table


def information(both: NDArray[Any], rule: NDArray[Any], latent: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Mutual information in bits of two 0/1 variables, from counts that broadcast: both on, each on, rows."""
    both, rule, latent = (np.asarray(a, dtype=np.float64) for a in (both, rule, latent))
    total = np.zeros(np.broadcast_shapes(both.shape, rule.shape, latent.shape))
    cells = (
        (both, rule, latent), (rule - both, rule, n - latent), (latent - both, n - rule, latent),
        (n - rule - latent + both, n - rule, n - latent),
    )  # fmt: skip
    for joint, a, b in cells:
        expected = a * b / n
        ok = (joint > 0) & (expected > 0)
        total += np.where(ok, joint / n * np.log2(np.where(ok, joint, 1) / np.where(ok, expected, 1)), 0.0)
    return total


def _column(on: sparse.csr_matrix, rows: NDArray[np.int64], latent: int) -> NDArray[np.bool_]:
    return np.asarray(on[rows][:, latent].todense()).ravel() > 0


def holds(rule: tuple[int, bool, int, bool], atoms: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`(n_rows,)`: whether a rule holds."""
    i, negated, j, other = rule
    first = ~atoms[:, i] if negated else atoms[:, i]
    return first if j < 0 else first & (~atoms[:, j] if other else atoms[:, j])


def in_words(rule: tuple[int, bool, int, bool], words: Sequence[str]) -> str:
    """A rule as it is read."""
    i, negated, j, other = rule
    first = f"not {words[i]}" if negated else words[i]
    return first if j < 0 else f"{first} and {'not ' if other else ''}{words[j]}"


def _row(
    latent: int, rule: tuple[int, bool, int, bool], words: Sequence[str], atoms: NDArray[np.bool_],
    on: NDArray[np.bool_], chosen: float,
) -> dict[str, Any]:  # fmt: skip
    here = holds(rule, atoms)
    both, n = int((here & on).sum()), len(on)
    found = float(information(np.array(both), np.array(here.sum()), np.array(on.sum()), n))
    rate = on.mean()
    entropy = float(-(rate * np.log2(rate) + (1 - rate) * np.log2(1 - rate))) if 0 < rate < 1 else 0.0
    return {
        "latent": latent, "rule": in_words(rule, words), "information": found,
        "share": found / entropy if entropy else None, "precision": both / max(1, int(on.sum())),
        "recall": both / max(1, int(here.sum())), "false_negatives": int(here.sum()) - both, "n_on": int(on.sum()),
        "n_rows": n, "chosen_information": chosen,
    }  # fmt: skip
