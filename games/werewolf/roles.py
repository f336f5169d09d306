"""The one table of roles: whom each wins with, whom it knows, when it acts, and the terms that it adds.

A role without an act of its own is one row of `CARDS`, at its end: numbers of roles (`games.werewolf.arrays`) and the
vocabulary of shipped models are in the order of the rows. Its name is a term of every lexicon. A role that acts needs,
besides the row, what the act does (`games.werewolf.night`, `day` or `leaving`).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from pydantic import AfterValidator


class RoleCard(msgspec.Struct, frozen=True):
    """One role."""

    name: str
    """Its key, which is its word under the lexicon `classic`."""
    faction: str = "village"
    """The side that it wins with; one that wins alone has a side of its own."""
    species: str = "human"
    """What an inspection of its species shows."""
    acquainted: bool = False
    """Whether those who have it know each other."""
    waves: tuple[str, ...] = ()
    """Its acts in `night_order`; the first must stand there where the role is dealt."""
    asked: tuple[str, ...] = ()
    """The kinds of decisions by night that each seat with this role makes for itself."""
    saves: str = ""
    """The term of the act that keeps the werewolves' target in the game; empty where it has none."""
    own_act: str = ""
    """Any further effect, as a sentence of the rules in terms of the lexicon."""
    terms: tuple[str, ...] = ()
    """Terms besides its name that only a game with this role shows."""


CARDS: Final = (
    RoleCard("villager"),
    RoleCard(
        "werewolf", "werewolf", "werewolf", acquainted=True, waves=("night_kill", "chat"), terms=("kills", "target")
    ),
    RoleCard("seer", waves=("inspect",), asked=("inspect",), terms=("inspects",)),
    RoleCard("doctor", waves=("protect",), asked=("protect",), saves="protects", terms=("protects",)),
    RoleCard("witch", waves=("witch",), asked=("heal", "poison"), saves="heals", terms=("heals", "poisons")),
    RoleCard(
        "hunter",
        own_act="on going out of the game each {hunter} {shoots} one player in the game, who goes too, or nobody; "
        "everybody sees it.",
        terms=("shoots",),
    ),
    RoleCard(
        "medium",
        own_act="each {medium} in the game is told the kind ({werewolf} or {human}) of every player who is {exiled}.",
    ),
    RoleCard("possessed", "werewolf"),
    RoleCard("jester", "jester"),
    RoleCard("mason", acquainted=True),
)  # fmt: skip
"""All of them; the order is that of numbers, and new ones come last."""

ROLES: Final = {card.name: card for card in CARDS}


def check_role(name: str) -> str:
    """The name of a role. Raises ValueError, naming the known ones."""
    if name not in ROLES:
        raise ValueError(f"no role is called {name!r}; there are: {', '.join(ROLES)}")
    return name


Role = Annotated[str, AfterValidator(check_role)]
"""The name of a role in a configuration."""

FACTION: Final = {card.name: card.faction for card in CARDS}
SPECIES: Final = {card.name: card.species for card in CARDS}


def faction_of(role: str) -> str:
    """The faction that a role wins with."""
    return FACTION.get(role, "village")


def species_of(role: str) -> str:
    """What a species inspection shows: only werewolves are werewolves."""
    return SPECIES.get(role, "human")


ACQUAINTED: Final = tuple(card.name for card in CARDS if card.acquainted)
"""Roles whose holders know each other."""

ROLE_TERMS: Final = tuple(dict.fromkeys([*ROLES, *FACTION.values(), *SPECIES.values()]))
"""The terms that can stand in a `{role}` slot: roles, factions, species."""

ACTOR: Final = {kind: card.name for card in CARDS for kind in card.asked}
"""The role that each act of one seat alone belongs to."""

NIGHT_ACTS: Final = {act: card.name for card in CARDS for act in card.waves}
"""The role that has each act of the night."""
