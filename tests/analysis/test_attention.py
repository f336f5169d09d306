import numpy as np
import pytest
from scipy.optimize import check_grad

from analysis.data.spans import Spans
from analysis.probes.attention import fit_spans, loss, read_spans
from analysis.stats.splits import UngroupedSplit, game_folds, row_folds


def spans_with_one_telling_token(strength, n_games=60, per_game=8, d=16, seed=0):
    """Spans of 3 to 9 tokens; one of them, at any place, has a mark and carries the label."""
    rng = np.random.default_rng(seed)
    games = np.repeat(np.arange(n_games), per_game)
    y = (rng.random(len(games)) < 0.4).astype(np.uint8)
    counts = rng.integers(3, 10, len(games))
    start = np.concatenate([[0], np.cumsum(counts)])
    x = rng.normal(size=(start[-1], 2, d)).astype(np.float32)
    told = start[:-1] + rng.integers(0, counts)
    x[told, 1, 0] += 4.0
    x[told, 1, 1] += strength * (2.0 * y - 1)
    return Spans("tokens:speech", ("0", "1"), x, start), y, games


def test_the_gradient_is_that_of_the_objective():
    rng = np.random.default_rng(1)
    start, d = np.array([0, 2, 3, 7]), 3
    z, y = rng.normal(size=(7, d)), np.array([[1.0], [0.0], [1.0]])

    def of(point):
        v, q, b = point[:d, None], point[d : 2 * d, None], point[2 * d :]
        return loss(v, q, b, z, start, y)

    def gradient(point):
        _, dv, dq, db = of(point)
        return np.concatenate([dv[:, 0], dq[:, 0], db])

    for seed in range(3):
        point = np.random.default_rng(seed).normal(size=2 * d + 1)
        assert check_grad(lambda p: float(of(p)[0][0]), gradient, point) < 1e-6


def test_attention_finds_the_one_token_that_tells_and_mean_and_last_do_not():
    spans, y, games = spans_with_one_telling_token(1.2)
    folds = game_folds(games)
    found = {
        name: read_spans(name, part, y, games, folds, n_permutations=19)
        for name, part in (("attention", spans), ("mean", spans.mean()), ("last", spans.last()))
    }
    assert found["attention"].auroc > 0.8
    assert found["attention"].auroc > found["mean"].auroc + 0.05
    assert found["attention"].auroc > found["last"].auroc + 0.1
    assert set(found["attention"].chosen_layer) == {1}
    assert found["attention"].null.p[0] == pytest.approx(1 / 20)


def test_the_learned_query_looks_at_the_token_that_tells():
    spans, y, _ = spans_with_one_telling_token(1.5)
    fit = fit_spans(spans.x[:, 1], spans.start, y[:, None])
    weights = fit.attention(spans.x[:, 1], spans.start)[:, 0]
    np.testing.assert_allclose(np.add.reduceat(weights, spans.start[:-1]), 1.0, rtol=1e-5)
    assert weights[spans.x[:, 1, 0] > 3].mean() > 0.7


def test_nothing_is_found_by_attention_where_there_is_nothing():
    p = []
    for seed in range(6):
        spans, y, games = spans_with_one_telling_token(0.0, n_games=25, d=8, seed=seed)
        p.append(read_spans("attention", spans, y, games, game_folds(games), 19, seed).null.p[0])
    assert np.mean(np.asarray(p) <= 0.05) <= 0.34  # three of six have a chance near 1 in 500 at a true 5%
    assert np.mean(p) > 0.15


def test_a_span_of_one_token_is_read_as_by_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=400) > 0).astype(np.uint8)
    fit = fit_spans(x, np.arange(401), y[:, None])
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    theirs = LogisticRegression(C=1 / (400 * 2e-2)).fit(z, y)
    np.testing.assert_allclose(fit.v[:, 0], theirs.coef_[0], atol=0.02)


def test_rows_keep_their_tokens_when_some_are_taken():
    spans, _, _ = spans_with_one_telling_token(1.0, n_games=3)
    rows = np.array([5, 0, 11])
    taken = spans.take(rows)
    for i, row in enumerate(rows):
        mine = taken.x[taken.start[i] : taken.start[i + 1]]
        np.testing.assert_array_equal(mine, spans.x[spans.start[row] : spans.start[row + 1]])


def test_spans_are_not_read_on_an_ungrouped_split():
    spans, y, games = spans_with_one_telling_token(1.0, n_games=10)
    with pytest.raises(UngroupedSplit):
        read_spans("attention", spans, y, games, row_folds(games, force=True), 3)
