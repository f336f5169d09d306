import numpy as np
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from analysis.planted.planted import plant
from analysis.probes.probes import probe
from analysis.stats.bootstrap import bootstrap_auroc, interval
from analysis.stats.metrics import auroc
from analysis.stats.moments import Moments
from analysis.stats.splits import game_folds
from analysis.stats.training_variance import NUDGE, TRAINING_DRAWS, FoldFit, one_layer_a_draw, training_draws


def test_draws_of_training_games_are_those_of_refits_with_these_weights():
    rng = np.random.default_rng(0)
    games = np.repeat(np.arange(30), 12)
    x = (rng.normal(size=(360, 6)) + rng.normal(size=(30, 6))[games]).astype(np.float32)
    y = (x[:, 0] + 2 * rng.normal(size=360) > 0).astype(float)
    folds, penalty = game_folds(games, 3), 0.1
    moments = Moments(3, 6, 1).add(x, folds.fold, y[:, None])
    fits = []
    for f in range(3):
        trained = moments.train(c for c in range(3) if c != f)
        fits.append(FoldFit(trained, x, *trained.ridge(penalty * trained.n), penalty))
    ours = training_draws(fits, y, folds, games, logistic=False)
    drawn = np.random.default_rng((30, 1)).multinomial(30, np.full(30, 1 / 30), TRAINING_DRAWS) - 1.0
    theirs = []
    for extra in drawn[:40]:
        scores = np.empty(360)
        for f in range(3):
            train = folds.fold != f
            z = StandardScaler().fit(x[train])
            model = Ridge(alpha=penalty * train.sum())
            model.fit(z.transform(x[train]), y[train], sample_weight=1 + NUDGE * extra[games[train]])
            scores[~train] = model.predict(z.transform(x[~train]))
        theirs.append(auroc(y, scores, strata=folds.fold) / NUDGE)
    assert np.corrcoef(ours[:40], theirs)[0, 1] > 0.8
    assert 0.7 < np.std(ours[:40]) / np.std(theirs) < 1.4


def test_the_interval_of_a_probe_is_as_wide_as_the_probe_varies_over_data_sets():
    values, with_training, without = [], [], []
    for seed in range(60):
        data = plant("silence", 60, n_layers=1, d_model=12, n_turns=2, seed=seed)
        folds = game_folds(data.games, 5, seed)
        found = probe(data.x, data.y, folds, data.games)
        values.append(found.auroc)
        for kept, training in ((with_training, [found.training]), (without, [])):
            value, samples = bootstrap_auroc(
                data.y, [found.scores], data.games, folds.fold, 200, seed, training
            )
            i = interval(samples[0], value[0], 0.5, n_games=60)
            kept.append((i.high - i.low) / (2 * 1.96))
    spread = np.std(values)  # known to about 9% from 60 data sets
    assert 0.8 < np.mean(with_training) / spread < 1.25
    # The mistake, the fits taken as given, makes it narrower than it should be.
    assert np.mean(without) < 0.95 * np.mean(with_training)


def test_a_draw_has_all_folds_at_one_layer_and_each_folds_choice_takes_its_turn():
    one, other = np.random.default_rng(0).normal(size=(2, 200)) * [[1.0], [3.0]]
    drawn = one_layer_a_draw([one, other, other, one, other])
    assert all(drawn[i] == (one, other, other, one, other)[i % 5][i] for i in range(200))
    mixed = np.mean(
        [one, other, other, one, other], axis=0
    )  # the mistake: fits at layers of their own average out
    assert drawn.var() > mixed.var()
