"""Random rule sets for hypothesis: every knob of the configuration, all presets among them."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from games.base import ConfigError
from games.werewolf.config import WerewolfConfig
from games.werewolf.presets import NAMES, configure

LEXICONS = ("classic", "mafia", "neutral", "nonsense", "symbols", "random-7")
SPECIALS = ("seer", "doctor", "witch", "hunter", "medium", "possessed", "jester")
ORDERS = (
    (("night_kill", "inspect", "protect"),),
    (("chat",), ("night_kill",), ("protect",), ("witch",), ("inspect",)),
    (("inspect", "protect"), ("night_kill",), ("witch",)),
    (("night_kill",), ("witch", "inspect", "protect")),
)


@st.composite
def configs(draw: st.DrawFn, lexicon: str | None = None) -> WerewolfConfig:
    """A preset, a preset with changes, or a rule set of its own; always one that can be played."""
    settings: dict[str, Any] = {}
    preset = draw(st.sampled_from(("custom", *NAMES)))

    def maybe(**choices: tuple) -> None:
        for name, values in choices.items():
            if preset == "custom" or draw(st.integers(0, 9)) == 0:
                settings[name] = draw(st.sampled_from(values))

    if preset == "custom":
        wolves = draw(st.integers(1, 3))
        roles = {"werewolf": wolves, "villager": draw(st.integers(0, 5))}
        roles |= {role: draw(st.integers(0, 2)) for role in draw(st.sets(st.sampled_from(SPECIALS)))}
        roles["mason"] = draw(st.sampled_from((0, 0, 2, 3)))
        settings["roles"] = roles
        settings["night_order"] = draw(st.sampled_from(ORDERS))
    maybe(
        first_night=("full", "no_kill", "inspect_only"),
        kill_rule=("vote", "one_random"),
        kill_targets=("others", "anyone"),
        kill_abstain=(False, True),
        chat_rounds=(1, 2),
        chat_until_agree=(False, False, True),
        chat_by_day=((), ("before_ballot",), ("before_ballot", "after_ballot")),
        seer_learns=("role", "faction", "species"),
        seer_repeats=(False, True),
        doctor_self=(False, True),
        doctor_repeats=(False, True),
        witch_heals=(0, 1, 2),
        witch_poisons=(0, 1, 2),
        discussion=("round_robin", "random_order", "bidding", "free", "simultaneous", "none"),
        speech_rounds=(1, 2),
        speech_turns=(1, 4),
        free_per_seat=(1, 3),
        free_per_day=(5, 20),
        ballot=("simultaneous", "sequential"),
        ballot_public=(True, False),
        ballot_rule=("plurality", "plurality", "majority"),
        ballot_self=(False, True),
        ballot_abstain=(False, True),
        revotes=(0, 0, 1, 2),
        tie=("random", "no_exile", "no_exile"),
        shadow_ballots=(False, False, True),
        summaries=(False, True),
        mayor=(False, False, True),
        last_words=("none", "exiled", "all"),
        reveal_night=("none", "role", "faction", "species"),
        reveal_day=("none", "role", "faction", "species"),
        edge_kill=(False, True),
        max_days=(4, 20),
    )
    settings["lexicon"] = lexicon or draw(st.sampled_from(LEXICONS))
    try:
        return configure(preset, **settings)
    except ConfigError:
        assume(False)
        raise


def seeds() -> st.SearchStrategy[int]:
    """A game's seed."""
    return st.integers(0, 2**62)
