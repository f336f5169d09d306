"""The configuration as a JSON schema, which editors check TOML against."""

from __future__ import annotations

import json
from typing import Any

from games import DEFAULT, load_game
from harness.config.sections import Config
from harness.reference.catalogue import configs, lexicons, policies, presets
from harness.reference.fields import attribute_docs


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a configuration file, the keys of Werewolf's rules among those of `[game]`."""
    made = Config.model_json_schema()
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wolfscope configuration",
        **made,
    }
    definitions = made["$defs"]
    default = load_game(DEFAULT).configure()
    rules = type(default).model_json_schema()
    definitions |= rules.pop("$defs", {})
    game = definitions["GameSection"]
    game["properties"] |= rules["properties"]
    game["properties"]["preset"] |= {"default": default.preset, "examples": [one.name for one in presets()]}
    game["properties"]["lexicon"] |= {"examples": [one.name for one in lexicons()]}
    definitions["AgentSection"]["properties"]["policy"]["examples"] = [one.name for one in policies()]
    made["examples"] = [{"run": {"name": one.name}} for one in configs()]
    for name, definition in definitions.items():
        _describe(name, definition)
    return made


def _describe(name: str, definition: dict[str, Any]) -> None:
    """Put the docstring under each field beside it."""
    from harness.config import sections

    cls = getattr(sections, name, None)
    if cls is None:
        return
    for key, doc in attribute_docs(cls).items():
        if key in definition.get("properties", {}):
            definition["properties"][key]["description"] = doc


def schema_text() -> str:
    """The file `docs/settings.schema.json`."""
    return json.dumps(schema(), indent=1, ensure_ascii=False, sort_keys=False) + "\n"
