"""What is linear is told from what is not, and a belief that turns from layer to layer is found by its map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from analysis.data.frames import Logs
from analysis.features.beliefs import believed, compared
from analysis.features.linear import across, barycentres, drift, linearity, onto_simplex
from analysis.stats.splits import game_folds
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run

N_GAMES, ROWS, D = 30, 20, 6
GAMES = np.repeat(np.arange(N_GAMES), ROWS)
FOLDS = game_folds(GAMES, 5)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(len(GAMES), D))


@pytest.mark.parametrize(("bent", "gains"), [(False, False), (True, True)])
def test_a_kernel_or_network_gains_only_where_the_belief_is_not_linear(bent: bool, gains: bool) -> None:
    wanted = X[:, 0] + (1.5 * np.abs(X[:, 1]) if bent else X[:, 1]) + 0.3 * RNG.normal(size=len(X))
    rows = linearity({"resid_post.0": X.astype(np.float32)}, wanted, FOLDS, GAMES, 200)
    linear, kernel, network = (
        rows.filter(readout=kind).row(0, named=True) for kind in ("linear", "kernel", "network")
    )
    assert linear["r2"] > (0.3 if bent else 0.9)
    assert (kernel["low"] > 0.05) is gains
    assert gains or network["gain"] < 0.01


def test_a_direction_that_is_the_same_up_to_a_map_is_carried_by_it_and_not_without() -> None:
    turn = np.linalg.qr(RNG.normal(size=(D, D)))[0]
    wanted = X[:, 0] + 0.1 * RNG.normal(size=len(X))
    other = RNG.normal(size=(500, D))
    found = drift({"a": X, "b": X @ turn}, wanted, FOLDS, {"a": other, "b": other @ turn}).row(0, named=True)
    assert found["r2_mapped"] > 0.95
    assert found["r2_as_is"] < 0.6
    assert found["r2_own"] > 0.95
    assert found["ceiling"] > 0.95 > abs(found["cosine"])


def test_levels_of_a_factor_with_other_directions_are_told_from_those_with_the_same() -> None:
    level = np.where(RNG.random(len(X)) < 0.5, "a", "b")
    same = X[:, 0] + 0.1 * RNG.normal(size=len(X))
    other = np.where(level == "a", X[:, 0], X[:, 1]) + 0.1 * RNG.normal(size=len(X))
    for wanted, alike in ((same, True), (other, False)):
        rows = across(X, wanted, level, GAMES)
        cross = rows.filter(fitted="a", read="b").row(0, named=True)
        assert (cross["r2_as_is"] > 0.9) is alike
        assert (cross["cosine"] > 0.9) is alike


def test_points_are_brought_onto_the_triangle() -> None:
    points = np.array([[0.2, 0.3, 0.5], [2.0, 0.0, 0.0], [-1.0, 0.5, 0.5], [0.4, 0.4, 0.4]])
    made = onto_simplex(points)
    assert np.allclose(made.sum(axis=1), 1)
    assert (made >= 0).all()
    assert np.allclose(made[0], points[0])
    assert np.allclose(made[1:], [[1, 0, 0], [0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]])


@pytest.mark.parametrize("planted", [True, False])
def test_a_cluster_of_latents_predicts_the_belief_only_where_one_was_planted(planted: bool) -> None:
    rng = np.random.default_rng(1)
    belief = rng.dirichlet([0.5, 0.5, 0.5], size=len(GAMES))
    width, d = 48, 24
    # four clusters of twelve latents; those of the first each hold a corner's weight, with noise of their own
    directions = np.repeat(3 * rng.normal(size=(4, d)), 12, axis=0) + rng.normal(size=(width, d))
    codes = (rng.random((len(GAMES), width)) < 0.3) * rng.random((len(GAMES), width))
    if planted:
        told = belief @ np.tile(np.eye(3), 4) + 0.5 * rng.normal(size=(len(GAMES), 12))
        codes[:, :12] = np.maximum(0, told)
    found = barycentres(
        sparse.csr_matrix(codes), directions, codes @ directions, belief, FOLDS, n_clusters=4, n_null=19
    ).row(0, named=True)
    assert (found["p"] <= 0.1) is planted
    assert (found["r2"] > 0.3) is planted


def test_directions_are_compared_between_runs_presets_and_checkpoints(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 24, 1.5, checkpoints={"early": 0.0, "late": 1.0})
    other = planted_run(tmp_path / "other", 24, 1.5, preset="probe-6")
    runs = [("", load_run(run)), ("2:", load_run(other))]
    target, belief = believed(runs, Logs(runs), "mention", lambda text: None)
    layer = target.activations[0].layers.index("1")
    truth = np.asarray(3 * target.y - 1, dtype=float)
    tables = compared(runs, target, truth, layer)
    assert len(belief) == len(target.y) and belief.sum(axis=1) == pytest.approx(1)
    for name, a, b in (("run", "planted (1)", "planted (2)"), ("preset", "classic-7", "probe-6")):
        cross = tables[f"across_{name}"].filter(fitted=a, read=b).row(0, named=True)
        assert cross["r2_as_is"] > 0.6 * cross["r2_own"] > 0.1
    of = tables["across_checkpoint"]
    late = of.filter(fitted="planted@0000", read="late@0").row(0, named=True)
    early = of.filter(fitted="planted@0000", read="early@0").row(0, named=True)
    assert late["cosine"] > 0.5 > early["cosine"]
    assert early["r2_own"] < 0.05 < late["r2_as_is"]
