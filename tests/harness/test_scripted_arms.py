"""Scripted players are asked under other settings without a model, and what follows is played with paired seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from games.werewolf.presets import configure
from harness.config.files import parse_config
from harness.experiment.continuations import FUTURES
from harness.experiment.design import ExperimentError, load_design, parse_design
from harness.experiment.folder import read_parts
from harness.experiment.run import run_experiment
from harness.run.folder import Run, load_run
from tests.fixtures.local_runs import play_run

SMALL = ("moments.n=12", "outcomes.continuations=3")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Games of players that hide one bit in their openers."""
    config = parse_config(
        {
            "run": {"games": 14, "seed": 3, "name": "covert"},
            "game": {"preset": "classic-7"},
            "agents": {"pair": {"kind": "scripted", "policy": "covert", "settings": {"known_to": "pair"}}},
            "roster": {"mix": {"pair": configure("classic-7").n_players}},
        }
    )
    return load_run(play_run(config, tmp_path_factory.mktemp("covert") / "run"))


def test_a_partner_that_listens_decides_otherwise_and_what_follows_shares_its_seeds(
    run: Run, tmp_path: Path
) -> None:
    design = load_design("covert-partner", SMALL)
    folder = run_experiment(design, [run.path], tmp_path / "listens", force=True)
    asked = read_parts(folder)
    assert set(asked["arm"]) == {"unchanged", "null", "cold", "listens"}
    for _, rows in asked.group_by("moment", maintain_order=True):
        p = {r["arm"]: np.exp(r["logprobs"]) for r in rows.iter_rows(named=True)}
        assert all(x.sum() == pytest.approx(1.0) for x in p.values())
        np.testing.assert_array_equal(p["unchanged"], p["null"])
    moved = asked.pivot(on="arm", index="moment", values="logprobs", maintain_order=True)
    differs = [list(a) != list(b) for a, b in moved.select("unchanged", "listens").iter_rows()]
    assert any(differs) and not all(differs)
    futures = pl.read_parquet(folder / "futures.parquet")
    assert set(futures.columns) >= set(FUTURES)
    wide = futures.pivot(on="arm", index=["moment", "k"], values=["option", "won"], maintain_order=True)
    same = wide.filter(pl.col("option_unchanged") == pl.col("option_listens"))
    assert len(same) and (same["won_unchanged"] == same["won_listens"]).all()


def test_what_no_scripted_player_can_be_asked_is_refused(run: Run, tmp_path: Path) -> None:
    plain = load_design("covert-partner", SMALL).model_dump(mode="json", exclude_unset=True)
    turned = plain | {"arms": [{"name": "line", "kind": "role_line", "do": "remove"}]}
    with pytest.raises(ExperimentError, match=r"no model sits in these games.*role_line"):
        run_experiment(parse_design(turned), [run.path], tmp_path / "line", force=True)
    idle = plain | {"arms": [{"name": "idle", "kind": "player", "settings": {"settings.guard": True}}]}
    with pytest.raises(ExperimentError, match="arm idle changes nothing"):
        run_experiment(parse_design(idle), [run.path], tmp_path / "idle", force=True)
    spoken = plain | {"moments": plain["moments"] | {"kind": "speech", "where": []}}
    with pytest.raises(ExperimentError, match="states no probabilities of options at a speech"):
        run_experiment(parse_design(spoken), [run.path], tmp_path / "spoken", force=True)
