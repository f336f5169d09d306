"""The prior over scripted players' characters that an observer of a run should hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.werewolf.observer import EVEN

Characters = Mapping[Any, float]
"""Character (a scripted policy's name) -> share of the seats."""


def characters_of(run: Any) -> dict[int, Characters]:
    """Cell -> characters of a run's seats, as its rosters dealt them.

    A seat whose player follows no scripted policy (a model, for example) counts for all characters equally.
    """
    agents = run.manifest.config.get("agents", {})
    seats = run.seats.join(run.games.select("game_id", "cell"), on="game_id", maintain_order="left")
    counts = (
        seats.group_by("cell", "agent", maintain_order=True).len().sort("cell", "agent", maintain_order=True)
    )
    found: dict[int, dict[str, float]] = {}
    for cell, agent, n in counts.collect().iter_rows():
        section = agents.get(agent) or {}
        policy = section.get("policy") if section.get("kind") == "scripted" else None
        mix = found.setdefault(int(cell), {})
        for name in (policy,) if policy in EVEN else EVEN:
            mix[str(name)] = mix.get(str(name), 0.0) + n / (1 if policy in EVEN else len(EVEN))
    return {cell: {name: n / sum(mix.values()) for name, n in mix.items()} for cell, mix in found.items()}


def in_words(mixes: Mapping[Any, Characters | None]) -> str:
    """The prior's name for a table."""
    different = {tuple(sorted(mix.items())) for mix in mixes.values() if mix}
    if not different or not all(mixes.values()):
        return "all characters alike"
    if len(different) > 1:
        return f"the roster's characters, of each of {len(different)} rosters"
    (mix,) = different
    return "the roster's characters: " + ", ".join(f"{name} {share:.0%}" for name, share in mix)
