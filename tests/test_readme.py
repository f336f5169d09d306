"""The README says what is so: its configurations, columns, commands, modules and first snippet."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.config.files import parse_config

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, table by table; a roster replaces the other."""
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict) and key != "roster"
        out[key] = merged(below[key], value) if both else value
    return out


def columns(table: str) -> list[str]:
    row = re.search(rf"^\| `{table}.*$", README, re.MULTILINE)
    assert row is not None, table
    found = re.search(r"`(game_id, [^`]*)`", row[0])
    assert found is not None, table
    return found[1].split(", ")


@pytest.mark.parametrize("number", range(len(blocks("toml"))))
def test_configurations_are_valid(number: int) -> None:
    first, *_ = blocks("toml")
    config = merged(tomllib.loads(first), tomllib.loads(blocks("toml")[number]))
    assert parse_config(config, "README.md").run.name == "first-tournament"


def test_first_configuration_is_the_shipped_one() -> None:
    shipped = tomllib.loads((ROOT / "harness/config/examples/first-tournament.toml").read_text())
    assert tomllib.loads(blocks("toml")[0]) == shipped


@pytest.mark.parametrize("table", ["games", "seats", "events", "decisions", "beliefs"])
def test_columns_are_those_of_the_tables(table: str) -> None:
    from harness.run.tables import SCHEMAS

    assert columns(rf"{table}\.parquet`") == list(SCHEMAS[table])


def test_index_columns_are_those_of_the_store() -> None:
    from harness.activations.store import INDEX_SCHEMA

    assert columns("activations/`") == list(INDEX_SCHEMA)


def test_verbs_and_shipped_configurations_exist() -> None:
    from harness.cli.main import app

    verbs = set(
        re.findall(r"\bwolfscope ([a-z][a-z-]*) ", "\n".join(re.findall(r"^    .*$", README, re.MULTILINE)))
    )
    assert "run" in verbs
    assert verbs <= set(app)
    for name in re.findall(r"harness/config/examples/[\w-]+\.toml", README):
        assert (ROOT / name).is_file(), name


def test_modules_of_the_map_exist() -> None:
    for package in ("games", "agents", "harness", "analysis"):
        row = re.search(rf"^\| `{package}/` \|.*$", README, re.MULTILINE)
        assert row is not None
        for name in re.findall(r"`([\w/]+)`", row[0].partition("| `")[2].partition("|")[2]):
            place = ROOT / package / name
            assert place.is_dir() or place.with_suffix(".py").is_file(), f"{package}/{name}"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target


def test_first_snippet_runs(ray_cluster: None, run_path: Path) -> None:
    from harness.config.files import load_config
    from harness.play.tournament import run_tournament

    run_tournament(
        load_config(ROOT / "harness/config/examples/first-tournament.toml", ["run.games=6"]), run_path
    )
    code = blocks("python")[0].replace("runs/first-tournament", str(run_path))
    assert importlib.util.find_spec("harness") is not None
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["games"].height == 6
    assert names["won"]["len"].sum() == 6 * 7
