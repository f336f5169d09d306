"""Tournaments in processes of this machine and on a real Ray: every scheduled game once, whatever is killed."""

import asyncio
import itertools
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from agents.backends.base import BackendError, Capabilities, EngineLost
from games.base import Observation
from games.records import Action, Decision, Record, Reply, Trace
from harness import factor, load_run
from harness.check.check import check_run
from harness.config.files import parse_config
from harness.config.sections import Config
from harness.errors import ConfigurationError, RunFolderError, StorageError, TournamentError
from harness.play.engines import start_backends
from harness.play.pools.cluster import ray_for_now
from harness.play.pools.on_ray import await_journals
from harness.play.progress import Progress
from harness.play.runner import Runner
from harness.play.tournament import run_tournament
from harness.run.journal import Journal, Line
from harness.schedule.tournament import Schedule

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests.harness.test_tournament"


class Fallback:
    """Takes the game's fallback; can be slow, broken, deadly to its process, or the voice of a model."""

    def __init__(
        self,
        name: str,
        delay: float = 0.0,
        breaks: bool = False,
        kills: str = "",
        traced: bool = False,
        impossible: bool = False,
        fills: str = "",
    ):
        self.fills = fills
        self.name, self.delay, self.breaks, self.kills, self.traced = name, delay, breaks, kills, traced
        self.logprob = -math.inf if impossible else -0.5

    async def act(self, observation: Observation) -> Reply:
        from games import load_game

        await asyncio.sleep(self.delay)
        if self.breaks and observation.seed % 50 == 0:
            raise RuntimeError("a bug in this player")
        if self.kills and observation.seed % 40 == 0 and not Path(self.kills).exists():
            Path(self.kills).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fills and observation.seed % 20 == 0 and not Path(self.fills).exists():
            Path(self.fills).touch()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))  # no file may grow
        action: Action = load_game(observation.game).legal_fallback(observation.request, observation.seed)
        trace = Trace("m@1", (1,), (2,), logprobs=(self.logprob,)) if self.traced else None
        return Reply(action, trace=trace)


def config(games: int = 20, policy: str = "random", settings: dict | None = None, **run: object) -> Config:
    return parse_config(
        {
            "run": {"games": games, "seed": 3, "in_flight": 8, "runners": 2, **run},
            "agents": {
                "a": {"kind": "scripted", "policy": policy, "settings": settings or {}},
                "b": {"kind": "scripted", "policy": "random"},
            },
            "roster": {"mix": {"a": 3, "b": 4}},
        }
    )


def untrained_model(folder: Path) -> Path:
    """A model that writes nonsense in the game's own words."""
    import torch
    from transformers import LlamaForCausalLM

    from agents.models.small import make_config
    from agents.werewolf.vocabulary import make_tokenizer

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    LlamaForCausalLM(make_config(len(tokenizer), hidden=32, layers=1, intermediate=32)).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


def ids(wanted: Config) -> list[str]:
    return [planned.game_id for planned in Schedule(wanted)]


RUNNERS = {"local": 2, "ray": 1}
"""Where one is enough: a fork costs nothing, a worker of Ray's 2 s."""


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.xdist_group("engine"))])
def executor(request):
    """Both places where games are played."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    return request.param


class TestWherever:
    def test_same_configuration_gives_the_same_games(self, tmp_path):
        first, second = (run_tournament(config(), tmp_path / name) for name in ("first", "second"))
        for table in ("events", "decisions", "seats"):
            assert load_run(first).frame(table).collect().equals(load_run(second).frame(table).collect())

    def test_finished_run_is_left_alone_by_the_same_command(self, run_path):
        run_tournament(config(), run_path)
        before = {p: p.stat().st_mtime_ns for p in run_path.rglob("*") if p.name != "lock" and p.is_file()}
        run_tournament(config(), run_path)
        assert {
            p: p.stat().st_mtime_ns for p in run_path.rglob("*") if p.name != "lock" and p.is_file()
        } == before

    def test_more_games_are_added_to_the_ones_that_are_there(self, run_path):
        run_tournament(config(games=5), run_path)
        journal = Journal(sorted((run_path / "journal").glob("*")))
        run_tournament(config(games=12), run_path)
        after = Journal(sorted((run_path / "journal").glob("*")))
        assert load_run(run_path).game_ids == ids(config(games=12))
        assert all(after.ends[game] == end for game, end in journal.ends.items())
        assert check_run(run_path) == []

    def test_game_that_cannot_go_on_is_recorded_with_its_reason(self, executor, run_path):
        wanted = config(
            policy=f"{HERE}:Fallback", settings={"breaks": True}, fail_on_error=0, runners=RUNNERS[executor]
        )
        run_tournament(wanted, run_path, executor=executor)
        games = load_run(run_path).games.collect()
        failed = games.filter(games["status"] == "failed")
        assert 0 < failed.height < 20
        assert "RuntimeError: a bug in this player" in failed["error"][0]
        assert failed["winner"].null_count() == failed.height
        assert games["game_id"].to_list() == ids(wanted)
        assert check_run(run_path) == []

    def test_too_many_failed_games_stop_the_run_and_it_can_go_on(self, run_path):
        wanted = config(policy=f"{HERE}:Fallback", settings={"breaks": True}, fail_on_error=1)
        with pytest.raises(TournamentError, match="1 games have failed, the last one with RuntimeError"):
            run_tournament(wanted, run_path)
        run_tournament(
            config(policy=f"{HERE}:Fallback", settings={"breaks": True}, fail_on_error=0), run_path
        )
        assert load_run(run_path).game_ids == ids(wanted)

    def test_full_disk_stops_the_run_and_with_room_again_it_goes_on(self, executor, run_path, tmp_path):
        settings = {"fills": str(tmp_path / "full"), "delay": 0.001}
        wanted = config(policy=f"{HERE}:Fallback", settings=settings, runners=RUNNERS[executor])
        with pytest.raises(
            StorageError, match=r"no room to write .* free some space and run the same command"
        ):
            run_tournament(wanted, run_path, executor=executor)
        kept = dict(load_run(run_path).journal.ends)
        run_tournament(wanted, run_path, executor=executor)
        assert load_run(run_path).game_ids == ids(wanted)
        assert all(load_run(run_path).journal.ends[game] == end for game, end in kept.items())
        assert check_run(run_path) == []

    def test_killed_runner_is_replaced_and_no_game_is_lost(self, executor, run_path, tmp_path):
        settings = {"kills": str(tmp_path / "killed"), "delay": 0.001}
        wanted = config(policy=f"{HERE}:Fallback", settings=settings)
        run_tournament(wanted, run_path, executor=executor)
        assert (tmp_path / "killed").exists()
        assert load_run(run_path).game_ids == ids(wanted)
        assert check_run(run_path) == []
        assert len({p.name[:5] for p in (run_path / "journal").iterdir()}) == 2

    def test_unknown_policy_is_found_before_anything_is_started(self, run_path):
        with pytest.raises(ConfigurationError, match=r"agents\.a: no scripted player is called 'clever'"):
            run_tournament(config(policy="clever"), run_path)
        assert not run_path.exists()

    def test_factors_are_played_as_cells(self, run_path):
        plain = config(games=4).plain()
        plain["experiment"] = {"factors": {"game.preset": ["classic-7", "probe-6"]}}
        run_tournament(parse_config(plain), run_path)
        games = load_run(run_path).games.collect()
        assert Counter(games["preset"]) == {"classic-7": 4, "probe-6": 4}
        assert set(games.select(factor("game.preset")).to_series()) == {"classic-7", "probe-6"}
        assert check_run(run_path) == []

    def test_no_more_games_are_handed_out_than_may_be_in_flight(self, executor, run_path, monkeypatch):
        import harness.play.tournament as tournament

        class Counting(Progress):
            def ended(self, end):
                super().ended(end)
                waiting.append(taken[0] - self.done)

        def todo_of(*args):
            for one in plain_todo_of(*args):
                taken[0] += 1
                yield one

        taken, waiting, plain_todo_of = [0], [], tournament.todo_of
        monkeypatch.setattr(tournament, "todo_of", todo_of)
        wanted = config(games=40, runners=RUNNERS[executor])
        run_tournament(wanted, run_path, Counting("quiet"), executor=executor)
        assert taken == [40]
        assert max(waiting) < 8  # in_flight; the one that has just ended is not counted

    def test_progress_counts_every_game_once(self, executor, run_path, capsys):
        run_tournament(
            config(runners=RUNNERS[executor]), run_path, Progress("json", every=0.1), executor=executor
        )
        lines = capsys.readouterr().out.splitlines()
        last = json.loads([line for line in lines if '"ended"' in line][-1])
        decisions = load_run(run_path).decisions.collect().height
        assert (last["games"], last["ended"], last["decisions"]) == (20, 20, decisions)
        assert sum(last["winners"].values()) == 20

    def test_both_play_exactly_the_scheduled_games_and_the_same_ones_soundly(self, ray_cluster, tmp_path):
        wanted, runs = config(), []
        for executor in ("local", "ray"):
            path = tmp_path / executor
            assert run_tournament(wanted, path, executor=executor) == path
            runs.append(load_run(path))
            assert runs[-1].game_ids == ids(wanted)
            assert check_run(path) == []
        for table in ("events", "decisions", "seats"):
            assert runs[0].frame(table).collect().equals(runs[1].frame(table).collect())


@pytest.mark.usefixtures("ray_cluster")
class TestOnRay:
    @pytest.mark.slow
    def test_killed_engine_is_started_again_under_its_games_and_none_is_lost(
        self, run_path, tmp_path, monkeypatch, capsys
    ):
        import ray

        import harness.play.engines as engines

        plain = config(games=3, fail_on_error=1).plain()
        plain["agents"]["b"] = {"kind": "llm", "backend": "m", "sampling": {"max_tokens": 8}, "retries": 0}
        plain["backends"] = {"m": {"kind": "transformers", "model": str(untrained_model(tmp_path / "model"))}}
        wanted = parse_config(plain)
        started = []

        def kill(pid: int) -> None:
            while not any(b'"trace"' in p.read_bytes() for p in (run_path / "journal").glob("*.jsonl")):
                time.sleep(0.01)
            os.kill(pid, signal.SIGKILL)

        def start_and_kill(used, say, *rest):
            backends = start_backends(used, say, *rest)
            started.append(backends)
            if len(started) == 1:
                pid = ray.get(backends["m"]._actor.__ray_call__.remote(lambda self: os.getpid()))
                threading.Thread(target=kill, args=(pid,), daemon=True).start()
            return backends

        monkeypatch.setattr(engines, "start_backends", start_and_kill)
        run_tournament(wanted, run_path, Progress("json", every=0.1))
        lines = capsys.readouterr().out.splitlines()  # Ray's own among them, since it is not the command's
        told = [json.loads(line) for line in lines if line.startswith("{")]
        said = [line["message"] for line in told if "message" in line]
        assert [("died" in text, "back after" in text) for text in said if "engine of m" in text][1:] == [
            (True, False),
            (False, True),
        ]
        assert [line["losses"] for line in told if "losses" in line][-1] == 1
        assert len(started) == 1
        assert len({p.name[:5] for p in (run_path / "journal").iterdir()}) == 1  # nobody else was stopped
        games = load_run(run_path).games.collect()
        assert games["game_id"].to_list() == ids(wanted)
        assert set(games["status"]) == {"finished"}
        assert check_run(run_path) == []


SLOW = """
[run]
games = 40
seed = 3
in_flight = 8
runners = 2
[agents.a]
kind = "scripted"
policy = "tests.harness.test_tournament:Fallback"
settings = { delay = 0.02 }
[agents.b]
kind = "scripted"
policy = "random"
[roster]
mix = { a = 3, b = 4 }
"""


def start(run_path: Path) -> subprocess.Popen:
    """`wolfscope run` of slow games."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    path = run_path.parent / "slow.toml"
    path.write_text(SLOW)
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(path), "--out", str(run_path)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for_games(run_path: Path, n: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the driver ended early: {process.stdout.read()}")
        paths = sorted((run_path / "journal").glob("*.jsonl"))
        if sum(path.read_bytes().count(b'"end":') for path in paths) >= n:
            return
        time.sleep(0.05)
    raise AssertionError("no games were played")


@pytest.mark.slow
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_driver_leaves_a_run_that_the_same_command_finishes(run_path, how):
    wanted = config(games=40, policy=f"{HERE}:Fallback", settings={"delay": 0.02})
    process = start(run_path)
    try:
        wait_for_games(run_path, 5, process)
        os.kill(process.pid, how)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.stdout.close()
    assert process.returncode == 128 + how
    *before, last = output.splitlines()
    assert re.fullmatch(
        r"stopped: \d+ of 40 games have ended, those under way are kept; the same command goes on from there",
        last,
    )
    assert all(line.startswith(("starting", "Ray is up", "games ended")) for line in before), output
    run = load_run(run_path)
    kept = dict(run.journal.ends)
    begun = {game: run.journal.records(game) for game in run.journal.unfinished}
    assert not run.finished
    assert 5 <= len(kept) < 40
    assert begun
    again = start(run_path)
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "going on:" in output
    after = load_run(run_path)
    assert after.game_ids == ids(wanted)
    assert check_run(run_path) == []
    for game, end in kept.items():
        assert after.journal.ends[game] == end  # not played again
    for game, records in begun.items():
        assert after.records(game)[: len(records)] == records  # gone on with, not begun anew


def records_by_line(path: Path) -> list[list[Record]]:
    lines = [msgspec.json.decode(line, type=Line) for line in path.read_bytes().splitlines()]
    return [sorted((*line.events, *line.decisions), key=lambda record: record.seq) for line in lines]


def test_interrupted_game_goes_on_from_its_last_logged_step(tmp_path):
    """Cut off after any of its steps and gone on with, a game of scripted players is the very same game."""
    made = Schedule(config(games=1))
    (planned,) = made
    whole = Runner(tmp_path / "whole.jsonl", made.cells, made.configs, {})
    asyncio.run(whole.play(planned))
    log = Journal([tmp_path / "whole.jsonl"]).records(planned.game_id)
    kept: list[Record] = []
    for i, records in enumerate(records_by_line(tmp_path / "whole.jsonl")):
        kept += records
        runner = Runner(tmp_path / f"{i}.jsonl", made.cells, made.configs, {})
        end = asyncio.run(runner.play(planned, kept))
        added = [record for more in records_by_line(tmp_path / f"{i}.jsonl") for record in more]
        assert end.status == "finished"
        assert kept + added == log


def test_clock_that_jumps_changes_no_game_and_no_duration(tmp_path, monkeypatch):
    made = Schedule(config(games=2))
    jumps = itertools.cycle([0.0, -86_400.0, 86_400.0])
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + next(jumps))
    runner = Runner(tmp_path / "a.jsonl", made.cells, made.configs, {})
    ends = [asyncio.run(runner.play(planned)) for planned in made]
    assert all(0 <= end.seconds < 60 for end in ends)
    monkeypatch.undo()
    again = Runner(tmp_path / "b.jsonl", made.cells, made.configs, {})
    for planned in made:
        asyncio.run(again.play(planned))
        journals = [Journal([tmp_path / name]) for name in ("a.jsonl", "b.jsonl")]
        assert journals[0].records(planned.game_id) == journals[1].records(planned.game_id)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:10001"])
def test_address_without_a_cluster_is_refused_at_once(address):
    with (
        pytest.raises(ConfigurationError, match=f"--ray-address {address}: "),
        ray_for_now(address, Progress("quiet")),
    ):
        pass


def test_runner_whose_journal_cannot_be_seen_here_is_named(tmp_path):
    (tmp_path / "seen.jsonl").touch()
    await_journals({tmp_path / "seen.jsonl": "node-1"}, patience=0)
    with pytest.raises(
        StorageError, match=r"runner on node-2 writes .*lost\.jsonl.* file system that all nodes"
    ):
        await_journals({tmp_path / "lost.jsonl": "node-2"}, patience=0.2)


class Engine:
    model, capabilities = "m@1", Capabilities()

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def generate(self, prompts):
        raise self.error

    async def close(self):
        return


def test_lost_engine_interrupts_the_game_and_a_refused_prompt_does_not(tmp_path):
    plain = config(games=1).plain()
    plain["agents"]["b"] = {"kind": "llm", "backend": "m"}
    plain["backends"] = {"m": {"kind": "vllm"}}
    made = Schedule(parse_config(plain))
    (planned,) = made

    def play(name, error):
        runner = Runner(tmp_path / f"{name}.jsonl", made.cells, made.configs, {"m": Engine(error)})
        return asyncio.run(runner.play(planned))

    with pytest.raises(EngineLost):
        play("lost", EngineLost("engine 0 is gone"))
    lost = Journal([tmp_path / "lost.jsonl"])
    assert lost.unfinished == [planned.game_id]
    assert not any(isinstance(r, Decision) and r.fallback for r in lost.records(planned.game_id))
    # What an error says decides nothing.
    end = play("refused", BackendError("too long; run the command again", retryable=False))
    assert end.status == "finished"
    records = Journal([tmp_path / "refused.jsonl"]).records(planned.game_id)
    assert {r.fallback for r in records if isinstance(r, Decision) and r.agent == "b"} == {"backend_error"}


def test_changed_weights_are_refused(run_path, monkeypatch):
    import harness.config.models as models

    monkeypatch.setattr(models, "model_names", lambda used: {"small": "small@1"})
    run_tournament(config(games=1), run_path)
    monkeypatch.setattr(models, "model_names", lambda used: {"small": "small@2"})
    with pytest.raises(RunFolderError, match="put the same weights back"):
        run_tournament(config(games=2), run_path)


def test_minus_infinity_does_not_break_the_journal(tmp_path):
    made = Schedule(config(games=1, policy=f"{HERE}:Fallback", settings={"traced": True, "impossible": True}))
    (planned,) = made
    runner = Runner(tmp_path / "a.jsonl", made.cells, made.configs, {})
    assert asyncio.run(runner.play(planned)).status == "finished"
    records = Journal([tmp_path / "a.jsonl"]).records(planned.game_id)
    traces = [r.trace for r in records if isinstance(r, Decision) and r.trace is not None]
    assert {p for trace in traces for p in trace.logprobs} == {-sys.float_info.max}


def test_tokens_are_counted_over_the_whole_context(tmp_path):
    made = Schedule(config(games=1, policy=f"{HERE}:Fallback", settings={"traced": True}))
    (planned,) = made
    runner = Runner(tmp_path / "a.jsonl", made.cells, made.configs, {})
    asyncio.run(runner.play(planned))
    counts = asyncio.run(runner.counts())
    records = Journal([tmp_path / "a.jsonl"]).records(planned.game_id)
    traced = [r for r in records if isinstance(r, Decision) and r.trace is not None]
    assert counts.output_tokens == len(traced) == counts.prompt_tokens
    assert counts.decisions == sum(isinstance(r, Decision) for r in records)


def test_small_runs_without_models_load_no_cluster(run_path):
    file = run_path.parent / "run.toml"
    plain = SLOW.replace("games = 40", "games = 2").replace(f"{HERE}:Fallback", "loud")
    file.write_text(plain.replace("settings = { delay = 0.02 }", ""))
    code = (
        "import sys\nfrom harness.cli import main\ntry:\n    main(sys.argv[1:])\n"
        "except SystemExit as done:\n    print(done.code, 'ray' in sys.modules, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", str(file), "--out", str(run_path), "--quiet"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.split()[-3:] == ["0", "False", "False"], done.stdout + done.stderr


def test_models_cannot_be_asked_without_ray_and_nothing_is_left_behind(run_path):
    plain = config(games=1).plain()
    plain["agents"]["b"] = {"kind": "llm", "backend": "m"}
    plain["backends"] = {"m": {"kind": "transformers", "model": "small"}}
    with pytest.raises(ConfigurationError, match=r"--local plays without Ray, and the models of m are asked"):
        run_tournament(parse_config(plain), run_path, executor="local")
    with pytest.raises(
        ConfigurationError, match=r"--local plays on this machine, --ray-address there:1 on a"
    ):
        run_tournament(config(games=1), run_path, address="there:1", executor="local")
    assert not run_path.exists()


def test_killed_driver_leaves_no_process_and_no_lock(run_path):
    from tests.fixtures.kill_runs import processes

    process = start(run_path)
    try:
        wait_for_games(run_path, 1, process)
        mine = [pid for pid, parent, _ in processes() if parent == process.pid]
        assert mine
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    deadline = time.monotonic() + 20
    while {pid for pid, _, _ in processes()} & set(mine):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again = start(run_path)
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert check_run(run_path) == []
