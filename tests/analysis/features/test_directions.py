"""A direction of others becomes a saved probe: its AUROC is of games on which nothing was fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.evaluation.outside.directions import probe_of_direction
from analysis.evaluation.saved import load, save
from analysis.stats.errors import AnalysisError
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run

SEED, D = 0, 32


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_run(tmp_path_factory.mktemp("directions") / "run", 16, 2.0, seed=SEED, d_model=D)


def test_the_planted_direction_reads_its_target_and_a_random_one_does_not(run: Path, tmp_path: Path) -> None:
    planted = np.random.default_rng(SEED).normal(size=(2, D))[0]  # as the fixture draws it
    opened = load_run(run)
    where = {"site": "mention", "layer": "resid_post.1"}
    found = probe_of_direction(opened, planted, **where)
    chance = probe_of_direction(opened, np.random.default_rng(9).normal(size=D), **where)
    assert found.card.metrics["AUROC"] > 0.9
    assert abs(chance.card.metrics["AUROC"] - 0.5) < 0.2
    again = load(save(found, tmp_path, "persona")[0])
    x = opened.activations().select("resid_post.1", site="mention")[1][:5]
    assert np.allclose(again.score(x), found.score(x))
    assert np.allclose(again.direction(), planted / np.linalg.norm(planted), atol=1e-5)


def test_a_direction_that_does_not_fit_is_refused_by_name(run: Path) -> None:
    opened = load_run(run)
    with pytest.raises(AnalysisError, match="width 32"):
        probe_of_direction(opened, np.ones(8), site="mention", layer="resid_post.1")
    with pytest.raises(AnalysisError, match="no target is called"):
        probe_of_direction(opened, np.ones(D), site="mention", layer="resid_post.1", target="x")
    with pytest.raises(AnalysisError, match="fewer than"):
        probe_of_direction(opened, np.ones(D), site="option", layer="resid_post.1")
