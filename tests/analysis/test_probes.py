import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analysis.probes.permutation import control_task, layer_null, permute_within_games, units_of
from analysis.probes.probes import leave_names_out, probe
from analysis.stats.logistic import fit_logistic
from analysis.stats.metrics import auroc
from analysis.stats.moments import Moments
from analysis.stats.splits import UngroupedSplit, game_folds, row_folds


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    games = np.repeat(np.arange(40), 30)
    x = (rng.normal(size=(1200, 3, 24)) @ rng.normal(size=(24, 24)) + 5).astype(np.float32)
    x[:, :, 7] = 2.0  # a constant feature
    y = (x[:, 1] @ rng.normal(size=24) * 0.2 + rng.normal(size=1200) * 2 > 6).astype(int)
    return x, y, games, game_folds(games, 5)


def test_ridge_equals_scikit_learn_for_every_penalty(data):
    x, y, _, folds = data
    moments = Moments(5, 24, 1).add(x[:, 1], folds.fold, y[:, None])
    train = folds.fold != 2
    trained = moments.train([0, 1, 3, 4])
    for penalty in (1e-3, 0.1, 10.0):
        model = make_pipeline(StandardScaler(), Ridge(alpha=penalty * train.sum()))
        model.fit(x[train, 1].astype(float), y[train])
        w, b = trained.ridge(penalty * train.sum())
        np.testing.assert_allclose(x[:, 1] @ w[:, 0] + b[0], model.predict(x[:, 1].astype(float)), atol=1e-6)


def test_logistic_equals_scikit_learn_for_every_penalty(data):
    x, y, _, folds = data
    train = folds.fold != 0
    trained = Moments(5, 24, 1).add(x[:, 1], folds.fold, y[:, None]).train([1, 2, 3, 4])
    penalties = np.array([1e-4, 1e-2, 1.0])
    w, b = fit_logistic(trained, x[train, 1], y[train], penalties)
    for i, penalty in enumerate(penalties):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=1 / (penalty * train.sum()), tol=1e-9, max_iter=5000)
        )
        model.fit(x[train, 1].astype(float), y[train])
        np.testing.assert_allclose(
            x[:, 1] @ w[:, i] + b[i], model.decision_function(x[:, 1].astype(float)), atol=5e-3
        )


def test_lda_equals_scikit_learn_up_to_an_offset(data):
    x, y, _, _ = data
    trained = Moments(1, 24, 1).add(x[:, 1], np.zeros(1200, int), y[:, None]).train([0])
    w, _ = trained.lda(shrinkage=0.1)
    z = StandardScaler().fit_transform(x[:, 1].astype(float))
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(z, y)
    ours, theirs = x[:, 1].astype(float) @ w[:, 0], model.decision_function(z)
    np.testing.assert_allclose(ours - ours.mean(), theirs - theirs.mean(), atol=1e-6)


def test_mass_mean_is_the_difference_of_class_means(data):
    x, y, _, _ = data
    trained = Moments(1, 24, 1).add(x[:, 1], np.zeros(1200, int), y[:, None]).train([0])
    w, _ = trained.mass_mean()
    z = StandardScaler().fit_transform(x[:, 1].astype(float))
    delta = z[y == 1].mean(axis=0) - z[y == 0].mean(axis=0)
    np.testing.assert_allclose(w[:, 0] * trained.scale, delta, atol=1e-8)


def test_rows_may_arrive_in_pieces(data):
    x, y, _, folds = data
    whole = Moments(5, 24, 1).add(x[:, 1], folds.fold, y[:, None]).train([0, 1])
    pieces = Moments(5, 24, 1)
    for start in range(0, 1200, 170):
        rows = slice(start, start + 170)
        pieces.add(x[rows, 1], folds.fold[rows], y[rows, None])
    for ours, theirs in zip(whole.ridge(3.0), pieces.train([0, 1]).ridge(3.0)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["logistic", "ridge", "lda", "mass_mean"])
def test_every_kind_finds_the_layer_that_holds_the_signal(data, kind):
    x, y, games, folds = data
    found = probe(x, y, folds, games, kind)
    assert found.by_layer.argmax() == 1
    if kind != "mass_mean":  # which ignores the covariance
        assert set(found.chosen_layer) == {1}
        assert found.auroc > 0.85
        assert found.auroc == pytest.approx(found.by_layer[1])


def test_a_probe_score_is_that_of_scikit_learn_refitted_without_the_fold(data):
    x, y, games, folds = data
    found = probe(x, y, folds, games, "logistic")
    for f in range(5):
        train, test = folds.fold != f, folds.fold == f
        p = y[train].mean()
        penalty = found.chosen_penalty[f] * p * (1 - p)
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=1 / (penalty * train.sum()), tol=1e-9, max_iter=5000)
        )
        model.fit(x[train, found.chosen_layer[f]].astype(float), y[train])
        expected = model.predict_proba(x[test, found.chosen_layer[f]].astype(float))[:, 1]
        np.testing.assert_allclose(found.scores[test], expected, atol=2e-3)


def test_a_target_with_one_class_in_a_training_set_is_refused(data):
    x, _, games, folds = data
    with pytest.raises(ValueError, match="more games are needed"):
        probe(x, (games == 0).astype(int), folds, games)


def test_the_null_refits_exactly_what_scikit_learn_would(data):
    x, _, games, folds = data
    player = np.tile(np.arange(6), 200)
    unit, unit_games, _ = units_of(games, player)
    labels = (np.random.default_rng(1).random(len(unit_games)) < 0.3).astype(np.uint8)
    null = layer_null(x, labels, unit, unit_games, folds, n_permutations=3, seed=9)
    permuted = permute_within_games(labels, unit_games, 3, seed=9)
    for column, got in [(labels, null.observed[0, 2]), (permuted[:, 1], null.null[0, 1, 2])]:
        y, s = column[unit], np.empty(1200)
        for f in range(5):
            train = folds.fold != f
            model = make_pipeline(StandardScaler(), Ridge(alpha=0.1 * train.sum()))
            s[~train] = model.fit(x[train, 2].astype(float), y[train]).predict(x[~train, 2].astype(float))
        assert got == pytest.approx(auroc(y, s, strata=folds.fold), abs=1e-3)
    assert roc_auc_score(labels[unit], x[:, 0, 0]) < 1  # the labels are real labels


def test_permutations_keep_the_number_of_werewolves_of_each_game():
    games = np.repeat(np.arange(30), 7)
    labels = np.tile([1, 1, 0, 0, 0, 0, 0], 30).astype(np.uint8)
    drawn = permute_within_games(labels, games, 50, seed=0)
    assert (drawn.reshape(30, 7, 50).sum(axis=1) == 2).all()
    np.testing.assert_allclose(drawn.mean(axis=1), 2 / 7, atol=0.3)


def test_the_null_refuses_an_ungrouped_split(data):
    x, y, games, _ = data
    with pytest.raises(UngroupedSplit):
        layer_null(x, y, np.arange(1200), games, row_folds(games, force=True), n_permutations=1)


def test_a_memorisable_control_is_solved_and_a_fresh_one_is_not(data):
    folds = data[3]
    types = np.tile(np.arange(12), 100)
    x = np.eye(12, dtype=np.float32)[types][:, None, :]
    assert control_task(x, types, 0.4, folds)[0] == pytest.approx(1.0)
    assert control_task(x, np.arange(1200), 0.4, folds)[0] == pytest.approx(0.5, abs=0.03)


def test_leaving_names_out_removes_what_a_name_alone_tells(data):
    _, _, games, folds = data
    rng = np.random.default_rng(3)
    name = rng.integers(0, 8, 1200)
    x = np.eye(8, dtype=np.float32)[name]
    y = (rng.random(1200) < np.where(name < 4, 0.9, 0.1)).astype(int)  # names are not drawn at random here
    assert probe(x, y, folds, games).auroc > 0.85
    scores, fit = leave_names_out(x, y, folds, name % 4)
    assert abs(auroc(y, scores, strata=fit) - 0.5) < 0.45
