"""The characters of the scripted players: what each of them tends to do, as numbers."""

from __future__ import annotations

import msgspec


class Style(msgspec.Struct, frozen=True):
    """The character of a scripted player. Rates are probabilities, weights are in nats of a softmax."""

    sharpness: float = 1.0
    """How strongly scores decide; 0 chooses uniformly."""
    accuse: float = 0.6
    """How often it accuses when it speaks as a villager; the rest is defence, question or silence."""
    defend: float = 0.15
    """How often it defends somebody then."""
    question: float = 0.15
    """How often it asks somebody then."""
    follow: float = 0.3
    """Weight of the accusations that a seat received today."""
    announce: float = 0.3
    """How often an accusation comes with a vote announcement."""
    wolf_accuse: float = 0.35
    """As `accuse`, when it is a werewolf."""
    wolf_defend: float = 0.4
    """As `defend`, when it is a werewolf."""
    wolf_question: float = 0.1
    """As `question`, when it is a werewolf."""
    wolf_follow: float = 0.9
    """As `follow`, when it is a werewolf."""
    spare: float = 2.5
    """As a werewolf: how much less it accuses a partner, and how much more it defends one."""
    bus: float = 0.0
    """As a werewolf: how often it accuses a partner outright instead."""
    reveal: float = 0.6
    """As a seer: how often it reports an inspection that it has not reported yet."""
    fake_seer: float = 0.03
    """As a werewolf: how often it claims to be the seer and reports a villager as a werewolf."""
    bluff: float = 0.0
    """As a plain villager: how often it claims to be the seer without a result."""
    abstain: float = 0.05
    """How often it votes for nobody where it may."""


STYLES: dict[str, Style] = {
    "naive": Style(fake_seer=0.0, reveal=0.95),
    "cautious": Style(
        sharpness=1.3, accuse=0.3, defend=0.25, question=0.35, announce=0.1, reveal=0.35, abstain=0.15
    ),
    "loud": Style(
        sharpness=0.7,
        accuse=0.85,
        defend=0.05,
        question=0.05,
        announce=0.6,
        wolf_accuse=0.55,
        wolf_defend=0.3,
    ),
    "bluffer": Style(accuse=0.55, bluff=0.12, announce=0.4),
    "claimer": Style(fake_seer=0.3, wolf_follow=0.6),
    "busser": Style(bus=0.45, wolf_defend=0.2, wolf_accuse=0.5),
}
"""The shipped characters. `random` (uniform over legal acts) is not a style but its own policy."""


CHARACTERS = (*STYLES, "random")
"""The names of all of them."""

CAST = ("naive", "cautious", "loud", "bluffer", "claimer", "busser", "random")
"""An observer's default prior: these characters, equally likely. The shipped models were trained on games among them.
Frozen: a new style joins `STYLES` alone, and changes no posterior of an earlier run."""
