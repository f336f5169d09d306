"""Acts are played out from recorded moments: scripted players follow habit, a player that maximises what acts gain does
not, and continuations of a choice are shared by all arms that choose alike."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.behaviour.strategic import read_acts, strategic_table
from games.records import NOBODY
from harness.branch.changes import Choose
from harness.experiment.continuations import Futures, chosen
from harness.experiment.design import parse_design
from harness.experiment.moments import draw_moments
from harness.experiment.run import run_experiment
from harness.run.folder import Run, load_run
from tests.fixtures.kill_runs import processes
from tests.fixtures.local_runs import play_run, scripted

MIX = {"bluffer": 3, "claimer": 2, "cautious": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(play_run(scripted(games=24, mix=MIX), tmp_path_factory.mktemp("strategic") / "run"))


def design(**more: object) -> dict[str, object]:
    return {
        "name": "acts",
        "question": "Do they lie where it helps?",
        "moments": {
            "kind": "speech",
            "players": "all",
            "subject": "any",
            "n": 40,
            "where": ["faction == werewolf"],
            "per_game": 2,
        },
        "strategic": {"continuations": 12, "most": 7},
        **more,
    }


@pytest.fixture(scope="module")
def acts(run: Run, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = run_experiment(parse_design(design()), [run.path], tmp_path_factory.mktemp("acts") / "e")
    return read_acts(folder).with_columns(agent=pl.lit("players"))


def test_scripted_characters_act_by_habit_and_a_maximiser_does_not(acts: pl.DataFrame) -> None:
    habit = strategic_table(acts, 200).row(0, named=True)
    assert habit["verdict"] != "strategic"
    # it maximises an estimate from continuations of its own: the other half is left to measure the advantage by
    mine = acts.with_columns(
        value=pl.col("won").list.slice(0, 6).list.mean(), won=pl.col("won").list.slice(6)
    )
    best = pl.col("value") == pl.col("value").max().over("moment")
    maximiser = strategic_table(mine.with_columns(chosen=best.cast(pl.Float64)), 200).row(0, named=True)
    assert maximiser["verdict"] == "strategic"
    assert maximiser["slope"] > max(0.0, habit["slope"])


def test_menus_hold_lies_truths_and_silence_by_relation_and_never_by_name(acts: pl.DataFrame) -> None:
    claim = "claim_role:seer+report_inspection:other"
    assert {"silent", "accuse:other", "accuse:partner", "claim_role:seer", claim} <= set(acts["act"])
    lies = dict(acts.group_by("act").agg(pl.col("lie").all()).iter_rows())
    assert (
        lies["accuse:other"] and lies["claim_role:seer"] and lies[claim]
    )  # a werewolf knows who is none, and that it is no seer
    assert not lies["silent"] and not lies["accuse:partner"]
    assert acts.filter(pl.col("lie") & pl.col("truthful")).is_empty()


def test_continuations_are_the_same_for_the_same_seed_and_differ_by_the_choice(run: Run) -> None:
    query = {"kind": "ballot", "players": "all", "subject": "any", "n": 3}
    moments = draw_moments(parse_design(design(moments=query)), [run], False)
    futures = Futures(run, {})
    for moment in moments:
        options = sorted(moment.belief)[:2]
        changes = {option: Choose(option) for option in options}
        ks = dict.fromkeys(options, range(4))
        found = futures.play(moment, changes, ks)
        assert set(found) == {(o, k) for o in options for k in range(4)}
        assert futures.play(moment, {options[0]: changes[options[0]]}, {options[0]: [2]}) == {
            (options[0], 2): found[options[0], 2]
        }


def test_arms_that_decide_alike_share_a_draw() -> None:
    draws = np.random.default_rng(0).random(2000)
    options, p = [4, NOBODY, 2], np.array([0.2, 0.3, 0.5])
    first = chosen(options, np.log(p), draws)
    assert np.mean(np.array(first) == 2) == pytest.approx(0.5, abs=0.05)
    # another order of the options, less legal mass: the same choices
    again = chosen([2, 4, NOBODY], np.log(p[[2, 0, 1]] * 0.9), draws)
    assert first == again
    moved = chosen(options, np.log([0.25, 0.3, 0.45]), draws)
    assert np.mean(np.array(first) != np.array(moved)) == pytest.approx(0.05, abs=0.03)


def test_a_design_has_either_arms_or_acts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"either arms or a \[strategic\] table"):
        parse_design({"name": "none", "question": "?"})


@pytest.mark.usefixtures("ray_cluster")
def test_menus_on_ray_are_those_of_this_process_though_a_worker_dies_and_the_experiment_is_stopped(
    tmp_path: Path,
) -> None:
    run = load_run(
        play_run(scripted(games=8, mix=MIX), tmp_path / "run")
    )  # not the one that others share here
    wanted = parse_design(
        design(
            moments={"kind": "speech", "players": "all", "subject": "any", "n": 8, "per_game": 1},
            strategic={"continuations": 2, "most": 3},
        )
    )
    here = run_experiment(wanted, [run.path], tmp_path / "here")
    said: list[str] = []
    folder = tmp_path / "there"

    def there(stop_at: str) -> None:
        def say(text: str) -> None:
            said.append(text)
            if text.startswith("acts of 2 of 8"):
                os.kill(workers_of(os.getpid())[0], signal.SIGKILL)
            if text.startswith(stop_at):
                raise KeyboardInterrupt

        run_experiment(wanted, [run.path], folder, executor="ray", n_workers=2, say=say)

    with pytest.raises(KeyboardInterrupt):
        there("acts of 5 of 8")
    kept = {part: part.stat().st_mtime_ns for part in (folder / "acts").glob("*.parquet")}
    assert len(kept) == 5 and not (folder / "acts.parquet").exists()
    assert sum("a worker was lost" in line for line in said) == 1
    there("never")
    assert all(part.stat().st_mtime_ns == written for part, written in kept.items())
    assert pl.read_parquet(here / "acts.parquet").equals(pl.read_parquet(folder / "acts.parquet"))


def workers_of(driver: int) -> list[int]:
    """The processes of an experiment's workers whose Ray was started by this process."""
    every = {pid: (parent, title) for pid, parent, title in processes()}

    def ours(pid: int) -> bool:
        while pid in every and pid != driver:
            pid = every[pid][0]
        return pid == driver

    return [pid for pid, (_, title) in every.items() if title.startswith("ray::WorkerActor") and ours(pid)]
