import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from analysis.stats.bootstrap import (
    GamePairs,
    bootstrap_auroc,
    change_interval,
    game_weights,
    holm,
    interval,
    mean_interval,
    r2_interval,
    ratio_interval,
)
from analysis.stats.metrics import auroc, brier, ece, log_loss, r2, recall_at_fpr, threshold_at_fpr
from analysis.stats.ridge import chosen_ridge
from analysis.stats.splits import game_folds


def test_auroc_of_a_worked_example():
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75


def test_ties_count_one_half():
    assert auroc([0, 1], [0.5, 0.5]) == 0.5
    assert auroc([0, 1, 1], [1.0, 1.0, 2.0]) == 0.75


def test_one_class_has_no_auroc():
    assert np.isnan(auroc([1, 1], [0.2, 0.3]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_auroc_equals_scikit_learn_in_every_column_with_ties(dtype):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (300, 20))
    s = rng.integers(-3, 4, (300, 20)).astype(dtype)
    s[:, 10:] += rng.normal(size=(300, 10)).astype(dtype)
    expected = [roc_auc_score(y[:, i], s[:, i]) for i in range(20)]
    np.testing.assert_allclose(auroc(y, s), expected, atol=1e-9)


def test_weighted_auroc_equals_scikit_learn():
    rng = np.random.default_rng(1)
    y, s, w = rng.integers(0, 2, 200), rng.integers(0, 9, 200), rng.random(200)
    assert auroc(y, s, weights=w) == pytest.approx(roc_auc_score(y, s, sample_weight=w))


def test_a_constant_baseline_is_exactly_one_half_within_folds():
    # Pooled over folds, a training base rate is anti-correlated with the held-out one and falls below one
    # half.
    y = np.array([1, 1, 0, 1, 0, 0])
    fold = np.array([0, 0, 0, 1, 1, 1])
    base = np.where(fold == 0, y[fold == 1].mean(), y[fold == 0].mean())
    assert auroc(y, base) < 0.5
    assert auroc(y, base, strata=fold) == 0.5


def test_lengths_that_differ_are_refused_with_both_values():
    with pytest.raises(ValueError, match=r"3 rows, scores 2"):
        auroc([0, 1, 1], [0.1, 0.2])


def test_probability_scores_have_their_known_values():
    assert log_loss([1, 0], [0.5, 0.5]) == pytest.approx(np.log(2))
    assert brier([1, 0], [0.8, 0.2]) == pytest.approx(0.04)
    assert r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
    assert r2([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == 0.0


def test_calibrated_probabilities_have_a_small_calibration_error():
    rng = np.random.default_rng(2)
    p = rng.random(50_000)
    y = rng.random(50_000) < p
    assert ece(y, p) < 0.01
    assert ece(y, np.clip(p * 2 - 0.5, 0, 1)) > 0.1


def test_recall_at_one_percent_false_positives_honours_the_rate():
    rng = np.random.default_rng(3)
    negative, positive = rng.normal(size=5000), rng.normal(3, 1, 5000)
    t = threshold_at_fpr(negative, 0.01)
    assert (negative > t).mean() <= 0.01
    y = np.repeat([0, 1], 5000)
    assert recall_at_fpr(y, np.concatenate([negative, positive])) == pytest.approx(0.75, abs=0.04)
    assert recall_at_fpr([0] * 100 + [1], [0.0] * 101) == 0.0  # ties with honest speech are not recall


def test_bootstrap_weights_reproduce_the_auroc_of_repeated_games():
    rng = np.random.default_rng(4)
    games = np.repeat(np.arange(12), 9)
    fold = games % 3
    y, s = rng.integers(0, 2, 108), rng.integers(0, 6, 108).astype(float)
    weights = game_weights(12, 5, seed=0)
    got = GamePairs(y, s, games, fold).auroc(weights)
    for w, value in zip(weights, got):
        rows = np.concatenate([np.tile(np.flatnonzero(games == g), int(w[g])) for g in range(12)])
        assert value == pytest.approx(auroc(y[rows], s[rows], strata=fold[rows]))


def test_the_paired_interval_is_narrower_than_the_single_ones():
    rng = np.random.default_rng(5)
    games = np.repeat(np.arange(60), 12)
    y = rng.integers(0, 2, len(games))
    first = y * 0.8 + rng.normal(size=len(y))
    second = first + 0.05 * rng.normal(size=len(y))
    values, samples = bootstrap_auroc(y, [first, second], games, n_boot=500)
    single = interval(samples[0], values[0], n_games=len(np.unique(games)))
    paired = interval(samples[0] - samples[1], values[0] - values[1], n_games=len(np.unique(games)))
    assert paired.high - paired.low < (single.high - single.low) / 3


def test_the_interval_over_games_covers_at_its_nominal_rate():
    rng, hits = np.random.default_rng(6), 0
    for _ in range(100):
        games = np.repeat(np.arange(40), 6)
        y = rng.integers(0, 2, 240)
        # Half the noise is shared by a game: rows are not independent.
        s = 1.0 * y + rng.normal(size=40)[games] + rng.normal(size=240)
        values, samples = bootstrap_auroc(y, [s], games, n_boot=300, seed=1)
        found = interval(samples[0], values[0], n_games=len(np.unique(games)))
        hits += found.low <= 0.6915 <= found.high  # Phi(1 / 2)
    assert 86 <= hits <= 100


def test_the_interval_of_a_mean_over_few_games_is_students():
    values = np.random.default_rng(7).normal(1.0, 1.0, 9)
    drawn = game_weights(9, 40_000, seed=0) @ values / 9
    found = interval(drawn, float(values.mean()), n_games=9)
    low, high = student.interval(0.95, 8, values.mean(), values.std(ddof=1) / 3)
    assert found.low == pytest.approx(low, abs=0.12 * (high - low))
    assert found.high == pytest.approx(high, abs=0.12 * (high - low))
    assert found.p == pytest.approx(ttest_1samp(values, 0.0).pvalue, rel=0.5)
    plain = np.quantile(drawn, [0.025, 0.975])
    assert plain[1] - plain[0] < 0.85 * (high - low)  # the mistake: too narrow


def test_holm_steps_down_and_keeps_order():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert np.isnan(holm([0.01, np.nan])[1])
    assert holm([0.01, np.nan])[0] == 0.01


def test_r2_under_game_weights_is_that_of_the_repeated_rows():
    rng = np.random.default_rng(4)
    games = np.repeat(np.arange(12), 5)
    truth = rng.normal(size=60) + games / 4
    guess = truth + rng.normal(size=60)
    found = r2_interval(truth, guess, games, n_boot=200)
    assert found.value == pytest.approx(r2_score(truth, guess))
    direct = []
    for weights in game_weights(12, 200, 0):
        rows = np.repeat(np.arange(60), weights[games].astype(int))
        direct.append(r2_score(truth[rows], guess[rows]))
    assert found == pytest.approx(interval(direct, found.value, n_games=12))
    assert np.isnan(r2_interval(np.ones(60), guess, games).value)


def test_a_mean_over_rows_weighs_games_by_their_rows():
    games, values = np.array(["b", "a", "a", "a"]), np.array([4.0, 0.0, 1.0, 2.0])
    assert mean_interval(values, games) == ratio_interval(["a", "b"], [3.0, 4.0], [3, 1])
    assert mean_interval(values, games).value == 1.75
    assert np.isnan(mean_interval([], []).value)


def test_a_chosen_ridge_takes_the_layer_that_holds_the_target_and_equals_scikit_learn():
    rng = np.random.default_rng(5)
    games = np.repeat(np.arange(20), 8)
    layers = [rng.normal(size=(160, 6)) for _ in range(3)]
    y = layers[1] @ rng.normal(size=(6, 2)) + 0.3 * rng.normal(size=(160, 2))
    fit = chosen_ridge(layers, y, game_folds(games, 4))
    assert fit.layer == 1 and fit.error < 0.2
    scaler = StandardScaler().fit(layers[1])
    same = Ridge(alpha=fit.penalty * 160).fit(scaler.transform(layers[1]), y)
    np.testing.assert_allclose(fit.predict(layers[1]), same.predict(scaler.transform(layers[1])), atol=1e-6)


def test_a_change_on_the_same_games_does_not_count_what_the_games_differ_in() -> None:
    rng = np.random.default_rng(0)
    n = rng.integers(5, 30, size=40).astype(float)
    before = np.round(n * rng.random(40))
    apart = np.stack([[before, n], [before + 1, n]])
    moved = change_interval(apart)
    assert moved.value == pytest.approx(40 / n.sum())
    assert 0 < moved.low < moved.value < moved.high < 2 * moved.value
    assert change_interval(np.stack([apart[0], apart[0]]))[:3] == (0.0, 0.0, 0.0)
