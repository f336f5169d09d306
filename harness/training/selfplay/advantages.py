"""How much better a decision turned out than what its situation promised: baselines by role, and by deal.

A game is worth 1 to the side that won it, else 0. What a game is expected to be worth is a running mean for each
situation (a role, and how many live on each side), so seats of different roles are never averaged together; a deal
that was played several times also counts by its other games. Both are read before this game enters them, and neither
depends on what was decided, so they take chance out of the gradient and no truth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np

from harness.training.selfplay.contexts import LearnerContext
from harness.training.selfplay.settings import ObjectiveSection


class Baselines(msgspec.Struct):
    """Mean worth of each situation, under each kind of opponents."""

    memory: float
    seen: dict[str, int] = {}
    mean: dict[str, float] = {}

    def read(self, opponents: str, situation: str, role: str) -> float:
        """What a situation is worth; one never seen is worth what the role is under these opponents, else a half."""
        for key in (f"{opponents}: {situation}", f"{opponents}: {role}", role):
            if key in self.mean:
                return self.mean[key]
        return 0.5

    def update(self, contexts: Sequence[LearnerContext]) -> None:
        """Take in how games ended."""
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
    """The advantage of what was done in each situation passed: the changes from it on, each later one counted `trace`
    times less. At `trace` 1, outcome less value."""
    out, ahead = list[float](), 0.0
    following = [*values[1:], outcome]
    for value, after in zip(reversed(values), reversed(following), strict=True):
        ahead = after - value + trace * ahead
        out.append(ahead)
    return out[::-1]
