"""docs/tournaments.md says what is so: its commands exist, its settings are valid."""

import re
import tomllib
from pathlib import Path

from harness.config.files import parse_config

DOC = (Path(__file__).parents[2] / "docs" / "tournaments.md").read_text(encoding="utf-8")


def test_every_command_and_option_of_the_page_exists() -> None:
    from harness.cli.main import app

    lines = re.findall(r"^    wolfscope (.*)$", DOC, re.MULTILINE)
    verbs = {line.split()[0] for line in lines}
    assert verbs == {"run", "check", "export", "merge", "import", "repair", "ratings", "behaviour"}
    for line in lines:
        known = {
            name
            for argument in app[line.split()[0]].assemble_argument_collection()
            for name in argument.names
        }
        assert set(re.findall(r"--[a-z-]+", line.partition("#")[0])) <= known, line


def test_budgets_and_prices_of_the_page_are_valid() -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)
    plain = tomllib.loads(toml)
    plain["backends"]["small"]["kind"] = "transformers"
    agents = {"small": {"kind": "llm", "backend": "small"}}
    config = parse_config({**plain, "agents": agents, "roster": {"mix": {"small": 7}}})
    assert config.budget.run is not None and config.budget.run.tokens == 50_000_000
