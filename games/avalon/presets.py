"""The named rule presets, as differences from the defaults of `AvalonConfig`."""

from __future__ import annotations

import difflib
from typing import Any

from games.avalon.config import AvalonConfig, build
from games.base import ConfigError

Settings = dict[str, Any]

PRESETS: dict[str, Settings] = {
    "resistance-5": {"roles": {"servant": 3, "minion": 2}},
    "avalon-5": {"roles": {"merlin": 1, "servant": 2, "assassin": 1, "minion": 1}},
    "avalon-6": {"roles": {"merlin": 1, "servant": 3, "assassin": 1, "minion": 1}},
    "avalon-7": {
        "roles": {"merlin": 1, "percival": 1, "servant": 2, "assassin": 1, "morgana": 1, "minion": 1}
    },
    "avalon-10": {
        "roles": {
            "merlin": 1,
            "percival": 1,
            "servant": 4,
            "assassin": 1,
            "morgana": 1,
            "mordred": 1,
            "oberon": 1,
        }
    },
}
NAMES = tuple(PRESETS)
"""Every preset that can be asked for by name."""


def configure(preset: str = "avalon-5", **settings: Any) -> AvalonConfig:
    """The preset's configuration with `settings` changed. Raises ConfigError.

    `preset="custom"` starts from the defaults and needs `roles`.
    """
    if preset != "custom" and preset not in PRESETS:
        near = difflib.get_close_matches(preset, NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"no preset is called {preset!r}; {hint}there are: {', '.join(NAMES)}")
    return build(**{"preset": preset} | PRESETS.get(preset, {}) | settings)
