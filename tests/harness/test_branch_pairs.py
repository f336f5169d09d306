"""Effects of a branch with few pairs: a mean of one pair has no interval and is never marked."""

from __future__ import annotations

from harness.branch.effects import FEWEST, Effects, _effect
from harness.branch.effects_text import effects_table


def values(n: int) -> dict[str, dict[int, float]]:
    return {"changed": {k: 0.5 + k / 100 for k in range(n)}, "unchanged": dict.fromkeys(range(n), 0.3)}


def table(n: int) -> str:
    effect = _effect("belief", "Ada is a werewolf", values(n))
    return effects_table(Effects("says so", "g", 3, n, 0, None, {}, (effect,)))


def test_a_mean_of_few_pairs_has_no_interval_and_no_mark() -> None:
    for n in range(1, FEWEST):
        effect = _effect("belief", "Ada is a werewolf", values(n))
        assert effect.low < 0 < effect.high
        assert f"({n} pairs: no interval)" in table(n) and "*\n" not in table(n).partition("without ->")[0]
    assert _effect("belief", "", values(FEWEST)).low > 0
    assert " *" in table(FEWEST).partition("without ->")[0]
