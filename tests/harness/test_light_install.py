"""Runs are read, checked, viewed, probed and reported without Ray, vLLM, torch or transformers."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agents.werewolf.vocabulary import make_tokenizer
from harness.config.files import parse_config
from tests.fixtures.local_runs import play_run
from tests.fixtures.planted_runs import planted_run
from tests.fixtures.player_fixtures import FakeBackend, transcript_line

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("ray", "vllm", "torch", "transformers", "tokenizers", "httpx")
BLOCK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
VERBS = """
from harness.cli import main
for words in WORDS:
    try:
        main(words)
    except SystemExit as ended:
        print("status", words[0], ended.code)
"""
PROBE = """
import numpy as np
from analysis.probes.probes import probe
from analysis.stats.splits import game_folds
from harness import load_run
run = load_run(PATH)
store = run.activations()
lines, x = store.select(1, site="mention")
truth = {(g, s): r == "werewolf" for g, s, r in run.seats.select("game_id", "seat", "role").collect().iter_rows()}
y = np.array([truth[key] for key in lines.select("game_id", "subject").iter_rows()], dtype=float)
folds = game_folds(lines["game_id"], 3).require_grouped()
print("probed", probe(x, y, folds, lines["game_id"].to_numpy(), "ridge").auroc > 0.6)
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = parse_config(
        {
            "run": {"games": 2, "seed": 5},
            "game": {"preset": "probe-6"},
            "agents": {
                "small": {"kind": "llm", "backend": "small"},
                "loud": {"kind": "scripted", "policy": "loud"},
            },
            "backends": {"small": {"kind": "transformers", "model": "small"}},
            "roster": {"mix": {"small": 2, "loud": 4}},
        }
    )
    backend = FakeBackend(make_tokenizer(), transcript_line)
    return play_run(config, tmp_path_factory.mktemp("light") / "run", {"small": backend})


def without_heavy(code: str, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_reading_verbs_need_no_engine_and_no_model(played, tmp_path):
    path = str(played)
    words = [
        ["check", path], ["ratings", path], ["behaviour", path], ["replay", path, "0"], ["view", path],
        ["report", path], ["export", path, "out"], ["watch", path, "--once"], ["settings", "run"], ["configs"],
        ["version"], ["run", "first-tournament", "--dry-run"],
    ]  # fmt: skip
    said = without_heavy(VERBS.replace("WORDS", repr(words)), tmp_path)
    for one in words:
        assert f"status {one[0]} 0" in said, (one, said)
    assert "prompts are not checked against the log" in said
    assert (played / "report.html").is_file() and (played / "view" / "index.html").is_file()


def test_activations_are_read_and_probed_without_torch(tmp_path):
    path = planted_run(tmp_path / "planted", 6, 1.2, seed=5)
    assert "probed True" in without_heavy(f"PATH = {str(path)!r}\n{PROBE}", tmp_path)


@pytest.mark.parametrize(
    ("words", "extra"), [(["run", "demo"], "play"), (["eval-small-model"], "models")], ids=lambda w: str(w)
)
def test_verb_that_needs_more_names_the_extra(words, extra, tmp_path):
    said = without_heavy(VERBS.replace("WORDS", repr([words])), tmp_path)
    assert f"status {words[0]} 2" in said
    assert "which a light install does not have: pip install 'wolfscope[" in said


def test_base_requirements_hold_nothing_heavy():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {r.partition(">")[0].partition("=")[0] for r in project["dependencies"]}
    assert not base & set(HEAVY)
    brought = " ".join(
        r for extra in ("play", "models", "cpu") for r in project["optional-dependencies"][extra]
    )
    assert all(name in brought for name in HEAVY)
