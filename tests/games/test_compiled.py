"""The compiled rules stand in for the sources that they were made of, and for nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from games import compiled

ROOT = Path(__file__).resolve().parents[2]
PLAY_ALL = """
import hashlib, random, sys
from games import compiled, log
from games.play import Answer, play
from games.records import Action, Reply
from games.seat_view.views import Views
from games.werewolf import GAME
from games.werewolf.presets import PRESETS, configure

digest, uniform = hashlib.sha256(), random.Random(0).random
for preset in PRESETS:
    config = configure(preset)
    for seed in range(3):
        game, views, records = play(GAME, config, seed), Views(GAME, config, config.n_players), []
        step = next(game)
        while True:
            records += step.new
            views.add(step.new)
            if not step.requests:
                break
            answers = []
            for r in step.requests:
                digest.update(views.text(r).encode())
                option = r.options[int(uniform() * len(r.options))] if r.options else None
                answers.append(Answer(Reply(Action(option, "I accuse Ada. \u2014 'so'" if r.speaks else ""))))
            step = game.send(answers)
        digest.update(log.dumps(records))
print(compiled.in_use(), digest.hexdigest())
"""


def played(**environment: str) -> list[str]:
    """Whether the rules were compiled, and the digest of all logs and observations."""
    code = [sys.executable, "-c", PLAY_ALL]
    environ = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(code, env=environ, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(not compiled.folder().is_dir(), reason="the rules are not compiled: make fast")
def test_compiled_rules_give_the_same_logs_and_texts_byte_for_byte() -> None:
    fast, plain = played(WOLFSCOPE_COMPILED=""), played(WOLFSCOPE_COMPILED="0")
    assert (fast[0], plain[0]) == ("True", "False")
    assert fast[1] == plain[1]


def test_a_source_that_is_edited_runs_instead_of_what_was_compiled_before(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "games", tmp_path / "games", ignore=shutil.ignore_patterns("__pycache__"))

    def asked(code: str) -> str:
        code = "from games import compiled; " + code
        environ = os.environ | {"WOLFSCOPE_COMPILED": ""}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True
        )
        return done.stdout.strip() or done.stderr

    folder = Path(asked("print(compiled.folder())"))
    assert folder.is_relative_to(tmp_path)
    assert asked("print(compiled.in_use())") == "False"
    (folder / "games").mkdir(parents=True)
    broken = folder / "games" / ("chance" + EXTENSION_SUFFIXES[0])
    broken.write_bytes(b"no machine code")
    assert asked("print(compiled.in_use())") == "True"
    assert str(broken) in asked("import games.chance")  # it is what would be loaded
    with (tmp_path / "games" / "records.py").open("a") as file:
        file.write("\n# an edit\n")
    assert asked("print(compiled.in_use())") == "False"
    assert asked("import games.chance; print('plain')") == "plain"
