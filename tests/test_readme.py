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
MODELS = (ROOT / "docs/models.md").read_text()
RUN_FOLDER = (ROOT / "docs/run-folder.md").read_text()


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


TABLES = [*blocks("toml"), *blocks("toml", MODELS)]


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, table by table; a roster replaces the other."""
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict) and key != "roster"
        out[key] = merged(below[key], value) if both else value
    return out


def columns(table: str) -> list[str]:
    row = re.search(rf"^\| `{table}.*$", RUN_FOLDER, re.MULTILINE)
    assert row is not None, table
    found = re.search(r"`(game_id, [^`]*)`", row[0])
    assert found is not None, table
    return found[1].split(", ")


@pytest.mark.parametrize("number", range(len(TABLES)))
def test_configurations_are_valid(number: int) -> None:
    config: dict[str, Any] = {}
    for table in TABLES[: number + 1]:  # each goes on from those before it
        config = merged(config, tomllib.loads(table))
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
    shipped = {path.stem for path in (ROOT / "harness/config/examples").glob("*.toml")}
    named = set(re.findall(r"wolfscope run ([\w-]+)(?=[ `\n])", README + MODELS)) - {"my"}
    assert {"first-tournament", "vllm-8b"} <= named <= shipped


def test_modules_of_the_map_exist() -> None:
    for package in ("games", "agents", "harness", "analysis"):
        row = re.search(rf"^\| `{package}/` \|.*$", README, re.MULTILINE)
        assert row is not None
        for name in re.findall(r"`([\w/]+)`", row[0].partition("| `")[2].partition("|")[2]):
            place = ROOT / package / name
            assert place.is_dir() or place.with_suffix(".py").is_file(), f"{package}/{name}"


PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "agents/models").glob("*/README.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len(README.split()) <= 900


def test_every_shipped_model_has_its_card() -> None:
    for folder in (ROOT / "agents/models").glob("*/"):
        if (folder / "config.json").is_file():
            card = (folder / "README.md").read_text()
            assert card.startswith("---\nlicense:")


def test_first_snippet_runs(run_path: Path) -> None:
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
