"""Probes that were saved with a report, and what becomes of them on another run."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from analysis.evaluation.evaluate import Settings
from analysis.evaluation.saved import apply, load, save
from analysis.evaluation.scores import write_scores
from analysis.report.report import write_report
from analysis.stats.errors import AnalysisError
from analysis.stats.metrics import auroc
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run

FAST = Settings(n_permutations=19, n_boot=100, trees=2, audits=False, rung_games=0, character=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = planted_run(tmp_path_factory.mktemp("saved") / "run", 30, 1.5)
    write_report([path], settings=FAST)
    return path


@pytest.fixture(scope="module")
def probe(run):
    return load(run / "report" / "probes" / "subject_is_werewolf.json")


def truth_of(run, scores):
    seats = load_run(run).seats.select("game_id", "role", subject="seat").collect()
    return (scores.join(seats, on=["game_id", "subject"], how="left")["role"] == "werewolf").to_numpy()


def test_the_report_writes_a_probe_that_says_what_it_reads(probe):
    assert probe.card.site == "mention"
    assert probe.card.layer == "resid_post.1"
    assert probe.card.n_games == 30
    assert 0.6 < probe.card.metrics["AUROC"] <= 1


def test_a_saved_probe_scores_another_run_without_refitting(probe, tmp_path):
    other = planted_run(tmp_path / "other", 10, 1.5)  # the same seed: the same direction carries the answer
    scores = apply(probe, load_run(other))
    assert auroc(truth_of(other, scores), scores["p"].to_numpy()) > 0.7
    assert scores["same_model"].all()


def test_a_saved_probe_comes_back_as_it_was(probe, tmp_path):
    again = load(save(probe, tmp_path, "copy")[0])
    assert again.card == probe.card
    assert np.array_equal(again.weights, probe.weights)


def test_a_probe_of_another_width_is_refused(probe, tmp_path):
    other = planted_run(tmp_path / "wide", 2, 0.0, d_model=16)
    with pytest.raises(AnalysisError, match="width 32"):
        apply(probe, load_run(other))


@pytest.mark.parametrize(
    ("part", "value", "what"),
    [
        ("weights", np.nan, "no finite number"),
        ("mean", np.inf, "no finite number"),
        ("scale", 0.0, "not above 0"),
    ],
)
def test_a_probe_with_numbers_that_are_none_is_refused(probe, tmp_path, part, value, what):
    from safetensors.numpy import load_file, save_file

    _, path = save(probe, tmp_path, "copy")
    (tmp_path / "digests.json").unlink()  # a stranger would give files the digests that they should have
    tensors = {name: tensor.copy() for name, tensor in load_file(path).items()}
    tensors[part][0] = value
    save_file(tensors, path)
    with pytest.raises(AnalysisError, match=f"{part} holds a value that is {what}"):
        load(path)
    path.write_bytes(b"broken")
    with pytest.raises(AnalysisError, match="cannot be read"):
        load(path)
    path.with_suffix(".json").write_text("[" * 100_000)
    with pytest.raises(AnalysisError, match="no saved probe"):
        load(path)


def test_half_a_saved_probe_is_named(probe, tmp_path):
    path, _ = save(probe, tmp_path)
    path.with_suffix(".safetensors").unlink()
    with pytest.raises(AnalysisError, match="missing"):
        load(path)


def test_a_direction_steers_in_the_harness_form(probe, tmp_path):
    from agents.hooks.steering import Intervention

    one = Intervention(**probe.intervention(2.0))
    assert (one.layer, one.point, one.scale) == (1, "resid_post", 2.0)
    assert np.linalg.norm(one.vector) == pytest.approx(1, abs=1e-5)
    assert np.load(probe.write_vector(tmp_path / "wolf")).shape == (32,)


def test_the_saved_file_is_itself_a_vector_to_steer_with(probe, tmp_path):
    from harness.activations.steering import intervention_of
    from harness.config.sections import SteeringSection

    _, file = save(probe, tmp_path)
    vector = intervention_of(SteeringSection(vector=str(file), layer=1)).vector
    assert np.allclose(vector / np.linalg.norm(vector), probe.direction(), atol=1e-6)
    chosen = intervention_of(SteeringSection(vector=str(file), layer=1, key="weights")).vector
    assert np.allclose(chosen, probe.weights)


def test_control_directions_are_orthogonal_and_as_long(probe):
    controls = probe.controls(4)
    assert np.abs(controls @ probe.direction()).max() < 1e-5
    assert np.allclose(np.linalg.norm(controls, axis=1), 1, atol=1e-5)


def test_scores_for_the_viewer_are_those_of_the_probe(probe, tmp_path):
    run = load_run(planted_run(tmp_path / "run", 4, 1.5))
    table = pl.read_parquet(write_scores(run, {"wolf": probe}))
    direct = apply(probe, run)
    both = direct.join(
        table, left_on=["game_id", "seq", "viewer", "subject"], right_on=["game_id", "seq", "seat", "subject"]
    )
    assert len(both) == len(table) == len(direct) > 0
    assert np.allclose(both["p"], both["score"])


def test_scores_of_another_probe_are_kept_and_ones_own_replaced(probe, tmp_path):
    run = load_run(planted_run(tmp_path / "run", 2, 1.5))
    n = len(pl.read_parquet(write_scores(run, {"a": probe})))
    write_scores(run, {"b": probe})
    table = pl.read_parquet(write_scores(run, {"a": probe}))
    assert dict(table.group_by("probe").len().iter_rows()) == {"a": n, "b": n}


def test_a_site_that_was_not_captured_is_named(probe, tmp_path):
    run = load_run(planted_run(tmp_path / "run", 2, 1.5))
    elsewhere = msgspec.structs.replace(probe, card=msgspec.structs.replace(probe.card, site="role_line"))
    with pytest.raises(AnalysisError, match=r"capture .* --site role_line"):
        write_scores(run, {"a": elsewhere})
