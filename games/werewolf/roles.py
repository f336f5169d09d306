"""The one table of roles: who wins with whom, who knows whom, who acts at night."""

from __future__ import annotations

from typing import Final, Literal

Role = Literal[
    "villager", "werewolf", "seer", "doctor", "witch", "hunter", "medium", "possessed", "jester", "mason"
]


FACTION = {"werewolf": "werewolf", "possessed": "werewolf", "jester": "jester"}
"""The faction of each role that is not of the village."""


def faction_of(role: str) -> str:
    """The faction that a role wins with."""
    return FACTION.get(role, "village")


def species_of(role: str) -> str:
    """What a species inspection shows: only werewolves are werewolves."""
    return "werewolf" if role == "werewolf" else "human"


ACQUAINTED: Final = ("werewolf", "mason")
"""Roles whose holders know each other."""


ROLE_TERMS = (
    "villager werewolf seer doctor witch hunter medium possessed jester mason village human"
).split()
"""The terms that can stand in a `{role}` slot."""


ACTOR: Final = {"inspect": "seer", "protect": "doctor", "heal": "witch", "poison": "witch"}
"""The role that each act of one seat alone belongs to."""


NIGHT_ACTS = {
    "night_kill": "werewolf",
    "chat": "werewolf",
    "inspect": "seer",
    "protect": "doctor",
    "witch": "witch",
}
"""The role that has each act of the night."""
