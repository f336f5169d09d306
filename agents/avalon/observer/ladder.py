"""The evidence ladder: observers that use evidence only up to a rung, to say how deep another reader's inference goes.

    rung 0  told     own card, what was shown at the deal, the failures of missions as the rules allow them (`rules`)
    rung 1  cards    also how likely each character is to fail a mission, given the number of evil seats in it
    rung 2  teams    also whom leaders pick and who votes for which team
    rung 3  words    also what is said. All of it: the exact observer.

Rungs 1 and 2 leave the deeper acts out; a policy that depends on them is evaluated unchanged.
"""

from __future__ import annotations

RUNGS = ("told", "cards", "teams", "words")
"""Name of each rung."""
MEANS = (
    "told: own card, what was shown at the deal, how many cards failed; cards: also how likely each character is to "
    "fail a mission; teams: also who picks and votes for whom; words: also what is said, which is all of it"
)
"""The rungs in words."""
HIGHEST = len(RUNGS) - 1
WEIGHED = {"mission": 1, "pick": 2, "vote": 2, "assassinate": 2}
"""Kind of public event -> the lowest rung that weighs it; all others are words."""
