"""Planted truth climbs exactly as far as it should, and every sentence's number is its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.evaluation.evaluate import Evaluation, Settings, evaluate
from analysis.planted.rungs import EXPECTED, KINDS, rung_target
from analysis.probes.probes import Nested, probe
from analysis.rungs.nested import log_odds, stack
from analysis.rungs.rungs import (
    Evidence,
    alarmed,
    caused,
    decide,
    reached,
    rungs_of,
    said_against_represented,
    settle,
    with_cause,
)
from analysis.rungs.within import within_pairs
from analysis.stats.bootstrap import Interval
from analysis.stats.codes import codes_of
from analysis.stats.metrics import auroc
from analysis.stats.splits import game_folds

FAST = Settings(n_permutations=99, n_boot=400, audits=False)


@pytest.fixture(scope="module")
def climbed() -> dict[str, Evaluation]:
    found = {kind: evaluate(rung_target(kind, 60, seed=1), FAST) for kind in KINDS}
    assert all(isinstance(e, Evaluation) for e in found.values())
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("kind", KINDS)
def test_planted_truth_stops_at_its_rung(climbed, kind):
    assert reached(climbed[kind].rungs) == EXPECTED[kind]
    assert alarmed(climbed[kind].rungs) is (kind == "private")


def test_what_is_private_is_found_and_noise_is_not_called_the_same(climbed):
    # Both read "no more than is public at the table" when probe and best baseline were scored apart.
    assert climbed["private"].verdict == "more than public"
    assert climbed["nothing"].verdict in ("not present", "unclear")
    assert climbed["unused"].verdict == "inferred"


def test_a_private_answer_does_not_pass_for_an_inference(climbed):
    assert climbed["private"].evidence.r2.low > 0  # it goes along with the posterior ...
    assert not climbed["private"].evidence.r2_truth.low > 0  # ... as far as both go along with the truth
    assert climbed["unused"].evidence.r2_truth.low > 0.2


def test_an_ideal_reader_is_compared_with_and_never_to_be_beaten(climbed):
    e = climbed["unused"]
    assert e.evidence.ceiling.value > e.evidence.read.value
    assert {s.kind for s in e.scores if "posterior" in s.name and s.name != "rules posterior"} == {"ceiling"}
    assert not any(s.name == "everything public" for s in e.scores)
    assert 0 < e.evidence.share.value < 1


def test_the_rows_where_surface_and_posterior_part_are_shown_with_the_truth(climbed):
    parted = climbed["unused"].evidence.parted
    assert len(parted) == 2
    for row in parted.iter_rows(named=True):
        assert abs(row["truth"] - row["posterior"]) < abs(row["truth"] - row["surface"])
        assert row["low"] > 0
        assert row["n_games"] > 5


def test_ballots_are_explained_side_by_side(climbed):
    used, unused = (climbed[kind].evidence.explained for kind in ("used", "unused"))
    assert set(used["belief"]) == {"represented", "exact posterior"}
    assert used.filter(belief="represented")["low"][0] > 0
    assert used.filter(belief="represented")["beyond_exact"][0] > 0  # its own errors show in its votes
    assert unused.filter(belief="represented")["low"][0] <= 0


def test_shuffled_roles_are_a_mean_of_many_with_their_spread(climbed):
    row = next(s for s in climbed["used"].scores if s.name == "shuffled roles")
    assert row.auroc.low < row.auroc.value < row.auroc.high
    assert abs(row.auroc.value - 0.5) < 0.05


def test_every_source_is_scored_within_a_decision_too(climbed):
    for score in climbed["used"].scores:
        assert (score.within is None) is (score.kind == "control")
    seat = next(s for s in climbed["used"].scores if s.name == "turn")
    assert seat.within is not None
    assert seat.within.value == pytest.approx(0.5)  # one turn a decision: nothing to compare


def test_a_decision_of_one_row_is_compared_over_rows():
    target = rung_target("used", 60, seed=2)
    rows = np.unique(target.decisions, return_index=True)[1]
    e = evaluate(target.take(rows), FAST)
    assert isinstance(e, Evaluation)
    assert not e.evidence.within_decisions
    assert "over rows" in e.rungs[0].measure


def test_where_nothing_was_read_at_the_choices_the_page_says_how_to_read_it_there():
    target = rung_target("used", 40, seed=4)
    nowhere = np.full(len(target.y), np.nan)
    e = evaluate(replace(target, chose=nowhere, choices=("pick", "places in teams")), FAST)
    assert isinstance(e, Evaluation)
    rung = next(rung for rung in e.rungs if rung.number == 4)
    assert rung.verdict == "not tested"
    assert rung.why.startswith("0 places in teams on players whom the rules leave open; at least 60 are")
    assert 'beliefs.before = ["pick"]' in rung.why


def test_what_the_model_states_is_its_own_column_and_no_rival():
    target = rung_target("unused", 60, seed=3)
    said = {**target.stated, "stated": np.full(len(target.y), 1 / 3)}
    e = evaluate(replace(target, stated=said), FAST)
    assert isinstance(e, Evaluation)
    assert next(s for s in e.scores if s.name == "stated belief").kind == "stated"
    assert said_against_represented(e.evidence) == "latent more than said"
    assert reached(e.rungs) == 3


def test_no_fit_behind_a_nested_score_saw_its_rows():
    rng = np.random.default_rng(0)
    games = np.repeat(np.arange(40), 10)
    x = rng.normal(size=(400, 1, 8)).astype(np.float32)
    y = (x[:, 0, 0] + rng.normal(size=400) > 0).astype(float)
    folds = game_folds(games, 4)
    whole = probe(x, y, folds, games).nested
    flipped = y.copy()
    flipped[folds.fold == 1] = 1 - flipped[folds.fold == 1]
    changed = probe(x, flipped, folds, games).nested
    # Scores for tests on fold 1 were trained without its labels, whatever these are.
    assert np.array_equal(whole.inner[1], changed.inner[1], equal_nan=True)
    assert np.isnan(whole.inner[1, folds.fold == 1]).all()
    assert np.array_equal(whole.outer[folds.fold == 1], changed.outer[folds.fold == 1])


def test_a_stack_of_noise_is_no_worse_than_its_one_good_source():
    rng = np.random.default_rng(1)
    games = np.repeat(np.arange(60), 10)
    y = (rng.random(600) < 0.4).astype(float)
    folds = game_folds(games, 5)
    good = Nested.given(y + rng.normal(size=600), 5)
    noise = [Nested.given(rng.normal(size=600), 5) for _ in range(12)]
    alone = auroc(y, good.outer, strata=folds.fold)
    assert auroc(y, stack([good, *noise], y, folds), strata=folds.fold) > alone - 0.02


def test_pairs_within_decisions_are_counted_as_by_hand():
    rng = np.random.default_rng(2)
    game = np.repeat(np.arange(6), 12)
    decision = codes_of(game, np.tile(np.arange(12) // 4, 6))
    y, s = rng.integers(0, 2, 72).astype(float), rng.integers(0, 4, 72).astype(float)
    won, pairs = within_pairs(y, s, decision, game)
    assert won.sum() / pairs.sum() == pytest.approx(auroc(y, s, strata=decision))
    by_hand = [auroc(y[game == g], s[game == g], strata=decision[game == g]) for g in range(6)]
    assert won / pairs == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("i", "p", "expected"),
    [
        (Interval(0.1, 0.06, 0.14, 0.001), 0.01, "yes"),
        (Interval(0.1, 0.06, 0.14, 0.001), 0.2, "unclear"),  # does not survive the correction
        (Interval(0.0, -0.01, 0.01, 0.9), 0.9, "no"),
        (Interval(-0.2, -0.3, -0.1, 0.001), 0.001, "no"),
        (Interval(0.01, -0.05, 0.08, 0.7), 0.7, "unclear"),
        (Interval(float("nan"), float("nan"), float("nan"), float("nan")), 0.001, "unclear"),
    ],
)
def test_a_rung_says_no_only_where_what_matters_is_excluded(i, p, expected):
    assert decide(i, p, 0.02) == expected


@pytest.mark.parametrize(
    ("behaviour", "causal", "expected"),
    [
        ("yes", "", "yes"),
        ("yes", "used", "yes"),
        ("yes", "not beyond controls", "unclear"),  # ballots go with it, and do not change with it
        ("yes", "underpowered", "yes"),
        ("unclear", "used", "yes"),
        ("no", "used", "unclear"),
        ("no", "not beyond controls", "no"),
    ],
)
def test_rung_4_is_behaviour_and_cause_together(behaviour, causal, expected):
    assert with_cause(behaviour, causal) == expected


def test_one_arm_that_is_used_suffices_and_all_must_fail_for_a_no():
    assert caused(["not beyond controls", "used"]) == "used"
    assert caused(["not beyond controls", "underpowered"]) == "underpowered"
    assert caused(["not beyond controls"]) == "not beyond controls"
    assert caused([]) == ""


def test_each_rung_is_corrected_over_targets():
    one = Evidence(100, 50, True, p_null=0.03)
    adjusted = settle([one, one, one])
    assert [a[1] for a in adjusted] == pytest.approx([0.09] * 3)
    assert rungs_of(one)[0].p == 0.03
    assert rungs_of(one, adjusted[0])[0].verdict != "yes"


def test_log_odds_are_clipped():
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
