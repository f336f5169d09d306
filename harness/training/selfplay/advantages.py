"""Advantages of decisions over the expected outcome of their situation: baselines by role, and by deal.

The return of a game is 1 for the side that won, else 0. The baseline is a running mean for each situation (a role,
and how many live on each side), so seats of different roles are never averaged together; for a deal played several
times, its other games count as well. Both are read before they include this game, and neither depends on its
decisions, so they reduce the gradient's variance without bias.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np

from harness.training.selfplay.contexts import LearnerContext
from harness.training.selfplay.settings import ObjectiveSection


class Baselines(msgspec.Struct):
    """Mean return of each situation, under each kind of opponents."""

    memory: float
    seen: dict[str, int] = {}
    mean: dict[str, float] = {}

    def read(self, opponents: str, situation: str, role: str) -> float:
        """The baseline of a situation; for an unseen one that of the role under these opponents, else a half."""
        for key in (f"{opponents}: {situation}", f"{opponents}: {role}", role):
            if key in self.mean:
                return self.mean[key]
        return 0.5

    def update(self, contexts: Sequence[LearnerContext]) -> None:
        """Update the means with the outcomes of games."""
        for c in contexts:
            for key in (c.role, f"{c.opponents}: {c.role}", *(f"{c.opponents}: {s}" for s in c.passed)):
                n = self.seen.get(key, 0) + 1
                self.seen[key] = n
                old = self.mean.get(key, 0.0)
                self.mean[key] = old + (c.won - old) * max(1.0 / n, 1.0 - self.memory)


def credit(contexts: Sequence[LearnerContext], baselines: Baselines, objective: ObjectiveSection) -> None:
    """Set every own decision's `advantage`; `baselines` are read, then updated. In place."""
    residuals: dict[tuple[int, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for c in contexts:
        first = baselines.read(c.opponents, c.passed[0], c.role)
        residuals[c.deal, c.role][c.game].append(c.won - first)
    for c in contexts:
        others = [
            float(np.mean(values)) for game, values in residuals[c.deal, c.role].items() if game != c.game
        ]
        shift = sum(others) / (len(others) + objective.group_prior) if others else 0.0
        values = {s: baselines.read(c.opponents, s, c.role) + shift for s in c.passed}
        later = advantages([values[s] for s in c.passed], float(c.won), objective.trace)
        known = dict(zip(c.passed, later, strict=True))
        for own in c.own:
            own.advantage = known[own.situation]
    baselines.update(contexts)


def advantages(values: Sequence[float], outcome: float, trace: float) -> list[float]:
    """The advantage at each situation passed: the sum of later value changes, each discounted by a further factor
    `trace`. At `trace` 1: outcome minus value."""
    out, ahead = list[float](), 0.0
    following = [*values[1:], outcome]
    for value, after in zip(reversed(values), reversed(following), strict=True):
        ahead = after - value + trace * ahead
        out.append(ahead)
    return out[::-1]
