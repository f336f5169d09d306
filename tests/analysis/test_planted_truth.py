import numpy as np
import pytest

from analysis.planted.planted import mistakes, plant, power_table
from analysis.probes.permutation import layer_null, units_of
from analysis.probes.probes import probe
from analysis.stats.bootstrap import bootstrap_auroc, interval
from analysis.stats.splits import game_folds


def test_a_planted_signal_is_found_in_its_layer():
    data = plant("signal", 120, strength=1.5, seed=1)
    found = probe(data.x, data.y, game_folds(data.games), data.games)
    assert found.auroc > 0.75
    assert set(found.chosen_layer) == {2}


def test_nothing_is_found_where_nothing_was_planted():
    data = plant("nothing", 120, seed=2)
    folds = game_folds(data.games)
    unit, unit_games, first = units_of(data.games, data.frame["subject"].to_numpy())
    null = layer_null(data.x, data.y[first], unit, unit_games, folds, 199)
    assert null.p[0] > 0.05
    assert abs(probe(data.x, data.y, folds, data.games).auroc - 0.5) < 0.07


def test_a_planted_confound_beats_chance_but_not_the_public_count_behind_it():
    data = plant("confound", 150, strength=2.0, seed=3)
    folds = game_folds(data.games)
    found = probe(data.x, data.y, folds, data.games)
    assert found.auroc > 0.58
    count = data.frame["accused"].to_numpy().astype(float)
    values, samples = bootstrap_auroc(data.y, [found.scores, count], data.games, folds.fold)
    assert interval(samples[0] - samples[1], values[0] - values[1], n_games=150).low < 0


def test_false_positives_stay_at_their_rate_and_power_grows_with_games():
    table = power_table((20, 60), (0.0, 0.8), repeats=40, n_permutations=39)
    rate = dict(zip(zip(table["n_games"], table["strength"]), table["detected"]))
    assert rate[20, 0.0] <= 0.15  # 6 of 40: beyond that has a chance below 1 in 50 at a true 5%
    assert rate[60, 0.0] <= 0.15
    assert rate[60, 0.8] > rate[20, 0.8] - 0.05
    assert rate[60, 0.8] > 0.8


def test_a_split_of_rows_finds_signal_in_nothing_and_ours_does_not():
    data = plant("nothing", 60, d_model=96, seed=4)
    found = mistakes(data)
    assert found["rows split at random"] > 0.6
    assert abs(found["nested, grouped"] - 0.5) < 0.08


def test_choosing_the_layer_on_the_test_rows_finds_signal_in_nothing():
    gap = []
    for seed in range(6):
        data = plant("nothing", 25, n_layers=24, d_model=8, seed=seed)
        found = mistakes(data, seed)
        gap.append(found["best layer on the test rows"] - found["nested, grouped"])
    assert np.mean(gap) > 0.04


def test_a_data_set_is_a_function_of_its_seed():
    one, same, other = plant("signal", 5, seed=1), plant("signal", 5, seed=1), plant("signal", 5, seed=2)
    assert (one.x == same.x).all()
    assert one.frame.equals(same.frame)
    assert not (one.x == other.x).all()
    assert one.y.mean() == pytest.approx(2 / 6, abs=0.01)
