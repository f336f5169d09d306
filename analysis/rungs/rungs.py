"""The ladder: which claims about one target hold, rung by rung, each by its own test with its interval over games.

1 present          something of it can be read: above the permutation null and an untrained model
2 beyond surface   it adds to all confounds together (nested increment), within a decision where that can be asked
3 inferred         it adds what an ideal reader's inference adds, and errs where that errs
4 used             the player's own choices go with it, beyond what is public, and change with it where an experiment
                   changed it (the causal table)
5 more than public it adds to an ideal reader of all that the viewer was shown: an alarm, not a success

The ladder is climbed from below: a rung counts towards `reached` when those under it hold. Rung 5 does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import polars as pl

from analysis.rungs.inference import PARTED
from analysis.rungs.use import EXPLAINED
from analysis.stats.bootstrap import Interval, holm

Verdict = Literal["yes", "no", "unclear", "not tested"]
Causal = Literal["", "used", "not beyond controls", "underpowered"]
"""What experiments beside the runs say; empty where there was none."""

NAMES = {1: "present", 2: "beyond surface", 3: "inferred", 4: "used", 5: "more than public"}
LEVEL = 0.05
MARGIN = 0.02
"""Smallest nested increment in AUROC that matters here: `no` needs an interval that excludes it, else `unclear`."""
PRESENT_MARGIN = 0.05
"""The same for an AUROC above one half."""
R2_MARGIN = 0.05
"""The same for a partial R2."""
USE_MARGIN = 0.01
"""The same for what a belief adds to a vote's log-likelihood, in nats a ballot."""
SAME = 0.03
"""Two AUROCs are called the same where the interval of their difference lies within plus and minus this."""
EQUIVALENT = 0.02
"""The probe is as good as the ideal reader where it falls short by less than this in AUROC, interval and all."""

NONE = Interval(float("nan"), float("nan"), float("nan"), float("nan"))


@dataclass
class Evidence:
    """The numbers behind the rungs of one target; what could not be computed is `NONE`, with the reason."""

    n_rows: int
    n_games: int
    within_decisions: bool
    """Whether several rows share a decision, so that they can be compared within it."""
    read: Interval = NONE
    """AUROC of the probe, within a decision where that can be asked."""
    p_null: float = float("nan")
    """Of the best layer, against permuted roles."""
    untrained: Interval = NONE
    """AUROC of the probe minus that of the untrained model."""
    pooled: Interval = NONE
    """Nested increment over all confounds together, rows of one fold compared."""
    within: Interval = NONE
    """The same, rows of one decision compared."""
    surface: Interval = NONE
    """AUROC of all confounds together, compared as `read`."""
    together: Interval = NONE
    """AUROC of confounds and probe together."""
    ceiling_name: str = ""
    ceiling_exact: bool = False
    """Whether the ideal reader knows all players' policies, so that nothing public can exceed it."""
    no_ceiling: str = ""
    """Why there is no ideal reader."""
    ceiling: Interval = NONE
    """AUROC of the ideal reader's posterior, compared as `read`."""
    reachable: Interval = NONE
    """What the posterior adds to all confounds together, in AUROC."""
    share: Interval = NONE
    """The probe's gain as a share of the posterior's."""
    short: Interval = NONE
    """What confounds and probe together fall short of confounds and posterior together, in AUROC."""
    r2: Interval = NONE
    """Partial R2 of the posterior's log-odds by the activations, given the surface."""
    r2_truth: Interval = NONE
    """The same, given the truth besides."""
    parted: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PARTED))
    explained: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=EXPLAINED))
    no_use: str = ""
    """Why choices were not compared with the beliefs."""
    causal: Causal = ""
    """Whether choices changed where an experiment changed the belief."""
    choices: tuple[str, str] = ("ballot", "ballots")
    """What the game calls such a choice, and several of them."""
    beyond: Interval = NONE
    """Nested increment over confounds and the ideal reader together."""
    stated: Interval = NONE
    """AUROC of what the model states, compared as `read`."""
    said: Interval = NONE
    """That minus AUROC of the probe."""


@dataclass(frozen=True)
class Rung:
    """One rung's outcome."""

    number: int
    verdict: Verdict
    measure: str
    """What `value` is, in words."""
    value: Interval
    p: float
    """The test's, adjusted over targets once `settle` was called."""
    n_rows: int
    n_games: int
    why: str = ""
    """Why it was not tested."""
    behaviour: Verdict = "not tested"
    """Of rung 4: the verdict by behaviour alone."""
    causal: Causal = ""
    """Of rung 4: what experiments say."""
    choices: str = "ballots"
    """What the game calls the choices of rung 4."""
    exact: bool = True
    """Of rung 5: whether the ideal reader knows all players' policies, so that exceeding it gives alarm."""

    @property
    def name(self) -> str:
        """The rung in words."""
        return NAMES[self.number]


def decide(i: Interval, p: float, margin: float) -> Verdict:
    """`yes`: the interval lies above 0 and p below `LEVEL`. `no`: not so, and `margin` is excluded. Else `unclear`."""
    if not np.isfinite(i.low) or not np.isfinite(i.high):
        return "unclear"
    if i.low > 0 and p < LEVEL:
        return "yes"
    return "no" if i.high < margin else "unclear"


def rungs_of(e: Evidence, adjusted: dict[int, float] | None = None) -> tuple[Rung, ...]:
    """The five rungs. `adjusted`: p-values by rung, corrected over targets; by default as they are."""
    p = p_values(e) | (adjusted or {})
    unit = "within a decision" if e.within_decisions else "over rows"

    def rung(number: int, verdict: Verdict, measure: str, value: Interval, why: str = "") -> Rung:
        tested = p.get(number, float("nan"))
        return Rung(number, verdict, measure, value, tested, e.n_rows, e.n_games, why, choices=e.choices[1])

    found = [rung(1, _present(e, p[1]), f"AUROC {unit}", e.read)]
    main = increment(e)
    found.append(rung(2, decide(main, p[2], MARGIN), f"AUROC added to all confounds, {unit}", main))
    if e.no_ceiling:
        found.append(rung(3, "not tested", "share of what an ideal reader adds", NONE, e.no_ceiling))
        beyond = rung(5, "not tested", "AUROC added to an ideal reader", NONE, e.no_ceiling)
    else:
        found.append(rung(3, _inferred(e, p[3]), "share of what an ideal reader adds", e.share))
        beyond = rung(5, decide(e.beyond, p[5], MARGIN), "AUROC added to an ideal reader", e.beyond)
        beyond = replace(beyond, exact=e.ceiling_exact)
    measure = f"nats a {e.choices[0]} beyond what is public"
    if e.no_use:
        found.append(rung(4, "not tested", measure, NONE, e.no_use))
    else:
        gain = used(e)
        behaviour = decide(gain, p[4], USE_MARGIN)
        fourth = rung(4, with_cause(behaviour, e.causal), measure, gain)
        found.append(replace(fourth, behaviour=behaviour, causal=e.causal))
    return (*found, beyond)


def with_cause(behaviour: Verdict, causal: Causal) -> Verdict:
    """Rung 4 from behaviour and experiments: choices that correlate with a belief but do not change with it do not
    count as using it; choices that change with it count, unless behaviour showed no correlation."""
    if causal == "used":
        return "unclear" if behaviour == "no" else "yes"
    return "unclear" if causal == "not beyond controls" and behaviour == "yes" else behaviour


def caused(verdicts: Sequence[str]) -> Causal:
    """The joint verdict of several tested arms: one that is `used` suffices; the opposite verdict needs all of them."""
    order: tuple[Causal, ...] = ("used", "underpowered", "not beyond controls")
    return next((word for word in order if word in verdicts), "")


def reached(rungs: Sequence[Rung]) -> int:
    """The highest of rungs 1 to 4 that holds with all below it; 0 where none does.

    An untested rung stops the climb as a failed one does: what was not tested is not claimed.
    """
    top = 0
    for rung in sorted((r for r in rungs if r.number <= 4), key=lambda r: r.number):
        if rung.verdict != "yes":
            break
        top = rung.number
    return top


def alarmed(rungs: Sequence[Rung]) -> bool:
    """Whether rung 5 holds against a reader that knows all players' policies, and rung 1 holds."""
    by_number = {rung.number: rung for rung in rungs}
    return by_number[5].exact and by_number[5].verdict == by_number[1].verdict == "yes"


def increment(e: Evidence) -> Interval:
    """The nested increment that rung 2 is about."""
    return e.within if e.within_decisions else e.pooled


def used(e: Evidence) -> Interval:
    """What the represented belief adds to the surface in explaining votes; `NONE` where no votes were compared with
    it."""
    row = e.explained.filter(belief="represented")
    return (
        NONE
        if row.is_empty()
        else Interval(row["beyond_surface"][0], row["low"][0], row["high"][0], row["p"][0])
    )


def p_values(e: Evidence) -> dict[int, float]:
    """The p of every rung's test, before any correction; NaN where it was not tested."""
    return {1: e.p_null, 2: increment(e).p, 3: e.r2_truth.p, 4: used(e).p, 5: e.beyond.p}


def settle(evidence: Sequence[Evidence]) -> list[dict[int, float]]:
    """Holm's correction of each rung's p over the targets."""
    raw = [p_values(e) for e in evidence]
    adjusted: list[dict[int, float]] = [{} for _ in raw]
    for number in NAMES:
        for mine, p in zip(adjusted, holm([p[number] for p in raw])):
            mine[number] = float(p)
    return adjusted


def said_against_represented(e: Evidence) -> str:
    """The model's stated belief compared with the probe's, in words; empty where nothing was asked."""
    if not np.isfinite(e.said.low):
        return ""
    if e.said.low > -SAME and e.said.high < SAME:
        return "said = represented"
    if e.said.high < 0:
        return "latent more than said"
    if e.said.low > 0:
        return "said more than represented"
    return "not told apart"


def _present(e: Evidence, p: float) -> Verdict:
    if p < LEVEL:
        if not np.isfinite(e.untrained.low) or e.untrained.low > 0:
            return "yes"
        return "no" if e.untrained.high < MARGIN else "unclear"
    return "no" if e.read.high < 0.5 + PRESENT_MARGIN else "unclear"


def _inferred(e: Evidence, p: float) -> Verdict:
    if not e.reachable.low > 0:
        return "unclear"  # the ideal reader adds nothing to the surface, so the cases cannot be distinguished
    if e.share.low > 0 and e.r2_truth.low > 0 and p < LEVEL:
        return "yes"
    return "no" if e.r2_truth.high < R2_MARGIN or e.share.high < 0.1 else "unclear"
