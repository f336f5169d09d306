"""Configuration files: what is accepted, and how wrong ones are refused."""

from pathlib import Path

import pytest

from harness.config.files import load_config, parse_config
from harness.config.sections import Config
from harness.errors import ConfigurationError

MINIMAL = """
[run]
games = 4
[agents.random]
kind = "scripted"
policy = "random_legal"
[roster]
mix = {random = 7}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def complaint(text: str, tmp_path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_config(write(tmp_path, text), overrides)
    return str(caught.value)


def test_minimal_configuration_is_completed_with_defaults(tmp_path):
    config = load_config(write(tmp_path, MINIMAL))
    assert (config.run.games, config.run.in_flight, config.game.name) == (4, None, "werewolf")


def test_plain_configuration_reads_back_as_the_same(tmp_path):
    config = load_config(write(tmp_path, MINIMAL))
    assert Config.model_validate(config.plain()) == config


def test_unknown_key_is_refused_with_the_nearest_right_name(tmp_path):
    message = complaint(MINIMAL.replace("games = 4", "gmaes = 4"), tmp_path)
    assert "run.gmaes" in message
    assert "did you mean 'games'" in message


def test_unknown_key_deep_inside_names_its_path(tmp_path):
    text = MINIMAL.replace('policy = "random_legal"', 'policy = "x"\nsampling = {temprature = 1.0}')
    message = complaint(text, tmp_path)
    assert "agents.random.sampling.temprature" in message
    assert "did you mean 'temperature'" in message


def test_several_complaints_come_together(tmp_path):
    message = complaint(MINIMAL.replace("games = 4", "games = -4\nsed = 1"), tmp_path)
    assert "run.games = -4" in message
    assert "did you mean 'seed'" in message


def test_missing_file_suggests_one_that_exists(tmp_path):
    write(tmp_path, MINIMAL)
    with pytest.raises(ConfigurationError, match=r"there is no configuration .*did you mean config\.toml"):
        load_config(tmp_path / "confg.toml")


def test_broken_toml_names_the_line(tmp_path):
    assert "line 2" in complaint("[run]\ngames = = 3", tmp_path)


def test_binary_file_is_refused(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config(path)


def test_override_sets_a_key_and_beats_the_file(tmp_path):
    overrides = ["run.games=9", "game.preset=probe-6", 'run.name="x"', "agents.random.settings.p=0.5"]
    config = load_config(write(tmp_path, MINIMAL), overrides)
    assert (config.run.games, config.run.name) == (9, "x")
    assert config.game.settings == {"preset": "probe-6"}
    assert config.agents["random"].settings == {"p": 0.5}


def test_override_without_value_is_refused(tmp_path):
    assert "write key=value" in complaint(MINIMAL, tmp_path, "run.games")


def test_override_through_a_value_is_refused(tmp_path):
    assert "run.games is a value" in complaint(MINIMAL, tmp_path, "run.games.many=3")


def test_roster_may_only_name_agents_that_exist(tmp_path):
    message = complaint(MINIMAL.replace("mix = {random = 7}", "mix = {randm = 7}"), tmp_path)
    assert "'randm'" in message
    assert "did you mean 'random'" in message


def test_llm_agent_needs_a_backend_that_exists(tmp_path):
    llm = MINIMAL + '[agents.model]\nkind = "llm"\n'
    assert "needs backend" in complaint(llm, tmp_path)
    assert "no [backends.*] defines" in complaint(llm + 'backend = "small"\n', tmp_path)


def test_roster_takes_exactly_one_form(tmp_path):
    text = MINIMAL.replace("mix = {random = 7}", 'mix = {random = 7}\nseats = ["random"]')
    assert "exactly one of mix, seats, roles" in complaint(text, tmp_path)


def test_factor_outside_the_game_is_refused(tmp_path):
    message = complaint(MINIMAL + '[experiment.factors]\n"run.seed" = [1, 2]\n', tmp_path)
    assert "'run.seed' cannot be varied" in message


def test_hash_depends_on_what_is_played_alone():
    plain = {
        "agents": {"a": {"kind": "scripted", "policy": "x"}},
        "roster": {"mix": {"a": 7}},
    }
    config = parse_config(plain)
    assert (
        parse_config(plain | {"run": {"in_flight": 3, "name": "other", "games": 7}}).hash() == config.hash()
    )
    assert parse_config(plain | {"run": {"seed": 3}}).hash() != config.hash()
    assert parse_config(plain | {"game": {"preset": "probe-6"}}).hash() != config.hash()
