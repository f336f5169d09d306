"""What the observers of Werewolf model; any other role, act or setting is refused by name.

Otherwise an unlisted role would be weighed as a plain human, an act as silence, a rule as its default: posteriors would
silently be wrong. Whoever adds one to the game adds it to the observer, and then to this list.
"""

from __future__ import annotations

from typing import Any, Final

from games.records import Event
from games.werewolf.config import WerewolfConfig

ROLES: Final = frozenset(
    ("villager", "werewolf", "seer", "doctor", "witch", "hunter", "medium", "possessed", "jester", "mason")
)
"""Roles whose policies, private knowledge and ways to win the observer weighs."""

ACTS: Final = frozenset(
    (
        "claim_role", "report_inspection", "accuse", "defend", "announce_ballot", "deny", "question", "retract",
    )
)  # fmt: skip
"""Kinds of typed speech acts that it reads."""

EVENTS: Final = frozenset(
    (
        "setup", "deal", "role", "phase", "order", "draw", "saved", "outcome",
        "whisper", "night_kill", "prey", "inspect", "protect", "heal", "poison", "attacked", "sense",
        "death", "no_death", "exile", "shoot",
        "speech", "silence", "bid", "last_words", "summary",
        "ballot", "shadow_ballot", "tie", "tie_break", "candidacy", "mayor_ballot", "mayor",
    )
)  # fmt: skip
"""Kinds of events that it knows, those that it may pass over included."""

ANY: Final[tuple[Any, ...]] = ()
"""A setting all of whose values are modelled."""

REVEALS: Final = ("none", "role", "faction", "species")
SETTINGS: Final[dict[str, tuple[Any, ...]]] = {
    "preset": ANY, "roles": ANY, "lexicon": ANY,
    "first_night": ("full", "no_kill", "inspect_only"), "night_order": ANY,
    "kill_rule": ("vote", "one_random"), "kill_targets": ("others", "anyone"), "kill_abstain": (False, True),
    "chat_rounds": ANY, "chat_until_agree": (False, True), "chat_by_day": ANY,
    "seer_learns": ("role", "faction", "species"), "seer_repeats": (False, True),
    "doctor_self": (False, True), "doctor_repeats": (False, True), "witch_heals": ANY, "witch_poisons": ANY,
    "discussion": ("round_robin", "random_order", "bidding", "free", "simultaneous", "none"),
    "speech_rounds": ANY, "speech_turns": ANY, "free_per_seat": ANY, "free_per_day": ANY, "max_speech_chars": ANY,
    "ballot": ("simultaneous", "sequential"), "ballot_public": (False, True),
    "ballot_rule": ("plurality", "majority"), "ballot_self": (False, True), "ballot_abstain": (False, True),
    "revotes": ANY, "tie": ("random", "no_exile"), "shadow_ballots": (False, True), "summaries": (False, True),
    "mayor": (False, True), "last_words": ("none", "exiled", "all"),
    "reveal_night": REVEALS, "reveal_day": REVEALS, "edge_kill": (False, True), "max_days": ANY,
}  # fmt: skip
"""Setting -> the values that are modelled. A setting that is not listed may only have its default."""

NIGHT_ACTS: Final = frozenset(("chat", "night_kill", "inspect", "protect", "witch"))


class Unmodelled(ValueError):
    """A role, act or setting that no observer models; the message names it."""


def check_config(config: WerewolfConfig) -> None:
    """Raises Unmodelled for a rule set with a role, a setting or a night act that is not modelled."""
    for role, count in config.roles.items():
        if count and role not in ROLES:
            raise Unmodelled(
                f"the observer does not model the role {role!r}; it models: {', '.join(sorted(ROLES))}"
            )
    for act in (act for wave in config.night_order for act in wave):
        if act not in NIGHT_ACTS:
            raise Unmodelled(
                f"the observer does not model the night act {act!r}; it models: {', '.join(sorted(NIGHT_ACTS))}"
            )
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        known = SETTINGS.get(name)
        if known is None and value != field.get_default(call_default_factory=True):
            raise Unmodelled(f"the observer does not model the setting {name} = {value!r}")
        if known and value not in known:
            raise Unmodelled(
                f"the observer does not model {name} = {value!r}; it models: {', '.join(map(repr, known))}"
            )


def check_event(event: Event) -> None:
    """Raises Unmodelled for an event of a kind that is not modelled, or one that holds such an act."""
    if event.kind not in EVENTS:
        raise Unmodelled(
            f"the observer does not model events of kind {event.kind!r} (record {event.seq}); it knows: "
            f"{', '.join(sorted(EVENTS))}"
        )
    for act in event.acts:
        if act.kind not in ACTS:
            raise Unmodelled(
                f"the observer does not model the speech act {act.kind!r} (record {event.seq}); it models: "
                f"{', '.join(sorted(ACTS))}"
            )
