"""The typed speech acts of Avalon, as sentences under any lexicon."""

from __future__ import annotations

from typing import Final

from games.avalon.roles import ROLES
from games.language.acts import Grammar
from games.records import SpeechForm

VOTES: Final = ("approve", "reject")

FORMS: Final[dict[str, SpeechForm]] = {
    "accuse": SpeechForm("I {accuse} {subject}."),
    "vouch": SpeechForm("I {trust} {subject}."),
    "question": SpeechForm("I {question} {subject}."),
    "claim_role": SpeechForm("I am the {role}.", ROLES),
    "deny": SpeechForm("I am not the {role}.", ROLES),
    "suggest_team": SpeechForm("I {suggest} {team}."),
    "announce_ballot": SpeechForm("I will {role}.", VOTES),
    "explain_vote": SpeechForm("I {voted} {role} because of {subject}.", VOTES),
    "retract": SpeechForm("I {retract}."),
}
"""The kinds of acts. To accuse says that a player is evil, to trust that it is good (a player may trust itself);
`announce_ballot` and `explain_vote` have `approve` or `reject` as their role."""

GRAMMAR: Final = Grammar(FORMS)
say = GRAMMAR.say
read = GRAMMAR.read

ROLE_TERMS: Final = (*ROLES, *VOTES)
"""Every term that can stand in a `{role}` slot."""
