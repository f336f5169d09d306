"""The command line as a user meets it: exit status, one-line errors, nothing lost."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import load_run
from harness.cli.main import main
from harness.errors import WolfscopeError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
[run]
name = "tiny"
games = 4
runners = 1
[agents.random]
kind = "scripted"
policy = "random"
[roster]
mix = {random = 7}
"""


def wolfscope(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def error_of(*words: object, cwd: Path, status: int = 2, **environment: str) -> str:
    done = wolfscope(*words, cwd=cwd, **environment)
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG)
    return path


def test_help_names_every_verb(tmp_path):
    done = wolfscope("--help", cwd=tmp_path)
    assert done.returncode == 0
    for verb in ("run", "check", "capture", "report", "demo", "train-small-model", "eval-small-model"):
        assert f" {verb} " in done.stdout


def test_run_check_and_run_again(tmp_path, config):
    first = wolfscope("run", config, cwd=tmp_path)
    assert first.returncode == 0, first
    path = tmp_path / "runs" / "tiny"
    assert first.stdout.splitlines()[-1] == str(path)
    assert "games ended: 4 of 4" in first.stdout
    assert load_run(path).finished
    checked = wolfscope("check", path, cwd=tmp_path)
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "sound: nothing is wrong")
    again = wolfscope("run", config, "--json", cwd=tmp_path)
    assert again.returncode == 0
    assert "all 4 games were played before" in json.loads(again.stdout.splitlines()[0])["message"]
    other = error_of("run", config, "--set", "run.seed=5", cwd=tmp_path)
    assert "run.seed is 0 there and 5 here" in other


def test_dry_run_shows_the_schedule_and_makes_nothing(tmp_path, config):
    done = wolfscope("run", config, "--dry-run", "--limit", 2, cwd=tmp_path)
    assert done.returncode == 0
    assert "2 games" in done.stdout
    assert "random: 14 seats" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "missing.toml"], "there is no configuration missing.toml"),
        (["run", "tiny.toml", "--set", "run.gmes=3"], "did you mean 'games'"),
        (["run", "tiny.toml", "--set", "game.preset=clasic-7"], "did you mean 'classic-7'"),
        (
            ["run", "tiny.toml", "--set", "agents.random.policy=clever"],
            "no scripted player is called 'clever'",
        ),
        (["run", "tiny.toml", "--set", "roster.mix={a=1}"], "roster names the agent 'a'"),
        (["run", "tiny.toml", "--limit", "0"], "for --limit. Must be >= 1"),
        (["run", "tiny.toml", "--dry-run", "--sample=-1"], "for --sample. Must be >= 0"),
        (["run", "tiny.toml", "--out", "tiny.toml"], "is a file: choose another --out"),
        (["run", "tiny.toml", "--out", "."], "exists and is not a run folder"),
        (["check", "nowhere"], "there is no run folder nowhere"),
        (["check", "."], "is not a run folder"),
        (["capture", "nowhere"], "there is no run folder"),
        (["report"], "name at least one run folder"),
    ],
)
def test_wrong_words_get_one_line_and_status_2(tmp_path, config, words, said, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main(words)
    finally:
        signal.signal(signal.SIGTERM, handler)
    message = capsys.readouterr().err
    assert (ended.value.code, message.startswith("error: "), said in message) == (2, True, True), message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.toml"]


def test_model_folder_without_tokenizer_is_refused_before_anything_starts(tmp_path, config):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "model.safetensors").write_bytes(b"weights")
    llm = CONFIG + '[agents.m]\nkind = "llm"\nbackend = "b"\n[backends.b]\nkind = "vllm"\nmodel = "model"\n'
    config.write_text(llm.replace("mix = {random = 7}", "mix = {random = 6, m = 1}"))
    assert "has no tokenizer" in error_of("run", config, cwd=tmp_path)
    assert not (tmp_path / "runs").exists()


def test_another_projects_package_of_the_same_name_is_noticed(tmp_path, config):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").touch()
    message = error_of("run", config, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert f"the package 'agents' is found at {tmp_path / 'agents'}" in message


def test_debug_shows_the_traceback(tmp_path):
    done = wolfscope("check", "nowhere", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_demo_goes_on_with_the_one_that_lacks_its_report_and_keeps_the_others(tmp_path):
    from harness.cli.demo import _demo_folder

    assert _demo_folder(tmp_path) == tmp_path / "demo-1"
    (tmp_path / "demo-1").mkdir()
    assert _demo_folder(tmp_path) == tmp_path / "demo-1"
    (tmp_path / "demo-1" / "report.html").touch()
    assert _demo_folder(tmp_path) == tmp_path / "demo-2"


def test_shipped_configurations_are_valid():
    from harness.config.files import load_config, read_toml, validated
    from harness.config.judge import JudgeConfig
    from harness.schedule.tournament import Schedule

    paths = sorted((ROOT / "harness" / "config" / "examples").glob("*.toml"))
    assert len(paths) >= 4
    for path in paths:
        try:
            if path.name == "judge.toml":
                validated(JudgeConfig, read_toml(path), path.name)
            else:
                Schedule(load_config(path))
        except WolfscopeError as error:
            pytest.fail(f"{path.name}: {error}")


def test_a_reader_that_has_read_enough_is_no_fault(config):
    run = [sys.executable, "-m", "harness", "run", str(config), "--dry-run"]
    reader, writer = os.pipe()
    os.close(reader)  # gone before the first line: how far a slower one gets is chance
    try:
        ended = subprocess.run(run, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    finally:
        os.close(writer)
    assert ended.stderr == ""
    assert ended.returncode == 128 + 13
