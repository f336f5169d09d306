import numpy as np
import pytest

from analysis.planted.planted import mistakes, plant, power_table
from analysis.planted.rungs import KINDS, rung_target
from analysis.planted.table import rows
from analysis.probes.permutation import layer_null, units_of
from analysis.probes.probes import probe
from analysis.stats.bootstrap import bootstrap_auroc, interval
from analysis.stats.remember import remembered, remembering
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
    table = power_table((20, 60), (0.0, 0.8), repeats=20, n_permutations=39)
    rate = dict(zip(zip(table["n_games"], table["strength"]), table["detected"]))
    assert rate[20, 0.0] <= 0.15  # 3 of 20: beyond that has a chance below 1 in 50 at a true 5%
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


def test_a_stopped_table_goes_on_and_makes_no_outcome_twice(tmp_path):
    made = []

    def make(task):
        made.append(task)
        return [{"planted": "nothing", "n_games": task[0], "rung 1": task[1] == 1}]

    kept = tmp_path / "kept.jsonl"
    whole = list(rows(3, 60, make=make))
    made.clear()
    for n, _ in enumerate(rows(3, 60, kept=kept, make=make)):
        if n == 1:
            break
    assert made == [(60, 0), (60, 1)]
    kept.write_bytes(kept.read_bytes()[:-4])  # a stop in the middle of a line
    assert list(rows(3, 60, kept=kept, make=make)) == whole
    assert made == [(60, 0), (60, 1), (60, 1), (60, 2)]
    assert list(rows(3, 60, kept=kept, make=make)) == whole
    assert len(made) == 4


def test_what_is_remembered_is_what_would_have_been_computed():
    asked = []

    @remembered
    def total(x, folds, scale=1):
        asked.append(scale)
        return scale * float(x.sum()) + folds.n_folds

    x, folds = np.arange(6.0), game_folds(np.repeat(np.arange(3), 2), 3)
    with remembering():
        assert total(x, folds) == total(x.copy(), folds) == 18.0
        assert total(x, folds, scale=2) == total(x + 0, folds, scale=2) == 33.0
        assert total(x + 1, folds) == 24.0
        assert total(x.astype(np.float32), folds) == 18.0
        assert asked == [1, 2, 1, 1]
    assert total(x, folds) == 18.0 and asked == [1, 2, 1, 1, 1]


def test_kinds_of_one_seed_share_the_deal_and_what_is_fitted_on_it():
    kinds = {kind: rung_target(kind, 20, seed=5) for kind in KINDS}
    for kind, target in kinds.items():
        assert target.frame.equals(kinds["nothing"].frame)
        assert (target.y == kinds["nothing"].y).all()
        assert np.array_equal(target.chose, kinds["nothing"].chose) == (kind != "used")
