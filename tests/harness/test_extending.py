"""What docs/extending.md says on roles, games, players, backends and verbs is done here as it stands there."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agents.backends.base import Prompt, Sampling
from agents.backends.registry import KINDS, Kind
from games import GAMES, register
from harness.check.check import check_run
from harness.config.files import parse_config
from harness.config.sections import BackendSection
from harness.errors import ConfigurationError
from harness.replay.replay import open_replay
from harness.run.folder import load_run
from tests.fixtures.local_runs import play_run, scripted

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, marker
    return found[1]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the page where Python finds it."""

    def write(name: str) -> None:
        (tmp_path / f"{name}.py").write_text(block(f"module {name}"), encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        sys.modules.pop(name, None)

    return write


PLAY = """
import random
from games import load_game
from games.play import Answer, play
from games.records import Action, Decision, Reply
from games.werewolf.arrays.discrete import ROLES
from agents.werewolf.observer import Observer, Unmodelled

game = load_game("werewolf")
roles = {"werewolf": 2, "twin": 2, "seer": 1, "villager": 2}
config = game.configure(preset="custom", roles=roles)
text = game.rules_text(config, "twin")
assert "Your role is twin." in text and "You know every other twin." in text, text
assert "Every twin knows every other twin from the start." in text
assert {"twin"} <= set(game.text.words_in(config)) and "twin" not in game.text.words_in(game.configure())
assert ROLES[-1] == "twin"
for lexicon in ("mafia", "neutral", "nonsense", "symbols", "random-3"):
    game.rules_text(game.configure(preset="custom", roles=roles, lexicon=lexicon))
for seed in range(20):
    steps = play(game, config, seed)
    step, log = next(steps), []
    while step.requests:
        log += step.new
        answers = []
        for r in step.requests:
            option, text = game.legal_fallback(r, seed + r.seat).option, "I am the twin." if r.speaks else ""
            answers.append(Answer(Reply(Action(option, text))))
        step = steps.send(answers)
    log += step.new
    cards = [r for r in log if r.kind == "role" and r.value == "twin"]
    assert len(cards) == 2 and all(len(r.data["known"]) == 1 for r in cards)
    won = next(r for r in log if r.kind == "outcome")
    twins = {r.target for r in cards}
    assert (won.value == "village") == (twins <= set(won.data["winners"]))
try:
    Observer("rules", config)
except Unmodelled as error:
    print(error)
"""


def test_a_role_is_one_row(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "games", tmp_path / "games", ignore=shutil.ignore_patterns("__pycache__"))
    table = tmp_path / "games" / "werewolf" / "roles.py"
    before = table.read_text(encoding="utf-8")
    end = ')  # fmt: skip\n"""All of them'
    assert before.count(end) == 1
    table.write_text(before.replace(end, f"    {block('row of CARDS').strip()},\n{end}"), encoding="utf-8")
    paths = f"{tmp_path}:{ROOT}"
    command = [sys.executable, "-c", PLAY]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the observer does not model the role 'twin'")


CHARACTER = """
from agents.lessons import played
from agents.policies import make_policy, players_of
from agents.werewolf.observer import EVEN, Observer
from agents.werewolf.styles import CAST
from games import load_game
from games.records import Decision

game = load_game("werewolf")
config = game.configure(preset="aiwolf-5")
assert "blunt" in players_of(game).policies() and "blunt" not in CAST and set(EVEN) == set(CAST)
seats = [make_policy(game, "b", "blunt", {})] * 5
log, _ = played(game, config, 3, seats, lambda options, seen: max(options, key=lambda one: one[1])[0])
observer = Observer("exact", config, {"blunt": 1.0})
for record in log:
    observer.update(record)
said = [act.kind for r in log if isinstance(r, Decision) for act in r.action.acts]
print(said.count("accuse") > said.count("defend"))
"""


def test_a_character_is_one_row(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "agents", tmp_path / "agents", ignore=ignored)
    table = tmp_path / "agents" / "werewolf" / "styles.py"
    before = table.read_text(encoding="utf-8")
    end = "\n}\n"
    assert before.count(end) == 1
    table.write_text(before.replace(end, f"\n    {block('row of STYLES').strip()}{end}"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", CHARACTER], cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr


def test_a_game_is_loaded_and_a_tournament_of_it_is_played_replayed_and_checked(tmp_path, capsys) -> None:
    exec(compile(block("runs"), "extending.md", "exec"), {})
    assert "Players Ada Ben Cal Dot Eve." in capsys.readouterr().out
    register("coin", "tests.fixtures.extending.coin:GAME")
    assert "coin" in GAMES
    config = scripted(games=3, mix={"accuser": 4}, game={"name": "coin"})
    run = play_run(config, tmp_path / "run")
    opened = load_run(run)
    assert set(opened.games.collect()["winner"]) <= {"holder", "others"}
    assert [f"{f.where}: {f.what}" for f in check_run(run)] == []
    replay = open_replay(run, "0")
    assert replay.lines()[0] == "Players Ada Ben Cal Dot."
    assert any("I accuse" in line for line in replay.lines(seat=1))
    with pytest.raises(ConfigurationError, match="no scripted player is called 'loud'"):
        play_run(scripted(games=1, mix={"loud": 4}, game={"name": "coin"}), tmp_path / "other")


def test_a_player_from_outside_is_named_by_its_path(module, tmp_path) -> None:
    module("my_players")
    quiet = {"kind": "scripted", "policy": "my_players:Quiet", "settings": {"option": "last"}}
    config = parse_config(
        {"run": {"games": 2, "seed": 5}, "agents": {"quiet": quiet}, "roster": {"mix": {"quiet": 7}}}
    )
    opened = load_run(play_run(config, tmp_path / "run"))
    decisions = [r for _, log in opened.logs() for r in log if hasattr(r, "action") and r.options]
    assert decisions
    assert all(d.action.option == max(d.options) for d in decisions)


def test_a_backend_is_a_module_and_a_line(module, monkeypatch) -> None:
    from harness.play.engines import start_backend

    module("my_parrot")
    monkeypatch.setitem(KINDS, "parrot", Kind("my_parrot"))
    backend = start_backend("b", BackendSection(kind="parrot", model="small", settings={"tokens": 2}))
    (said,) = asyncio.run(backend.generate([Prompt((5, 6, 7), Sampling())]))
    assert said.output_ids == (6, 7)
    with pytest.raises(ConfigurationError, match=r"backends\.b\.settings: tokens = 'two': give a number"):
        start_backend("b", BackendSection(kind="parrot", model="small", settings={"tokens": "two"}))


def test_a_verb_is_a_function(module, tmp_path, capsys) -> None:
    from harness.cli.app import app

    module("my_verbs")
    import my_verbs

    assert my_verbs.winners
    run = play_run(scripted(games=2), tmp_path / "run")
    assert app(["winners", str(run)]) == 0
    assert re.fullmatch(r"(werewolf|village) \d(, (werewolf|village) \d)?", capsys.readouterr().out.strip())


def test_a_site_is_a_function_of_a_context(module, monkeypatch) -> None:
    from games.records import Action, Decision, Span, Trace
    from harness.activations.sites import REGISTERED, check_sites, game_items

    module("my_sites")
    monkeypatch.setenv("WOLFSCOPE_EXTENSIONS", "my_sites")
    check_sites(["start_of_question", "prompt_last"])
    trace = Trace("m@1", (10, 11, 12, 13), (14,), "x", None, (Span("question", 2, 4, 0),))
    ballot = Decision(seq=1, seat=0, kind="ballot", action=Action(option=1), options=(1,), trace=trace)
    silent = Decision(
        seq=2,
        seat=0,
        kind="ballot",
        action=Action(option=1),
        options=(1,),
        trace=Trace("m@1", (10,), (14,), "x"),
    )
    found = game_items("g", [ballot, silent], "m@1", ["start_of_question"])
    assert [(item.seq, item.sites) for item in found] == [(1, {"start_of_question": (None, (2,))})]
    with pytest.raises(ConfigurationError, match="no site is called 'end_of_question'"):
        check_sites(["end_of_question"])
    del REGISTERED["start_of_question"]
