"""The named rule presets, as differences from the defaults of `WerewolfConfig`."""

from __future__ import annotations

import difflib
import re
from typing import Any

from games.base import ConfigError
from games.werewolf.config import WerewolfConfig, build

Settings = dict[str, Any]

CLASSIC_7: Settings = {
    "roles": {"werewolf": 2, "seer": 1, "doctor": 1, "villager": 3},
    "doctor_repeats": False,
    "ballot_abstain": True,
    "reveal_night": "role",
    "reveal_day": "role",
}
ARENA_8: Settings = {
    "roles": {"werewolf": 2, "seer": 1, "doctor": 1, "villager": 4},
    "kill_rule": "one_random",
    "discussion": "bidding",
    "ballot_public": False,
    "ballot_rule": "majority",
}
KAGGLE_8: Settings = {
    "roles": {"werewolf": 2, "seer": 1, "doctor": 1, "villager": 4},
    "seer_repeats": True,
    "doctor_self": False,
    "doctor_repeats": False,
    "speech_rounds": 2,
    "ballot": "sequential",
    "ballot_abstain": True,
    "tie": "random",
    "reveal_night": "role",
    "reveal_day": "role",
}
AIWOLF: Settings = {
    "first_night": "inspect_only",
    "night_order": (("inspect", "protect"), ("night_kill",)),
    "kill_targets": "anyone",
    "seer_learns": "species",
    "doctor_self": False,
    "discussion": "free",
    "ballot_self": True,
    "revotes": 1,
    "tie": "random",
}
PRESETS: dict[str, Settings] = {
    "classic-7": CLASSIC_7,
    "arena-8": ARENA_8,
    "jester-8": ARENA_8 | {"roles": {"werewolf": 2, "seer": 1, "doctor": 1, "villager": 3, "jester": 1}},
    "kaggle-8": KAGGLE_8,
    "kaggle-7": KAGGLE_8
    | {"roles": {"werewolf": 2, "seer": 1, "doctor": 1, "villager": 3}, "speech_rounds": 1},
    "aiwolf-5": AIWOLF | {"roles": {"werewolf": 1, "possessed": 1, "seer": 1, "villager": 2}},
    "aiwolf-13": AIWOLF
    | {
        "roles": {"werewolf": 3, "possessed": 1, "seer": 1, "doctor": 1, "medium": 1, "villager": 6},
        "chat_by_day": ("before_ballot", "after_ballot"),
    },
    "foaster-6": {
        "roles": {"werewolf": 2, "seer": 1, "witch": 1, "villager": 2},
        "night_order": (("inspect",), ("chat",), ("night_kill",), ("witch",)),
        "chat_rounds": 4,
        "chat_until_agree": True,
        "seer_learns": "species",
        "speech_rounds": 2,
        "ballot": "sequential",
        "mayor": True,
        "tie": "random",
        "reveal_night": "role",
        "reveal_day": "role",
    },
    "xu-7": {
        "roles": {"werewolf": 2, "seer": 1, "witch": 1, "doctor": 1, "villager": 2},
        "night_order": (("night_kill",), ("protect",), ("witch",), ("inspect",)),
        "doctor_repeats": False,
        "ballot": "sequential",
        "ballot_abstain": True,
        "last_words": "exiled",
        "reveal_night": "role",
        "reveal_day": "role",
        "edge_kill": True,
    },
    "mini-mafia-4": {  # Costa and Vicente 2025, arXiv 2509.23023
        "roles": {"werewolf": 1, "seer": 1, "villager": 2},
        "first_night": "fixed",
        "discussion": "random_order",
        "speech_rounds": 2,
        "tie": "random",
        "reveal_night": "role",
        "max_days": 1,
    },
    "probe-6": {
        "roles": {"werewolf": 2, "villager": 4},
        "speech_rounds": 2,
        "tie": "random",
        "reveal_night": "role",
        "reveal_day": "role",
    },
}
NAMES = (*PRESETS, *(f"secretmafia-{n}" for n in range(6, 16)))
"""Every preset that can be asked for by name."""


def secretmafia(n: int) -> Settings:
    """TextArena's SecretMafia for `n` seats."""
    wolves = max(1, round(n / 4))
    return {
        "roles": {"werewolf": wolves, "seer": 1, "doctor": 1, "villager": n - wolves - 2},
        "night_order": (("chat",), ("night_kill", "inspect", "protect")),
        "seer_learns": "faction",
        "seer_repeats": True,
        "doctor_self": False,
        "discussion": "random_order",
        "speech_rounds": 3,
        "ballot": "sequential",
        "tie": "random",
    }


def configure(preset: str = "classic-7", **settings: Any) -> WerewolfConfig:
    """The preset's configuration with `settings` changed. Raises ConfigError.

    `preset="custom"` starts from the defaults and needs `roles`.
    """
    if preset == "custom":
        return build(preset=preset, **settings)
    if (match := re.fullmatch(r"secretmafia-(\d+)", preset)) and preset in NAMES:
        base = secretmafia(int(match[1]))
    elif preset in PRESETS:
        base = PRESETS[preset]
    else:
        near = difflib.get_close_matches(preset, NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"no preset is called {preset!r}; {hint}there are: {', '.join(NAMES)}")
    return build(**{"preset": preset} | base | settings)
