"""The characters of the scripted players of Avalon: what each of them tends to do, as numbers."""

from __future__ import annotations

import msgspec


class Style(msgspec.Struct, frozen=True):
    """The character of a scripted player. Rates are probabilities, weights are in nats of a softmax."""

    sharpness: float = 1.5
    """How strongly scores decide; 0 chooses uniformly."""
    accuse: float = 0.4
    """How often a speech of a good player is an accusation; otherwise it is one of the following, or silence."""
    vouch: float = 0.2
    question: float = 0.1
    suggest: float = 0.1
    explain: float = 0.1
    """How often it explains its last vote, after the first one."""
    evil_accuse: float = 0.3
    """The same habits when it is evil."""
    evil_vouch: float = 0.3
    blame: float = 4.0
    """Weight of failures in the missions in which a seat went."""
    follow: float = 0.3
    """Weight of the accusations that a seat received since the mission began."""
    approval: float = -0.2
    """How readily it approves a team of strangers, in log-odds."""
    hint: float = 0.6
    """As Merlin: how often it speaks, picks and votes by what it was shown, instead of as a servant."""
    deny: float = 0.03
    """How often a speech denies to be Merlin."""
    trust_merlin: float = 1.0
    """As Percival: weight of what the seats shown as Merlin say about others."""
    claim_percival: float = 0.05
    """As Percival: how often a speech says so."""
    spare: float = 1.0
    """As evil: how much less it accuses those whom it knows to be evil, and how much more it trusts them."""
    bring: float = 0.5
    """As evil: how much more it picks those whom it knows to be evil."""
    evil_vote: float = 0.5
    """As evil: how often it votes by whether evil is in the team, instead of as a servant would."""
    fail_first: float = 0.5
    """As evil: how often it fails the first mission."""
    fail: float = 0.85
    """As evil: how often it fails a later mission that decides nothing yet."""
    coordinate: float = 1.0
    """As evil: how much less often it fails for each one known to be evil in the same team."""
    fake_merlin: float = 0.0
    """As evil: how often a speech claims to be Merlin."""


STYLES: dict[str, Style] = {
    "truthful": Style(hint=0.9, accuse=0.45, vouch=0.25, explain=0.15, question=0.02, fail_first=0.7),
    "cautious": Style(
        sharpness=2.0, accuse=0.15, vouch=0.15, question=0.3, hint=0.35, evil_accuse=0.15, evil_vouch=0.15
    ),
    "loud": Style(
        sharpness=1.0,
        accuse=0.65,
        vouch=0.1,
        question=0.05,
        follow=0.6,
        evil_accuse=0.6,
        evil_vouch=0.1,
        hint=0.7,
    ),
    "deep": Style(
        evil_accuse=0.4, evil_vouch=0.2, spare=0.0, bring=0.0, evil_vote=0.15, fail_first=0.03, fail=0.35
    ),
    "reckless": Style(
        evil_accuse=0.35,
        evil_vouch=0.3,
        spare=2.5,
        bring=2.0,
        evil_vote=0.95,
        fail_first=0.97,
        fail=0.97,
        coordinate=0.0,
        fake_merlin=0.1,
    ),
    "hinting": Style(hint=0.97, accuse=0.5, deny=0.0),
    "hiding": Style(hint=0.08, deny=0.08),
    "follower": Style(trust_merlin=2.5, claim_percival=0.15),
}
"""The shipped characters. `random` (uniform over legal acts) is not a style but its own policy."""
CHARACTERS = (*STYLES, "random")
"""The names of all of them."""
