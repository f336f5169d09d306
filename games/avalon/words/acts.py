"""The typed speech acts of Avalon, as sentences under any lexicon."""

from __future__ import annotations

from typing import Final

from games.avalon.roles import ROLES
from games.language.acts import Grammar

VOTES: Final = ("approve", "reject")

SENTENCES: Final[dict[str, str]] = {
    "accuse": "I {accuse} {subject}.",
    "vouch": "I {trust} {subject}.",
    "question": "I {question} {subject}.",
    "claim_role": "I am the {role}.",
    "deny": "I am not the {role}.",
    "suggest_team": "I {suggest} {team}.",
    "announce_ballot": "I will {role}.",
    "explain_vote": "I {voted} {role} because of {subject}.",
    "retract": "I {retract}.",
}
"""The sentence of each kind of act. To accuse says that a player is evil, to trust that it is good (a player may trust
itself); `announce_ballot` and `explain_vote` have `approve` or `reject` as their role."""

GRAMMAR: Final = Grammar(
    SENTENCES,
    {"claim_role": ROLES, "deny": ROLES, "announce_ballot": VOTES, "explain_vote": VOTES},
)
say = GRAMMAR.say
read = GRAMMAR.read

ROLE_TERMS: Final = (*ROLES, *VOTES)
"""Every term that can stand in a `{role}` slot."""
