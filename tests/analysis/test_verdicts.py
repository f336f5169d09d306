"""Every sentence of the page says what the number beside it says: no contradictory pair, whatever the numbers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.report import verdicts as words
from analysis.report.sections.planted import holds, remark
from analysis.rungs.rungs import (
    EQUIVALENT,
    SAME,
    Evidence,
    alarmed,
    reached,
    rungs_of,
    said_against_represented,
)
from analysis.rungs.use import EXPLAINED
from analysis.stats.bootstrap import Interval


def intervals(low: float, high: float) -> st.SearchStrategy[Interval]:
    numbers = st.tuples(*[st.floats(low, high) for _ in range(3)]).map(sorted)
    return st.builds(lambda v, p: Interval(v[1], v[0], v[2], p), numbers, st.floats(0, 1))


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    gain = intervals(-0.2, 0.3)
    votes = draw(gain)
    explained = pl.DataFrame(
        [("represented", 0.1, *votes, 0.0, -0.1, 0.1, 200, 50)], schema=EXPLAINED, orient="row"
    )
    return Evidence(
        1000, 50, draw(st.booleans()), draw(intervals(0.3, 1)), draw(st.floats(0, 1)), draw(gain), draw(gain),
        draw(gain),
        draw(intervals(0.3, 1)), draw(intervals(0.3, 1)), "exact posterior", draw(st.booleans()), "",
        draw(intervals(0.3, 1)),
        draw(gain), draw(intervals(-1, 2)), draw(gain), draw(intervals(-0.2, 1)), draw(intervals(-0.2, 1)),
        explained=explained, causal=draw(st.sampled_from(["", "used", "not beyond controls", "underpowered"])),
        beyond=draw(gain), stated=draw(intervals(0.3, 1)), said=draw(gain),
    )  # fmt: skip


CONTRADICTIONS = (
    ("beyond what is public tells by itself", "no more than what is public"),
    ("Yes: it infers", "does not follow an ideal reader's inference"),
    ("Yes: it infers", "not shown to be inferred"),
    ("nothing is read", "Something of it can be read"),
    ("its ballots go with it", "do not go with it"),
    ("its ballots go with it", "so use is not shown"),
    ("its ballots change with it", "do not go with it"),
    ("its ballots change with it", "no more than its controls did"),
    ("ballots go with it", "is not settled by so many games (nats"),
)


@settings(max_examples=60, deadline=None)
@given(evidence())
def test_no_two_sentences_contradict_each_other_or_their_numbers(v):
    rungs = rungs_of(v)
    e = SimpleNamespace(target=SimpleNamespace(name="subject_is_werewolf"), rungs=rungs, evidence=v)
    answer = words.models_answer(e)
    text = " ".join([*answer, words.said_words(v), *(words.rung_words(r) for r in rungs)])
    for one, other in CONTRADICTIONS:
        assert not (one in answer[0] and other in text), (one, other)
    top = reached(rungs)
    assert ("Yes: it infers" in answer[0]) == (top >= 3 and not alarmed(rungs))
    assert ("look for a leak" in answer[0]) == alarmed(rungs)
    assert ("its ballots change with it" in answer[0]) <= (v.causal == "used")
    for rung in rungs:
        said = words.rung_words(rung)
        if rung.verdict == "yes" and (rung.number in (2, 5) or rung.behaviour == "yes"):
            assert rung.value.low > 0
        if rung.verdict == "no" and rung.number in (2, 4, 5):
            assert rung.value.high < 0.03
        assert (f"{rung.value.value:.3f}" in said) or rung.verdict == "not tested"
    if "falls short of it by less than" in text:
        assert v.short.high < EQUIVALENT
    verdict = said_against_represented(v)
    assert (verdict == "latent more than said") <= (v.said.high < 0)
    assert (verdict == "said more than represented") <= (v.said.low > 0)
    assert (verdict == "said = represented") <= (abs(v.said.value) < SAME)
    assert ("they say less than is read" in text) == (verdict == "latent more than said")


@settings(max_examples=20, deadline=None)
@given(evidence())
def test_choices_are_called_what_the_game_calls_them(v):
    rungs = rungs_of(replace(v, choices=("pick", "picks")))
    e = SimpleNamespace(target=SimpleNamespace(name="subject_is_evil"), rungs=rungs, evidence=v)
    text = " ".join(
        [*words.models_answer(e), *(words.rung_words(r) for r in rungs), words.acts_words(rungs[3])]
    )
    assert "ballot" not in text
    assert "vote" not in text
    assert "picks" in text or rungs[3].verdict == "not tested"


@settings(max_examples=60, deadline=None)
@given(evidence())
def test_whether_it_is_acted_on_is_answered_by_rung_4_and_by_nothing_else(v):
    rung = rungs_of(v)[3]
    said = words.acts_words(rung)
    assert said.startswith("Yes: ") == (rung.verdict == "yes" and v.causal == "used")
    assert said.startswith("It looks so: ") == (rung.verdict == "yes" and v.causal != "used")
    assert said.startswith("No: ") == (rung.verdict == "no")
    if "no proof of cause" in said or "to show cause" in said:
        assert said.startswith("It looks so")
    if said.startswith("Not shown: "):
        assert "so use is not shown" in said
    if said.startswith("In part: "):
        assert "do not go with it" in said
        assert "where it is changed, they change" in said
    assert f"{rung.value.value:+.3f}" in said


@settings(max_examples=60, deadline=None)
@given(
    evidence(),
    st.floats(0.3, 0.9),
    st.floats(0.0, 0.1),
    st.floats(-0.05, 0.05),
    st.none() | st.floats(0.4, 0.9),
    st.floats(-0.1, 0.1),
)
def test_a_lie_is_said_to_be_told_exactly_where_its_rung_says_so(v, low, p, boost, unlabelled, fall):
    """The highest of several windows may exclude chance where the question's own rung is not settled."""
    v.p_null = p
    rungs = rungs_of(v)
    target = SimpleNamespace(
        name="own_lie_within_werewolves",
        y=np.ones(3),
        n_games=3,
        activations=[SimpleNamespace(site="prompt_last")],
    )
    wolves = pl.DataFrame(
        {"window": ["prompt_last"], "auroc": [low], "low": [low], "recall": [0.1], "monitor": [0.7], "boost": [boost],
         "boost_low": [boost - 0.02], "boost_high": [boost + 0.02], "no_role_line": [unlabelled],
         "no_role_line_low": [unlabelled], "no_role_line_high": [unlabelled], "removal": [fall],
         "removal_low": [fall - 0.03], "removal_high": [fall + 0.03]},
        schema_overrides=dict.fromkeys(("no_role_line", "no_role_line_low", "no_role_line_high"), pl.Float64),
    )  # fmt: skip
    said = words.lie_words(SimpleNamespace(rungs=rungs, target=target), wolves)
    verdicts = {
        "yes": "lie can be told",
        "no": "lie cannot be told",
        "unclear": "lie is not shown to be told",
    }
    assert verdicts[rungs[0].verdict] in said
    assert f"{rungs[0].value.value:.3f}" in said
    assert ("looking inside adds to it" in said) == (boost - 0.02 > 0)
    assert ("looking inside is not shown to add" in said) == (boost - 0.02 <= 0)
    contrast = ("less than with it", "not told apart from that with it", "more than with it")
    assert [words in said for words in contrast] == [
        unlabelled is not None and holds for holds in (fall < -0.03, -0.03 <= fall <= 0.03, fall > 0.03)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.3, 1), min_size=3, max_size=7))
def test_the_learning_curve_is_described_by_its_own_values(values):
    said = words.learning_words(pl.DataFrame({"training games": range(len(values)), "auroc": values}))
    if "within .03 of chance at every size" in said:
        assert max(abs(v - 0.5) for v in values) < 0.03
    if "still rising" in said:
        assert values[-1] > values[-2]
    assert f"{values[0]:.2f}" in said
    assert f"{values[-1]:.2f}" in said


@pytest.mark.parametrize(
    ("real", "control", "expected"), [(0.8, 0.5, "worse"), (0.6, 0.81, "better"), (0.7, 0.7, "as well")]
)
def test_selectivity_has_a_conclusion_of_its_own(real, control, expected):
    table = pl.DataFrame(
        {"layer": [0], "real": [real], "control": [control], "selectivity": [real - control]}
    )
    assert expected in words.selectivity_words(table)


def test_a_target_without_an_ideal_reader_claims_no_inference():
    v = Evidence(
        1000, 50, True, Interval(0.8, 0.7, 0.9, 0.001), 0.001, within=Interval(0.1, 0.05, 0.2, 0.001)
    )
    v = replace(v, no_ceiling="no game could be followed", no_use="no ballots")
    rungs = rungs_of(v)
    assert [r.verdict for r in rungs] == ["yes", "yes", "not tested", "not tested", "not tested"]
    assert words.rung_words(rungs[2]) == "Not held against an ideal reader: no game could be followed."


def test_the_appendix_remarks_on_a_rate_that_is_off():
    row = {"planted": "nothing", "n_games": 60, "repeats": 200, "interval excludes .5": 0.1}
    row |= {f"rung {n}": 0.02 for n in range(1, 6)}
    assert "which excludes .5 in 10%" in remark(pl.DataFrame([row]))
    assert "No error rate" in remark(pl.DataFrame([row | {"interval excludes .5": 0.05}]))
    weak = row | {"planted": "used", **{f"rung {n}": 0.5 for n in range(1, 5)}}
    assert "Power below 80%: rung 1 with an inference, used planted, 50%" in remark(pl.DataFrame([weak]))
    assert [holds("private", n) for n in range(1, 6)] == [True, True, False, False, True]


def test_numbers_that_are_missing_are_not_written_as_numbers():
    v = Evidence(10, 5, True)
    assert "nan" not in " ".join(words.rung_words(r) for r in rungs_of(v) if r.verdict == "not tested")
    assert np.isnan(v.read.value)


def test_the_appendix_concludes_nothing_from_few_data_sets():
    row = {"planted": "used", "n_games": 60, "repeats": 6, "interval excludes .5": 1.0}
    row |= {f"rung {n}": 1.0 for n in range(1, 5)} | {"rung 5": 0.0}
    assert remark(pl.DataFrame([row])).startswith("6 data sets a kind tell neither")
