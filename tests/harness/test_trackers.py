"""Trackers hear of a run from its start to its end, and never stop it."""

import json
import sys
import types
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import ConfigurationError
from harness.play.runner import Counts
from harness.play.trackers import JsonLines, Mlflow, RunFacts, TrackedProgress, Wandb, tracker_of
from harness.run.journal import End
from tests.fixtures.local_runs import scripted

FACTS = RunFacts("my-run", "runs/my-run", {"run": {"games": 3}}, "abc", "rev", {"python": "3.11"})


class Fake:
    """Remembers what it was told; can fail at one method."""

    def __init__(self, fails: str = "") -> None:
        self.heard: list[tuple] = []
        self.fails = fails

    def _note(self, what: str, *given: object) -> None:
        if what == self.fails:
            raise ConnectionError("the server is gone")
        self.heard.append((what, *given))

    def start(self, run):
        self._note("start", run)

    def log(self, facts, step):
        self._note("log", facts, step)

    def finish(self, status, error):
        self._note("finish", status, error)


def played(tracker: Fake, error: BaseException | None = None) -> None:
    progress = TrackedProgress("quiet", [tracker], every=0.0)
    with progress.tracked(scripted(3), Path("runs/x")):
        progress.begin(3, [End("finished", "village")])
        progress.ended(End("finished", "werewolf"))
        progress.show(Counts(decisions=40, prompt_tokens=7))
        progress.ended(End("failed", error="x"))
        progress.show(Counts(decisions=50), force=True)
        if error is not None:
            raise error


class TestProtocol:
    def test_tracker_hears_start_progress_and_end_in_order(self):
        fake = Fake()
        played(fake)
        assert [what for what, *_ in fake.heard] == ["start", "log", "log", "finish"]
        run = fake.heard[0][1]
        assert (run.name, run.config_hash) == ("run", scripted(3).hash())
        facts, step = fake.heard[1][1:]
        assert step == 2 and facts["decisions"] == 40 and facts["winners/village"] == 1
        assert all(isinstance(value, float) for value in facts.values())
        assert fake.heard[2][2] == 3
        assert fake.heard[-1] == ("finish", "finished", None)

    @pytest.mark.parametrize(
        ("error", "status", "said"),
        [(KeyboardInterrupt(), "stopped", None), (ValueError("no"), "failed", "ValueError: no")],
    )
    def test_tracker_hears_how_a_run_ended(self, error, status, said):
        fake = Fake()
        with pytest.raises(type(error)):
            played(fake, error)
        assert fake.heard[-1] == ("finish", status, said)

    @pytest.mark.parametrize("method", ["start", "log", "finish"])
    def test_failing_tracker_is_said_once_and_left_out(self, method):
        fake, other = Fake(fails=method), Fake()
        progress = TrackedProgress("quiet", [fake, other], every=0.0)
        said: list[str] = []
        progress.say = said.append  # type: ignore[method-assign]
        with progress.tracked(scripted(3), Path("runs/x")):
            progress.begin(3, [])
            for _ in range(3):
                progress.show(Counts(), force=True)
        assert said == ["the tracker Fake has failed and is left out: the server is gone"]
        assert [what for what, *_ in other.heard] == ["start", "log", "log", "log", "finish"]


class TestJsonLines:
    def test_every_call_is_a_line_and_a_resumed_run_appends(self, tmp_path):
        for _ in range(2):
            tracker = JsonLines(tmp_path / "deep" / "t.jsonl")
            tracker.start(FACTS)
            tracker.log({"ended": 1.0}, 1)
            tracker.finish("finished", None)
        lines = [json.loads(line) for line in (tmp_path / "deep" / "t.jsonl").read_text().splitlines()]
        assert [line["event"] for line in lines] == ["start", "log", "finish"] * 2
        assert lines[0]["config"] == {"run": {"games": 3}} and lines[1]["step"] == 1

    def test_run_command_tracks_where_it_is_told_to(self, tmp_path):
        config = tmp_path / "c.toml"
        config.write_text(
            '[run]\ngames = 4\n[agents.r]\nkind = "scripted"\npolicy = "random"\n[roster]\nmix = { r = 7 }\n'
        )
        file = tmp_path / "t.jsonl"
        with pytest.raises(SystemExit) as stopped:
            main(["run", str(config), "--out", str(tmp_path / "run"), "--quiet", "--track", f"jsonl:{file}"])
        assert stopped.value.code == 0
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert (lines[0]["event"], lines[-1]["event"], lines[-1]["status"]) == ("start", "finish", "finished")
        assert lines[-2]["ended"] == 4


class TestAdapters:
    """Against stand-ins that take the calls of the real packages."""

    def test_wandb_run_is_found_again_by_its_hash(self, monkeypatch):
        calls: list[tuple] = []

        class Run:
            def __init__(self) -> None:
                self.summary: dict[str, str] = {}

            def log(self, facts, step):
                calls.append(("log", facts, step))

            def finish(self, exit_code):
                calls.append(("finish", self.summary, exit_code))

        fake = types.ModuleType("wandb")
        fake.init = lambda **given: calls.append(("init", given)) or Run()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "wandb", fake)
        tracker = tracker_of("wandb:wolves")
        assert isinstance(tracker, Wandb)
        tracker.start(FACTS)
        tracker.log({"ended": 2.0}, 2)
        tracker.finish("stopped", None)
        assert calls[0][1]["project"] == "wolves" and calls[0][1]["id"] == "my-run-abc"
        assert calls[0][1]["resume"] == "allow" and calls[0][1]["config"]["config_hash"] == "abc"
        assert calls[1:] == [("log", {"ended": 2.0}, 2), ("finish", {"status": "stopped"}, 1)]

    def test_mlflow_gets_parameters_metrics_and_status(self, monkeypatch):
        calls: list[tuple] = []
        fake = types.ModuleType("mlflow")
        for name in ("set_tracking_uri", "set_experiment", "start_run", "set_tags", "log_params", "log_metrics",
                     "set_tag", "end_run"):  # fmt: skip
            setattr(fake, name, lambda *a, _name=name, **k: calls.append((_name, a, k)))
        monkeypatch.setitem(sys.modules, "mlflow", fake)
        tracker = tracker_of("mlflow:file:/somewhere")
        assert isinstance(tracker, Mlflow)
        tracker.start(FACTS)
        tracker.log({"ended": 2.0}, 2)
        tracker.finish("failed", "ValueError: no")
        by_name = {name: (given, named) for name, given, named in calls}
        assert by_name["set_tracking_uri"][0] == ("file:/somewhere",)
        assert by_name["log_params"][0] == ({"run.games": 3},)
        assert by_name["log_metrics"] == (({"ended": 2.0},), {"step": 2})
        assert by_name["set_tag"][0] == ("error", "ValueError: no") and by_name["end_run"][0] == ("FAILED",)

    @pytest.mark.parametrize(("module", "package"), [("wandb", "wandb"), ("mlflow", "mlflow-skinny")])
    def test_missing_package_is_refused_with_the_remedy(self, monkeypatch, module, package):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(
            ConfigurationError, match=rf"needs {module}, which is not installed.*pip install {package}"
        ):
            tracker_of(module)

    @pytest.mark.parametrize(
        ("words", "what"), [("excel:x", "no tracker is called 'excel'"), ("jsonl", "needs a file")]
    )
    def test_unknown_tracker_is_refused(self, words, what):
        with pytest.raises(ConfigurationError, match=what):
            tracker_of(words)
