"""The fight: choices are made inside training games, and planted truth is told as it was planted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from analysis.features.fight import LATENTS, Question, adjusted, fight
from analysis.features.planted import outcome, planted_question
from analysis.features.readers import Columns, Split, read
from analysis.features.regimes import REGIMES, Plan, later_days, shift_of, splits_of
from analysis.stats.errors import AnalysisError
from analysis.stats.metrics import auroc
from analysis.stats.splits import game_folds

N_GAMES, ROWS = 40, 10
GAMES = np.repeat(np.arange(N_GAMES), ROWS)
RNG = np.random.default_rng(0)
Y = (RNG.random(len(GAMES)) < 0.4).astype(float)
DAY = np.tile(np.arange(ROWS) // 4 + 1, N_GAMES)


def split(train: np.ndarray, test: np.ndarray, y: np.ndarray = Y) -> Split:
    return Split(train, y[train], game_folds(GAMES[train], 4).fold, test)


TRAIN, TEST = np.flatnonzero(GAMES < 30), np.flatnonzero(GAMES >= 30)


def test_sparse_and_dense_columns_are_read_alike() -> None:
    x = (RNG.random((len(Y), 30)) < 0.1) * RNG.random((len(Y), 30))
    x[:, 4] += Y * RNG.random(len(Y))
    dense = read(Columns("a", x, (1, 4, 16)), split(TRAIN, TEST))
    thin = read(Columns("a", sparse.csr_matrix(x), (1, 4, 16)), split(TRAIN, TEST))
    assert dense.k == thin.k
    assert np.allclose(dense.outer, thin.outer, atol=1e-8)
    assert dense.chosen[0] == 4


def test_ridge_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    x = RNG.normal(size=(len(Y), 6)) * [1, 5, 1, 1, 0.1, 1] + 3
    x[:, 0] += Y
    scaler = StandardScaler().fit(x[TRAIN])
    theirs = Ridge(alpha=0.1 * len(TRAIN)).fit(scaler.transform(x[TRAIN]), Y[TRAIN])
    ours = read(Columns("a", x), split(TRAIN, TEST), (0.1,))
    assert np.allclose(ours.outer, theirs.predict(scaler.transform(x[TEST])), atol=1e-8)


def test_nothing_of_the_test_rows_enters_a_choice() -> None:
    x = RNG.normal(size=(len(Y), 40))
    other = Y.copy()
    other[TEST] = 1 - other[TEST]
    a, b = (read(Columns("a", x, (1, 2, 8)), split(TRAIN, TEST, y)) for y in (Y, other))
    assert np.array_equal(a.outer, b.outer)
    changed = x.copy()
    changed[TEST] += 100.0
    assert np.array_equal(a.chosen, read(Columns("a", changed, (1, 2, 8)), split(TRAIN, TEST)).chosen)


def test_inner_scores_of_noise_are_at_chance_though_columns_were_chosen() -> None:
    heights = []
    for seed in range(8):
        x = np.random.default_rng(seed).normal(size=(len(Y), 300))
        found = read(Columns("a", x, (1, 4, 16)), split(TRAIN, TEST))
        heights.append(auroc(Y[TRAIN], found.inner, strata=split(TRAIN, TEST).inner))
    # the best k of three is taken, which lifts the mean a little above one half
    assert np.mean(heights) < 0.55


@pytest.mark.parametrize("regime", REGIMES)
def test_no_game_is_on_both_sides_of_a_split_or_of_an_inner_one(regime: str) -> None:
    splits = splits_of(regime, Y, GAMES, Plan(few=10), later_days(DAY)[1])
    assert splits
    for one in splits:
        assert not set(GAMES[one.train]) & set(GAMES[one.test])
        for f in range(int(one.inner.max()) + 1):
            inside = one.train[one.inner == f]
            assert not set(GAMES[inside]) & set(GAMES[one.train[one.inner != f]])


def test_regimes_are_what_they_say() -> None:
    made = {r: splits_of(r, Y, GAMES, Plan(few=10), later_days(DAY)[1]) for r in REGIMES}
    assert all(len(set(GAMES[s.train])) == 10 for s in made["few games"])
    assert all(s.y.mean() < 0.07 for s in made["imbalance"])
    flipped = np.mean([(s.y != Y[s.train]).mean() for s in made["label noise"]])
    assert 0.2 < flipped < 0.3
    assert all((DAY[s.train] == 1).all() and (DAY[s.test] > 1).all() for s in made["shift"])
    assert splits_of("shift", Y, GAMES, Plan()) == []
    with pytest.raises(AnalysisError, match="one level"):
        shift_of(np.full(4, "classic-7"), "preset")
    words, tested = shift_of(np.array(["a", "a", "b"]), "preset")
    assert (words, tested.tolist()) == ("preset a to b", [False, False, True])
    words, tested = shift_of(np.array(["a", "a", "b"]), "run", np.array([False, False, True]))
    assert (words, tested.tolist()) == ("run b to a", [True, True, False])


def test_a_source_that_holds_the_answer_gains_and_a_copy_of_the_probe_does_not() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(len(Y), 5))
    x[:, 0] += Y
    told = (Y + 0.3 * rng.normal(size=len(Y)))[:, None]
    decisions = np.arange(len(Y)) // 5
    for codes, verdict in ((told, ["gain"]), (x, ["no gain", "unclear"])):
        sources = [Columns("probe on the stream", x), Columns(LATENTS, codes, (1, 2, 4))]
        found = fight([Question("t", Y, GAMES, decisions, sources)], Plan(), ("full",), 200)
        rows = found.verdicts.filter(pl.col("over") == "simple methods")
        assert rows["verdict"].item() in verdict
        assert found.by_k.filter(pl.col("source") == LATENTS)["k"].to_list()[0] == 1


def test_p_is_adjusted_over_targets() -> None:
    one = {"regime": "full", "added": LATENTS, "over": "simple methods", "without": 0.7, "gain": 0.02}
    one |= {"low": 0.001, "high": 0.04, "adjusted": None, "verdict": None}
    frame = pl.DataFrame([one | {"target": name, "p": p} for name, p in (("a", 0.03), ("b", 0.04))])
    assert adjusted(frame)["adjusted"].to_list() == [0.06, 0.06]
    assert adjusted(frame)["verdict"].to_list() == ["unclear", "unclear"]
    assert adjusted(frame[:1])["verdict"].to_list() == ["gain"]


def test_a_known_feature_wins_with_few_labels_and_loses_where_no_latent_has_it() -> None:
    gains = {kind: [r["gain"] for r in outcome(kind, 1, 40, 100)][1] for kind in ("superposed", "outside")}
    assert gains["superposed"] > 0.02
    assert gains["outside"] < 0.01


def test_what_is_planted_is_an_unknown_kind_or_one_of_four() -> None:
    with pytest.raises(ValueError, match="nothing is planted"):
        planted_question("else")
