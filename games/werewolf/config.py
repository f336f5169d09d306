"""The settings of a game of Werewolf, as one validated, frozen configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from games.base import GameConfig, validated
from games.werewolf.lexicon import lexicon
from games.werewolf.roles import CARDS, Role

Reveal = Literal["none", "role", "faction", "species"]
NightAct = Literal["chat", "night_kill", "inspect", "protect", "witch"]


class WerewolfConfig(GameConfig):
    """One rule set. Unknown settings and combinations that make no sense are refused at construction.

    The rules use the lexicon only to find names in a speech.
    """

    roles: dict[Role, int]
    """How many seats have each role; 4 to 20 seats in all."""

    first_night: Literal["full", "no_kill", "inspect_only", "fixed"] = "full"
    """What happens in night 1: everything, everything but the kill, or inspections alone; `fixed`: nobody chooses, a
    plain villager drawn by chance is the target and each seer is shown a werewolf."""
    night_order: tuple[tuple[NightAct, ...], ...] = (("night_kill", "inspect", "protect"),)
    """Waves of the night; acts of one wave are simultaneous. The witch's wave comes after the kill's."""
    kill_rule: Literal["vote", "one_random"] = "vote"
    """Living werewolves vote (plurality, tie random), or one uniformly random living werewolf picks."""
    kill_targets: Literal["others", "anyone"] = "others"
    """Werewolves may choose living non-werewolves, or any living seat."""
    kill_abstain: bool = False
    """Whether a werewolf may choose nobody; where all do, nobody is the target."""
    chat_rounds: int = Field(1, ge=1, le=10)
    """Most rounds of one werewolf channel, where `chat` stands in `night_order` or `chat_by_day`."""
    chat_until_agree: bool = False
    """Each message carries a proposed target; a round in which all agree closes the channel and settles the target,
    otherwise the werewolves vote as `kill_rule` says."""
    chat_by_day: tuple[Literal["before_ballot", "after_ballot"], ...] = ()
    """When the werewolves' channel also opens by day, where at least two live."""
    seer_learns: Literal["role", "faction", "species"] = "role"
    """What an inspection shows: the role, the side that it wins with, or whether it is a werewolf (a possessed
    is none)."""
    seer_repeats: bool = False
    """Whether a seat may be inspected twice."""
    doctor_self: bool = True
    """Whether the doctor may protect itself."""
    doctor_repeats: bool = True
    """Whether the doctor may protect the same seat on consecutive nights."""
    witch_heals: int = Field(1, ge=0)
    """How often a game a witch may save the target, of which she is told as long as she can."""
    witch_poisons: int = Field(1, ge=0)
    """How often a game a witch may kill a seat of her choice, which nobody can prevent."""

    discussion: Literal["round_robin", "random_order", "bidding", "free", "simultaneous", "none"] = (
        "round_robin"
    )
    """Round robin: seats in order from a random starter; random order: one order a day; bidding: the highest
    bid (0-4) speaks; free: cycles in one order a day, each may skip or be over; simultaneous: all at once."""
    speech_rounds: int = Field(1, ge=1, le=10)
    """Rounds a day (round_robin, random_order, simultaneous)."""
    speech_turns: int = Field(8, ge=1, le=100)
    """Speeches a day under bidding."""
    free_per_seat: int = Field(4, ge=1)
    """Most utterances of one seat a day under free discussion."""
    free_per_day: int = Field(20, ge=1)
    """Most utterances of all seats together a day under free discussion."""
    max_speech_chars: int = Field(2000, ge=40)
    """A longer speech is shown to others cut to this many characters; the log keeps all of it."""

    ballot: Literal["simultaneous", "sequential"] = "simultaneous"
    """All at once, or one after another in a random order, in which each sees the public ballots before its own."""
    ballot_public: bool = True
    """Whether everyone learns who voted for whom."""
    ballot_rule: Literal["plurality", "majority"] = "plurality"
    """Most votes, or votes of more than half of the living."""
    ballot_self: bool = False
    """Whether a seat may vote for itself."""
    ballot_abstain: bool = False
    """Whether a seat may vote for nobody."""
    revotes: int = Field(0, ge=0, le=3)
    """Further ballots among the tied seats (plurality)."""
    tie: Literal["random", "no_exile"] = "no_exile"
    """What a tie that no revote and no mayor broke does."""
    shadow_ballots: bool = False
    """After each speech all living seats cast a private ballot without effect."""
    summaries: bool = False
    """At the end of a day each living seat writes a private note to itself."""
    mayor: bool = False
    """An election on day 1; the mayor breaks ties and names a successor."""
    last_words: Literal["none", "exiled", "all"] = "none"
    """Who speaks once more on leaving the game."""

    reveal_night: Reveal = "none"
    """What everyone learns of a seat that dies at night."""
    reveal_day: Reveal = "none"
    """What everyone learns of a seat that is exiled or shot by day."""
    edge_kill: bool = False
    """Werewolves also win when no plain villager lives."""
    max_days: int = Field(20, ge=1, le=100)
    """After this many days the game ends and nobody wins."""

    @property
    def n_players(self) -> int:
        """The number of seats."""
        return sum(self.roles.values())

    def count(self, role: str) -> int:
        """How many seats have a role."""
        return sum(n for name, n in self.roles.items() if name == role)

    @property
    def decks(self) -> tuple[str, ...]:
        """The role cards, one a seat, in the order of `roles`."""
        return tuple(role for role, count in self.roles.items() for _ in range(count))

    @model_validator(mode="after")
    def _sensible(self) -> WerewolfConfig:
        roles = self.roles
        acts = [act for wave in self.night_order for act in wave]
        wolves = roles.get("werewolf", 0)

        def refuse(why: str) -> None:
            raise ValueError(why)

        lexicon(self.lexicon)  # raises where there is none
        if any(count < 0 for count in roles.values()):
            refuse(f"roles has a negative count: {roles}")
        if not 4 <= self.n_players <= 20:
            refuse(f"roles add up to {self.n_players} seats; 4 to 20 can play")
        if wolves < 1:
            refuse("roles has no werewolf; add at least one")
        if wolves >= self.n_players - wolves:
            refuse(
                f"{wolves} werewolves against {self.n_players - wolves} others have won before the start; "
                "werewolves must be fewer than the others"
            )
        if roles.get("mason", 0) == 1:
            refuse("one mason has nobody to know; use none or at least two")
        if self.first_night == "fixed" and not roles.get("villager"):
            refuse("first_night = 'fixed' kills a plain villager in night 1: roles has none")
        if self.edge_kill and not roles.get("villager"):
            refuse("edge_kill needs a plain villager: without one the werewolves have won before the start")
        if () in self.night_order:
            refuse(f"night_order has a wave without acts: {self.night_order}")
        if len(acts) != len(set(acts)):
            refuse(f"night_order names an act twice: {self.night_order}")
        if any("chat" in wave and len(wave) > 1 for wave in self.night_order):
            refuse("chat is a conversation, not one choice: give it a wave of its own in night_order")
        if "night_kill" not in acts:
            refuse("night_order has no night_kill: the werewolves would never act")
        for card in CARDS:
            if self.count(card.name) and card.waves and card.waves[0] not in acts:
                refuse(f"roles has a {card.name}, but night_order has no {card.waves[0]!r} in which it acts")
        if "witch" in acts:
            kill = next(i for i, wave in enumerate(self.night_order) if "night_kill" in wave)
            witch = next(i for i, wave in enumerate(self.night_order) if "witch" in wave)
            if witch <= kill:
                refuse("the witch is told the target: in night_order her wave must come after night_kill's")
        if len(self.chat_by_day) != len(set(self.chat_by_day)):
            refuse(f"chat_by_day names a moment twice: {self.chat_by_day}")
        if self.chat_until_agree and "chat" not in acts:
            refuse("chat_until_agree needs 'chat' in night_order: the agreed target is the night's")
        if self.ballot_rule == "majority" and self.revotes:
            refuse("revotes break ties of a plurality; a majority has none: set revotes = 0")
        if self.ballot_rule == "majority" and self.mayor:
            refuse("a mayor breaks ties of a plurality; a majority has none: set mayor = false")
        if self.ballot_rule == "majority" and self.tie == "random":
            refuse("tie = 'random' breaks ties of a plurality; a majority has none: set tie = 'no_exile'")
        if self.chat_until_agree and self.kill_rule == "one_random":
            refuse(
                "chat_until_agree lets the werewolves agree; kill_rule = 'one_random' lets one decide: use 'vote'"
            )
        if roles.get("witch") and not (self.witch_heals or self.witch_poisons):
            refuse("a witch without potions is a villager: set witch_heals or witch_poisons, or use no witch")
        if self.shadow_ballots and self.discussion in ("simultaneous", "none"):
            refuse(
                f"shadow_ballots follow single speeches; discussion = {self.discussion!r} has none: "
                "use another discussion or set shadow_ballots = false"
            )
        return self


def build(**settings: Any) -> WerewolfConfig:
    """A configuration from plain settings. Raises ConfigError with every complaint in one message."""
    return validated(WerewolfConfig, "werewolf", settings)
