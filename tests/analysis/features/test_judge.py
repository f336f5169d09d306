"""Latents are held to the truth: what one misses is counted; descriptions are found where there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from analysis.data.frames import Logs
from analysis.features.descriptions import describe, grammar, holds, in_words, information
from analysis.features.judge import judge
from analysis.features.material import material_of
from analysis.features.predicates import predicates, states
from analysis.features.regimes import Plan
from analysis.features.tint import latents_of
from analysis.features.write import write_fight, write_judge
from analysis.report.page import Numbers
from analysis.report.sections.made.features import features_block
from analysis.stats.errors import AnalysisError
from harness.features.dictionary import Card, Dictionary
from harness.features.saved import save_dictionary
from harness.features.train import Training, train_dictionaries
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run

N_GAMES, ROWS, WIDTH = 30, 40, 20
GAMES = np.repeat(np.arange(N_GAMES), ROWS)
RNG = np.random.default_rng(0)
ATOMS = RNG.random((len(GAMES), 6)) < 0.4
WORDS = [f"a{i}" for i in range(6)]


def codes_with(latent: int, on: np.ndarray) -> sparse.csr_matrix:
    codes = (RNG.random((len(GAMES), WIDTH)) < 0.1) * RNG.random((len(GAMES), WIDTH))
    codes[:, latent] = on * RNG.uniform(0.5, 1, len(GAMES))
    return sparse.csr_matrix(codes)


def test_every_rule_of_the_grammar_is_tried_once() -> None:
    rules = [rule for block, table in grammar(ATOMS) for rule in block]
    tables = np.hstack([table for _, table in grammar(ATOMS)])
    assert len(rules) == len(set(rules)) == tables.shape[1] == 2 * 6 + 15 + 30
    assert all((tables[:, i] == holds(rule, ATOMS)).all() for i, rule in enumerate(rules))
    assert in_words((1, False, 3, True), WORDS) == "a1 and not a3"


def test_information_is_that_of_the_joint_distribution() -> None:
    a, b = RNG.random(500) < 0.3, RNG.random(500) < 0.5
    joint = np.array([[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]) / 500
    outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    expected = (joint * np.log2(joint / outer)).sum()
    assert float(information((a & b).sum(), a.sum(), b.sum(), 500)) == pytest.approx(expected)
    assert float(information(a.sum(), a.sum(), a.sum(), 500)) == pytest.approx(
        -(a.mean() * np.log2(a.mean()) + (~a).mean() * np.log2((~a).mean()))
    )


def test_a_latent_of_a_known_rule_is_described_by_it_with_what_it_misses() -> None:
    rule = ATOMS[:, 1] & ~ATOMS[:, 4]
    half_of_it = rule & (RNG.random(len(rule)) < 0.5)
    found = describe(WORDS, ATOMS, codes_with(7, half_of_it), GAMES)
    first = found.row(0, named=True)
    assert (first["latent"], first["rule"]) == (7, "a1 and not a4")
    assert first["precision"] == 1.0
    assert first["recall"] == pytest.approx(0.5, abs=0.1)
    assert first["false_negatives"] == pytest.approx(rule.sum() / 4, rel=0.3)
    # latents that follow nothing have next to no information on the games that checked the rule
    assert found.filter(pl.col("latent") != 7)["information"].max() < 0.02


def test_a_concept_in_two_latents_is_split_and_what_both_miss_is_counted() -> None:
    truth = RNG.random(len(GAMES)) < 0.4
    first = RNG.random(len(GAMES)) < 0.5
    codes = codes_with(3, truth & first).tolil()
    codes[:, 8] = (truth & ~first).astype(float)[:, None]
    directions = RNG.normal(size=(WIDTH, 12))
    x = np.asarray(codes.todense()) @ directions + 0.05 * RNG.normal(size=(len(GAMES), 12))
    truths, found = judge({"it": ("a0", truth)}, x, sparse.csr_matrix(codes), directions, GAMES)
    assert set(truths.filter(pl.col("place") <= 2)["latent"]) == {3, 8}
    best = truths.row(0, named=True)
    assert best["recall"] == pytest.approx(0.5, abs=0.12)
    assert best["false_negatives"] == best["n_true"] - round(best["recall"] * best["n_true"])
    assert found["splitting"].item() == 2
    assert found["f1_sixteen"].item() > 0.9


def test_a_concept_that_another_latent_takes_over_is_absorbed() -> None:
    truth = RNG.random(len(GAMES)) < 0.4
    special = truth & (RNG.random(len(GAMES)) < 0.3)
    codes = codes_with(3, truth & ~special).tolil()
    codes[:, 8] = (special * 1.0)[:, None]
    directions = 0.1 * RNG.normal(size=(WIDTH, 12))
    directions[3, 0] = directions[8, 0] = 1.0  # both hold the concept's direction
    x = np.asarray(codes.todense()) @ directions + 0.02 * RNG.normal(size=(len(GAMES), 12))
    _, found = judge({"it": ("a0", truth)}, x, sparse.csr_matrix(codes), directions, GAMES)
    if found["splitting"].item() == 1:
        assert found["absorption"].item() == pytest.approx(0.3, abs=0.1)
    else:  # both were found, so none is missed
        assert found["absorption"].item() < 0.05


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_run(tmp_path_factory.mktemp("judge") / "run", 30, 1.5)


def test_states_hold_the_truth_of_every_seat_dead_ones_too(run: Path) -> None:
    frame = states(Logs([("", load_run(run))]).some(load_run(run).game_ids[:3]))
    assert not frame["lives"].all()
    own = frame.filter(pl.col("viewer") == pl.col("subject"))
    assert (own["subject_role"] == own["viewer_role"]).all()
    assert own["told"].all()
    words, atoms = predicates(frame)
    assert atoms.shape == (len(frame), len(words))
    assert (
        atoms[:, words.index("subject is werewolf")] == (frame["subject_role"] == "werewolf").to_numpy()
    ).all()


def test_a_dictionary_is_trained_judged_fought_out_and_shown(run: Path) -> None:
    training = Training(
        site="mention", layer="resid_post.1", widths=(48,), l0=(6,), rows=20_000, batch=256, lr=5e-3
    )
    (folder,) = train_dictionaries(run, training)
    opened = load_run(run)
    tables = write_judge(opened, folder)
    assert set(tables["truth"]["concept"]) >= {"role", "alive", "accused"}
    found = write_fight(opened, folder, None, ("full", "shift"), Plan(n_folds=3, n_inner=3))
    probe = found.fight.filter(target="subject_is_werewolf", regime="full", source="probe on the stream")
    assert probe["auroc"].item() > 0.7
    assert probe["n_games"].item() == 15  # the half that it never saw
    numbers = Numbers()
    block = features_block([run], numbers)
    assert not block.empty
    assert "D_verdicts" in numbers.frames
    assert any(part.figure is not None for part in block.parts)
    (deck,) = (part.cards for part in block.parts if part.cards is not None)
    assert len({card.title for card in deck.cards}) == len(deck.cards)
    # a card tells where the latent is on, in words of the game and with the truth
    seen = tables["contexts"].row(0, named=True)
    seats = {
        s["seat"]: s for s in opened.seats.collect().filter(game_id=seen["game_id"]).iter_rows(named=True)
    }
    subject = seats[seen["subject"]]
    assert f"about {subject['name']} ({subject['role']})" in seen["text"]
    page = "".join(item for card in deck.cards for _, items in card.lists for item in items)
    assert "about " in page and "/ " in page
    assert features_block([run.parent / "none"], Numbers()).absent


def test_the_shift_is_tested_on_the_rows_of_a_run_beside(run: Path, tmp_path: Path) -> None:
    other = planted_run(tmp_path / "other", 12, 1.5, preset="probe-6")  # the same planted direction
    training = Training(
        site="mention", layer="resid_post.1", widths=(32,), l0=(4,), rows=10_000, batch=256, lr=5e-3
    )
    (folder,) = train_dictionaries(run, training, tmp_path / "features")
    plan, beside = Plan(n_folds=3, n_inner=3), [load_run(other)]
    whole = material_of(load_run(run), folder, beside=beside)
    assert (whole.own.sum(), len(whole.x)) == (len(material_of(load_run(run), folder).x), len(whole.lines))
    assert whole.lines.filter(~pl.Series(whole.own))["game_id"].str.starts_with("2:").all()
    alone = write_fight(load_run(run), folder, None, ("full",), plan)
    shifts = {None: "shift, to other", "preset": "shift, preset classic-7 to probe-6"}
    for by, words in shifts.items():
        found = write_fight(load_run(run), folder, by, ("shift",), plan, beside=beside)
        probe = found.fight.filter(target="subject_is_werewolf", regime=words, source="probe on the stream")
        assert probe["n_games"].item() == 12 and probe["auroc"].item() > 0.7
    # what was fought out before on the same rows stays, and what is fought out again is there once
    for name, first in (("fight", alone.fight), ("verdicts", alone.verdicts)):
        told = pl.read_parquet(folder / f"{name}.parquet")
        assert told["regime"].unique(maintain_order=True).to_list() == ["full", *shifts.values()]
        assert told.filter(regime="full").equals(first)
    assert pl.read_parquet(folder / "latents.parquet").height
    with pytest.raises(AnalysisError, match="'weather' is no factor"):
        write_fight(load_run(run), folder, "weather", ("shift",), plan)
    with pytest.raises(AnalysisError, match="lexicon has one level"):
        write_fight(load_run(run), folder, "lexicon", ("shift",), plan)
    narrow = planted_run(tmp_path / "narrow", 3, 1.0, d_model=8)
    with pytest.raises(AnalysisError, match="of width 8; the dictionary reads"):
        material_of(load_run(run), folder, beside=[load_run(narrow)])


def test_a_latents_tint_is_between_nothing_and_one(tmp_path: Path) -> None:
    card = Card(
        kind="x", model="", site="tokens:output", layer="resid_post.0", d_model=3, width=3, activation="relu", k=0,
        normalisation="none",
    )  # fmt: skip
    eye, zeros = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    save_dictionary(Dictionary(card, eye, zeros, eye, zeros, zeros), tmp_path / "d")
    (latent,) = latents_of(tmp_path / "d", (1,)).values()
    scores = latent.score(np.array([[0, 4.0, 0], [9.0, 2.0, 0], [1, -3.0, 0]]))
    assert scores.tolist() == [1.0, 0.5, 0.0]
