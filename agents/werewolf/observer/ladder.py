"""The evidence ladder: observers that use evidence only up to a rung, to say how deep another reader's inference goes.

    rung 0  told       own role, partners, own inspections, revealed deaths, who won; no behaviour (kind `rules`)
    rung 1  habits     what kind of act: accuse, defend, question, silence, claim, report, announce, abstain, stand;
                       not about whom. The likelihood is that of the kind, whomever it concerns.
    rung 2  relations  also about whom: partners who spare each other, how one treated players known by now and me.
                       Policies are those of players who heed neither reports nor the crowd.
    rung 3  logic      also reports and claims (rival, refuted, against my own knowledge) and the nights: whom the
                       werewolves chose, whom the doctor saved, whom a seer would have inspected
    rung 4  others     also the crowd: who follows the accusations of today, and who stands against them. All of it:
                       the exact observer.

Rung 1 is exact for the evidence that it uses. Rungs 2 and 3 evaluate the same policies without the deeper terms, so
they are not the best possible readers of their evidence; they are readers that do not consider the deeper terms.
"""

from __future__ import annotations

RUNGS = ("told", "habits", "relations", "logic", "others")
"""Name of each rung."""
MEANS = (
    "told: own role, private results, reveals; habits: also what kinds of acts; relations: also about whom; logic: "
    "also reports, claims and whom the nights took; others: also who follows the crowd, which is all of it"
)
"""The rungs in words."""
HIGHEST = len(RUNGS) - 1


def check_rung(rung: int | str) -> int:
    """The rung's number, given by number or by name. Raises ValueError."""
    if rung in RUNGS:
        return RUNGS.index(str(rung))
    if isinstance(rung, int) and 0 <= rung <= HIGHEST:
        return rung
    known = ", ".join(f"{i} {name}" for i, name in enumerate(RUNGS))
    raise ValueError(f"the ladder has no rung {rung!r}; there are: {known}")
