"""Menus of acts are played out in games of several models: each seat goes on with its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from agents.backends.hooked.backend import HookedBackend
from harness.config.files import parse_config
from harness.experiment.design import ExperimentError, load_design
from harness.experiment.run import run_experiment
from harness.experiment.work.worker import Worker
from harness.run.folder import load_run
from harness.run.held import new_manifest
from harness.schedule.tournament import Schedule
from harness.training.selfplay.learner import load
from tests.fixtures.local_runs import play_run


def test_a_menu_is_played_out_by_two_models_and_the_one_that_decides_is_asked(tmp_path: Path) -> None:
    names = {"before": "small", "after": "small-rl-werewolf"}
    config = parse_config(
        {
            "run": {"games": 1, "seed": 8, "name": "two"},
            "game": {"preset": "probe-6", "speech_rounds": 1},
            "agents": {
                name: {"kind": "llm", "backend": name, "prompt": "transcript", "sampling": {"max_tokens": 24}}
                for name in names
            },
            "roster": {"roles": {"werewolf": "after", "others": "before"}},
            "backends": {name: {"kind": "transformers", "model": model} for name, model in names.items()},
        }
    )
    backends = {name: HookedBackend(load(model)) for name, model in names.items()}
    run = load_run(play_run(config, tmp_path / "run", backends))
    small = ("moments.n=1", "strategic.continuations=2", "strategic.most=3")
    folder = run_experiment(load_design("strategic-lie", small), [run.path], tmp_path / "acts")
    acts = pl.read_parquet(folder / "acts.parquet")
    assert acts["agent"].unique().to_list() == ["after"] and len(acts) >= 2
    assert acts["chosen"].sum() == pytest.approx(1.0) and acts["chosen"].max() < 1.0
    assert acts["won"].list.len().to_list() == [2] * len(acts)
    with pytest.raises(ExperimentError, match="asks one local model; the runs have 2"):
        run_experiment(load_design("belief-drives-ballot"), [run.path], tmp_path / "asked", force=True)


@pytest.mark.parametrize("hooked", [None, object()], ids=["several local models", "one local model"])
def test_games_with_a_servers_seats_are_not_played_on_by_a_model_that_is_here(
    hooked: Any, tmp_path: Path
) -> None:
    server = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "model": "m", "settings": {"api": "chat"}}
    local = {name: {"kind": "transformers", "model": name} for name in ("small", "small-rl-werewolf")}
    config = parse_config(
        {
            "run": {"games": 1, "name": "mixed"},
            "agents": {name: {"kind": "llm", "backend": name} for name in (*local, "server")},
            "backends": {**local, "server": server},
            "roster": {"mix": {"small": 3, "small-rl-werewolf": 3, "server": 1}},
        }
    )
    schedule = Schedule(config)
    run: Any = SimpleNamespace(
        manifest=new_manifest("mixed", config.plain(), config.hash(), len(schedule), schedule.cells)
    )
    design, manifest = load_design("strategic-lie"), SimpleNamespace(arms=[])
    worker = Worker(tmp_path, design, manifest, [run], hooked, "cpu", lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(
        ExperimentError, match=r"mixed cannot be played on: \[backends\] server asks a server"
    ):
        _ = worker.models
