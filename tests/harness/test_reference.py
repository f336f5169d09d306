"""Every key that a configuration can have is documented, and the page in docs is what the code says."""

from __future__ import annotations

import inspect
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agents.llm.chat import ChatPlayer
from agents.llm.transcript import TranscriptPlayer
from agents.werewolf.bayesian import Bayesian
from games import SHIPPED, load_game
from harness.cli import main
from harness.cli.main import app
from harness.config import sections
from harness.config.files import EXAMPLES, find_config, load_config
from harness.config.sections import Config, SamplingSection
from harness.errors import ConfigurationError
from harness.reference import catalogue, page, players, schema

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("table", catalogue.tables(), ids=lambda table: f"{table.name} {table.about[:20]}")
def test_every_key_has_a_type_a_default_and_says_what_it_does(table):
    for key in table.keys:
        assert key.doc and key.type and key.default, f"{table.name}.{key.name}"


def test_every_section_of_a_configuration_has_its_table():
    named = {table.name.partition(".")[0] for table in catalogue.tables()}
    assert set(Config.model_fields) <= named


def test_game_has_all_knobs_and_presets_a_line_each():
    (game,) = [t for t in catalogue.tables() if t.name == "game" and "werewolf" in t.about]
    assert {key.name for key in game.keys} == {"name", *type(load_game("werewolf").configure()).model_fields}
    for name in SHIPPED:
        rules = load_game(name)
        listed = [p for p in catalogue.presets() if p.name in rules.presets]
        assert len(listed) == len(rules.presets) > 4
        assert all(
            p.about.startswith(f"{name}, {rules.configure(preset=p.name).n_players} seats") for p in listed
        )
        (table,) = [t for t in catalogue.tables() if t.name == "game" and name in t.about]
        (preset,) = [key for key in table.keys if key.name == "preset"]
        assert preset.default == f'"{rules.configure().preset}"'


def arguments(cls: type, *given: str) -> set[str]:
    return set(inspect.signature(cls.__init__).parameters) - {"self", *given}


def server() -> type:
    from agents.backends.openai.client import ServerBackend

    return ServerBackend


COMMON = {"name", "backend", "tokenizer", "retries", "clock", *SamplingSection.model_fields}


@pytest.mark.parametrize(
    ("cls", "given", "keys"),
    [
        (lambda: Bayesian, {"name"}, players.BAYESIAN),
        (lambda: TranscriptPlayer, COMMON, [k for k in players.MODEL if not k.doc.startswith("chat:")]),
        (lambda: ChatPlayer, COMMON, [k for k in players.MODEL if not k.doc.startswith("transcript:")]),
        (
            server,
            {"url", "model", "tokenizer", "api_key", "max_concurrent", "extra", "name"},
            players.OPENAI,
        ),
    ],
    ids=["bayesian", "transcript", "chat", "openai"],
)
def test_keys_of_players_and_backends_are_the_arguments_of_their_classes(cls, given, keys):
    assert {key.name for key in keys} == arguments(cls(), *given)


def test_defaults_of_players_are_those_of_their_classes():
    for cls, keys in ((TranscriptPlayer, players.MODEL), (Bayesian, players.BAYESIAN)):
        for key in keys:
            known = inspect.signature(cls.__init__).parameters.get(key.name)
            if known is not None and known.default is not None:
                assert json.loads(key.default) == known.default, key.name


@pytest.mark.parametrize(
    ("file", "made"), [("settings.md", page.markdown), ("settings.schema.json", schema.schema_text)]
)
def test_files_in_docs_are_what_the_command_writes(file, made):
    flag = "--markdown" if file.endswith("md") else "--schema"
    assert (ROOT / "docs" / file).read_text() == made(), f"wolfscope settings {flag} > docs/{file}"


def test_schema_takes_the_shipped_configurations_and_knows_every_key():
    made: dict[str, Any] = schema.schema()
    for path in EXAMPLES.glob("*.toml"):
        plain = tomllib.loads(path.read_text())
        if "judge" in plain:
            continue
        game = made["$defs"]["GameSection"]["properties"]
        assert set(plain) <= set(made["properties"])
        assert set(plain.get("game", {})) <= set(game)
    for name, cls in vars(sections).items():
        if name.endswith("Section") and name in made["$defs"]:
            for key in cls.model_fields:
                assert made["$defs"][name]["properties"][key].get("description"), f"{name}.{key}"


@pytest.mark.parametrize("verb", ["presets", "policies", "lexicons", "sites", "configs", "settings"])
def test_verbs_list_what_there_is(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    known = {"presets": "aiwolf-13", "policies": "busser", "lexicons": "nonsense", "sites": "mention",
             "configs": "first-tournament", "settings": "[backends.NAME.settings]"}  # fmt: skip
    assert known[verb] in said


def test_settings_of_one_table_and_of_none(capsys):
    with pytest.raises(SystemExit):
        main(["settings", "agents.NAME.sampling"])
    assert "temperature = 1.0  (number, at least 0)" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["settings", "agnts"])
    assert ended.value.code == 2
    assert "no table is called 'agnts'" in capsys.readouterr().err


def test_shipped_configuration_is_known_by_its_name_and_a_path_works_as_before(tmp_path, monkeypatch):
    assert load_config("first-tournament").run.name == "first-tournament"
    assert find_config(EXAMPLES / "demo.toml") == EXAMPLES / "demo.toml"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text("[roster]\n")
    assert find_config("demo") == Path("demo")  # a file of one's own goes first
    with pytest.raises(ConfigurationError, match=r"did you mean first-tournament\?"):
        load_config("first-turnament")


def test_verbs_stand_in_groups_and_completion_is_the_librarys_own():
    for name in app:
        if not name.startswith("-") and name not in ("version",):
            assert app[name].group and app[name].group[0].name != "Commands", name
    assert "--install-completion" in app
