"""Checks before any question is asked: too few games, an arm that changes nothing, words that a model lacks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.stats.power import standard_errors
from harness.experiment.arms import WORDED, Arm
from harness.experiment.design import Design, ExperimentError
from harness.experiment.moments import Moment
from harness.experiment.scenes import Scenes, positions

LOOKED = 40
"""Moments searched for a place of each arm."""


def games_needed(design: Design) -> int:
    """Games that the smallest effect of interest needs: a two-sided test at 5% over the family, with the design's
    power.

    n = ((z(1 - .025 / m) + z(power)) * spread / smallest)^2 for a family of m arms, games as the units.
    """
    test = design.test
    return math.ceil((standard_errors(test.power, len(design.family)) * test.spread / test.smallest) ** 2)


def check_games(design: Design, moments: Sequence[Moment], force: bool) -> list[str]:
    """Remarks for the page. Raises ExperimentError where there are fewer games than needed, unless forced."""
    needed, there = games_needed(design), len({(m.run, m.game_id) for m in moments})
    if there >= needed:
        return []
    if not force:
        raise ExperimentError(
            f"the moments come from {there:,} games; to find an effect of {design.test.smallest:g} on "
            f"{design.test.outcome} with power {design.test.power:.0%} in a family of {len(design.family)} takes about "
            f"{needed:,}: name more runs, raise moments.n or test.smallest, or --force (the page will say so)"
        )
    forced = (
        f"forced: {there:,} games, where the smallest effect of interest ({design.test.smallest:g} on "
        f"{design.test.outcome}) was expected to need about {needed:,}; an effect is absent only where the table says "
        "that it could have been found"
    )
    return [forced]


def check_changes(
    arms: Sequence[Arm], moments: Sequence[Moment], scenes: Sequence[Scenes], vectors: np.ndarray
) -> None:
    """Raises ExperimentError for an arm that changes nothing or has no place at any moment, ConfigurationError for
    words that the model's tokenizer lacks."""
    step = max(1, len(moments) // LOOKED)
    named = {arm.id for arm in arms if arm.kind == "player"}
    for arm in arms:
        if arm.control and arm.id not in named:
            continue
        if arm.kind in ("direction", "latents", "patch"):
            _check_place(arm, moments, scenes)
        elif arm.kind in WORDED and arm.do != "resample":
            changed = 0
            for m in moments[::step]:
                scene = scenes[m.run].scene(m)
                before, after = scene.options(arms[0]), scene.options(arm)
                changed += after is not None and before is not None and after.ids != before.ids
            if not changed:
                raise ExperimentError(
                    f"arm {arm.of} changes nothing: in none of {len(moments[::step])} moments looked at does the "
                    f"prompt differ ({arm.kind} {arm.do or arm.lexicon or arm.settings}); change the arm or the query"
                )


def _check_place(arm: Arm, moments: Sequence[Moment], scenes: Sequence[Scenes]) -> None:
    if arm.kind == "patch" and not any(m.donor is not None and m.donor.gap for m in moments):
        raise ExperimentError(
            f"arm {arm.of} has no donor: at no moment does another model seat, asked together with the viewer, hold "
            "another belief about the subject; seat more models, or ask beliefs ([beliefs] before = [...])"
        )
    if arm.scale == 0:
        raise ExperimentError(f"arm {arm.of} changes nothing: its strength is 0")
    step = max(1, len(moments) // LOOKED)
    base = Arm("unchanged", "unchanged", "", "none")
    for m in moments[::step]:
        prompted = scenes[m.run].scene(m).options(base)
        if prompted is not None and positions(prompted, m.subject, arm.at or "option") is not None:
            return
    raise ExperimentError(
        f"arm {arm.of} changes nothing: no prompt of the moments has the place {arm.at!r}; name another `at`"
    )
