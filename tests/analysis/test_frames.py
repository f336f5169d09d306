from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from analysis.data.frames import rows_schema, subject_rows
from analysis.data.labels import label
from analysis.data.targets import targets_of, thin
from analysis.data.words import word_features
from games.werewolf.game import GAME
from games.werewolf.reading import PUBLIC
from games.werewolf.reading.knowledge import marginals
from tests.fixtures.planted_runs import scripted_game


@pytest.fixture(scope="module")
def logs():
    return [scripted_game(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def rows(logs):
    return subject_rows(logs)


def test_the_rules_posterior_equals_enumeration():
    deck = (("werewolf", 2), ("seer", 1), ("villager", 3))
    every = frozenset(role for role, _ in deck)
    allowed = (
        frozenset({"villager"}),
        every,
        every - {"werewolf"},
        every,
        frozenset({"seer", "werewolf"}),
        every,
    )
    cards = [role for role, count in deck for _ in range(count)]
    deals = [d for d in set(itertools.permutations(cards)) if all(d[i] in allowed[i] for i in range(6))]
    for seat, p in enumerate(marginals(deck, allowed)):
        for role in every:
            assert p[role] == pytest.approx(sum(d[seat] == role for d in deals) / len(deals))


def test_contradictory_knowledge_is_an_error():
    with pytest.raises(ValueError, match="no deal"):
        marginals((("werewolf", 1), ("villager", 1)), (frozenset({"villager"}), frozenset({"villager"})))


def test_rows_hold_only_what_the_viewer_was_not_told(rows):
    frame = rows.frame
    assert dict(frame.schema) == {
        name: kind if isinstance(kind, pl.DataType) else kind()
        for name, kind in rows_schema(GAME, PUBLIC).items()
    }
    assert ((frame["p_rules"] > 0) & (frame["p_rules"] < 1)).all()
    assert "werewolf" not in frame["viewer_role"].unique().to_list()  # who knows all is asked nothing
    assert (frame["viewer"] != frame["subject"]).all()


def test_the_rules_posterior_is_calibrated_on_its_rows(rows):
    by_viewer = rows.frame.group_by("game_id", "seq", "viewer").agg(
        pl.col("is_werewolf").sum(), pl.col("p_rules").sum()
    )
    assert (by_viewer["is_werewolf"] - by_viewer["p_rules"]).abs().max() < 1e-9


def test_rows_of_dead_subjects_are_absent(logs, rows):
    for log in logs[:10]:
        for event in log.records:
            if (
                event.__class__.__name__ == "Event"
                and event.kind in ("death", "exile")
                and (event.target or 0) >= 0
            ):
                late = rows.frame.filter(
                    (pl.col("game_id") == log.game_id)
                    & (pl.col("subject") == event.target)
                    & (pl.col("seq") > event.seq)
                )
                assert late.is_empty()


def test_public_counts_grow_and_start_at_nothing(rows):
    first = rows.frame.filter((pl.col("day") == 1) & (pl.col("turn") == 0) & (pl.col("kind") == "inspect"))
    assert first.select(PUBLIC).to_numpy().sum() == 0
    votes = (
        rows.frame.sort("seq").group_by("game_id", "viewer", "subject", maintain_order=True).agg("was_voted")
    )
    assert all(list(counts) == sorted(counts) for counts in votes["was_voted"].to_list())


def test_text_about_a_subject_names_nobody_and_holds_no_secret_of_others(logs, rows):
    names = {fact.name for log in logs for fact in log.game.seats(log.config, log.records)}
    read = np.unique(rows.reads.indices)
    for i in read[:500]:
        assert not names & set(rows.lines[i].split())
    villagers = np.flatnonzero((rows.frame["viewer_role"] == "villager").to_numpy())
    text = {rows.lines[i] for i in rows.reads[villagers].indices}
    assert not any(line.startswith("subject kills") or " kills subject" in line for line in text)


def test_word_features_have_one_row_each_and_no_text_gives_none(logs, rows):
    target = targets_of(GAME, rows, subject_rows(logs, about="self"), label(logs)["speeches"])[0]
    words = word_features(target, 50)
    assert words is not None
    assert words.shape[0] == len(target.y)
    assert words.shape[1] <= 50


def test_lies_are_compared_within_werewolves_only(logs, rows):
    target = targets_of(GAME, rows, subject_rows(logs, about="self"), label(logs)["speeches"])[-1]
    assert target.frame["viewer_role"].unique().to_list() == ["werewolf"]
    assert 0 < target.y.mean() < 1


def test_thinning_keeps_whole_decisions_of_every_game(logs, rows):
    target = targets_of(GAME, rows, subject_rows(logs, about="self"), label(logs)["speeches"])[0]
    small = thin(target, len(target.y) // 3)
    assert 0.2 < len(small.y) / len(target.y) < 0.45
    assert small.n_games == target.n_games
    key = ["game_id", "seq", "viewer"]
    whole = target.frame.group_by(key).len().join(small.frame.group_by(key).len(), on=key)
    assert (whole["len"] == whole["len_right"]).all()
