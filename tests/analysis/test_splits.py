import numpy as np
import pytest

from analysis.stats.splits import UngroupedSplit, buckets, check_folds, game_folds, row_folds

GAMES = np.repeat([f"g{i}" for i in range(23)], np.arange(1, 24))


def test_every_game_lies_in_one_fold_and_folds_are_even():
    folds = game_folds(GAMES, 5, seed=3)
    assert folds.grouped
    assert check_folds(folds.fold, GAMES)
    sizes = [len(np.unique(GAMES[folds.fold == f])) for f in range(5)]
    assert max(sizes) - min(sizes) <= 1


def test_folds_are_a_function_of_the_seed():
    assert (game_folds(GAMES, 5, 1).fold == game_folds(GAMES, 5, 1).fold).all()
    assert (game_folds(GAMES, 5, 1).fold != game_folds(GAMES, 5, 2).fold).any()


def test_an_ungrouped_split_is_refused_unless_forced_and_then_stamped():
    with pytest.raises(UngroupedSplit, match="23 games"):
        row_folds(GAMES)
    forced = row_folds(GAMES, force=True)
    assert not forced.grouped
    assert "ROWS" in forced.how
    assert not check_folds(forced.fold, GAMES)
    with pytest.raises(UngroupedSplit):
        forced.require_grouped()


def test_fewer_games_than_folds_is_refused_with_both_values():
    with pytest.raises(ValueError, match=r"5 folds .* 2 games"):
        game_folds(["a", "a", "b"], 5)


def test_a_bucket_holds_whole_names():
    names = np.array(["ann", "bob", "cyd", "ann", "eve"])
    bucket = buckets(names, 2)
    assert bucket[0] == bucket[3]
    assert set(bucket) == {0, 1}
