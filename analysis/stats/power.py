"""What a test could have found: the smallest true effect that a two-sided test at 5% finds with a given power."""

from __future__ import annotations

from statistics import NormalDist

POWER = 0.8
"""An effect of that size would be found four times in five."""
_NORMAL = NormalDist()


def standard_errors(power: float = POWER, family: int = 1) -> float:
    """That effect in standard errors, the test one of a `family` corrected for together (Bonferroni):
    z(1 - .025 / family) + z(power)."""
    return _NORMAL.inv_cdf(1 - 0.025 / max(1, family)) + _NORMAL.inv_cdf(power)


def findable(low: float, high: float) -> float:
    """That effect from a 95% interval of the estimate, at a power of `POWER`."""
    return standard_errors() * (high - low) / (2 * _NORMAL.inv_cdf(0.975))
