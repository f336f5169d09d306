"""Transcripts for other tools hold what the seat was shown and said, and exact labels beside."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import analysis
from games.records import Decision
from harness.errors import RunFolderError
from harness.exchange.transcripts import FORMATS, write_transcripts
from harness.run.folder import load_run
from tests.fixtures.local_runs import play_run, scripted
from tests.fixtures.planted_runs import planted_run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("transcripts")
    run = planted_run(home / "run", 4, 1.0)
    labels = analysis.labels(load_run(run))["speeches"]
    return {"run": run} | {form: write_transcripts(run, home / form, form, labels) for form in FORMATS}


def test_a_transcript_holds_every_decision_of_the_seat_and_nothing_that_it_may_not_see(written) -> None:
    run = load_run(written["run"])
    samples = json.loads((written["inspect"] / "log.json").read_text())["samples"]
    roles = {(g, s): r for g, s, r in run.seats.select("game_id", "seat", "role").collect().iter_rows()}
    # four seats of a model in four games, of which some died before they were asked anything
    asked = {
        (g, r.seat)
        for g in run.game_ids
        for r in run.records(g)
        if isinstance(r, Decision) and r.trace is not None
    }
    assert {(s["metadata"]["game_id"], s["metadata"]["seat"]) for s in samples} == asked
    for sample in samples:
        facts = sample["metadata"]
        records = run.records(facts["game_id"])
        mine = [r.seq for r in records if isinstance(r, Decision) and r.seat == facts["seat"]]
        answered = [m["metadata"]["seq"] for m in sample["messages"] if m["role"] == "assistant"]
        assert answered == mine
        assert facts["role"] == roles[facts["game_id"], facts["seat"]]
        shown = "\n".join(m["content"] for m in sample["messages"] if m["role"] != "assistant")
        private = [r for r in records if not isinstance(r, Decision) and r.audience == () and r.text]
        assert not any(r.text in shown for r in private)


def test_both_formats_hold_the_same_messages_and_targets(written) -> None:
    samples = json.loads((written["inspect"] / "log.json").read_text())["samples"]
    # Scout takes every parquet file below the folder that it opens for transcripts
    (file,) = (written["scout"] / "transcripts").rglob("*.parquet")
    rows = pl.read_parquet(file)
    assert rows["transcript_id"].to_list() == [s["id"] for s in samples]
    assert [json.loads(m) for m in rows["messages"]] == [s["messages"] for s in samples]
    targets = [pl.read_csv(written[form] / "validation.csv") for form in FORMATS]
    assert targets[0].equals(targets[1])
    labels = pl.read_parquet(written["scout"] / "labels.parquet").filter(pl.col("n_statements") > 0)
    lied = labels.group_by("id").agg(pl.col("any_known_false").any()).sort("id")
    joined = targets[0].join(lied, on="id")
    assert joined.height == targets[0].height
    assert (joined["target"] == joined["any_known_false"]).all()


def test_a_run_without_a_model_has_no_transcripts(tmp_path: Path) -> None:
    run = play_run(scripted(1), tmp_path / "run")
    with pytest.raises(RunFolderError, match="no model has played"):
        write_transcripts(run, tmp_path / "out", "scout", analysis.labels(load_run(run))["speeches"])
