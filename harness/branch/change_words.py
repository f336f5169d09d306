"""A change as a user writes it on the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.replies import labels
from games.records import NOBODY, Decision, SpeechAct
from harness.activations.steering import layer_of_card
from harness.branch.changes import Change, ChangeError, Choose, Player, Prefix, Roles, Say, Steer
from harness.replay.replay import Replay

KINDS = {
    "words or acts": "--say, --act",
    "a choice": "--choose",
    "roles": "--swap-roles",
    "a player": "--agent, --set",
    "a prefix": "--prefix",
    "a vector": "--steer",
}


def change_of(
    replay: Replay,
    at: int,
    *,
    say: str | None = None,
    acts: Sequence[str] = (),
    choose: str | None = None,
    swap_roles: str | None = None,
    seat: str | None = None,
    agent: str | None = None,
    settings: Sequence[str] = (),
    prefix: str | None = None,
    steer: Path | None = None,
    layer: int | None = None,
    scale: float = 1.0,
) -> Change:
    """The one change that the options name. Raises ChangeError where they name none or several."""
    given = {
        "words or acts": say is not None or bool(acts),
        "a choice": choose is not None,
        "roles": swap_roles is not None,
        "a player": agent is not None or bool(settings),
        "a prefix": prefix is not None,
        "a vector": steer is not None,
    }
    named = [kind for kind, is_given in given.items() if is_given]
    if len(named) != 1:
        raise ChangeError(
            f"a branch changes exactly one thing, found {', '.join(named) or 'none'}: "
            f"use one of {'; '.join(KINDS.values())} (without a change it is `wolfscope resample`)"
        )
    decision = replay.decision(at)
    whose = decision.seat if seat is None else replay.seat_of(seat)
    if say is not None or acts:
        return Say(text=say, acts=tuple(act_of(replay, act) for act in acts) if acts else None)
    if choose is not None:
        return Choose(option_of(replay, choose, decision))
    if swap_roles is not None:
        pair = [replay.seat_of(word.strip()) for word in swap_roles.split(",")]
        if len(pair) != 2:
            raise ChangeError(f"--swap-roles {swap_roles!r}: name two seats, player_1,player_4")
        return Roles(*pair)
    if prefix is not None:
        return Prefix(prefix)
    if steer is not None:
        layer = layer_of_card(steer) if layer is None else layer
        if layer is None:
            raise ChangeError(
                "--steer needs --layer (0 = output of block 0) where no card of a saved probe beside it tells one"
            )
        return Steer(whose, str(steer), layer, scale)
    return Player(whose, agent, dict(setting_of(word) for word in settings))


def act_of(replay: Replay, word: str) -> SpeechAct:
    """`accuse:player_3`, `claim_role:seer`, `report_inspection:Ada:werewolf`, `suggest_team:player_1,player_2`,
    `retract`."""
    kind, *rest = word.split(":")
    forms = replay.game.speech_acts
    if kind not in forms:
        raise ChangeError(f"--act {word!r}: no act is called {kind!r}; there are: {', '.join(forms)}")
    slots = forms[kind].slots
    if len(rest) != len(slots):
        raise ChangeError(f"--act {word!r}: write {':'.join([kind, *slots])}")
    values = dict(zip(slots, rest, strict=True))
    subject = replay.seat_of(values["subject"]) if "subject" in values else None
    team = {replay.seat_of(seat.strip()) for seat in values["team"].split(",")} if "team" in values else ()
    return SpeechAct(kind, subject, values.get("role"), tuple(sorted(team)))  # type: ignore[arg-type]


def option_of(replay: Replay, word: str, decision: Decision) -> int:
    """An option from `player_3`, a name, `nobody`, the word that answers it (`approve`), or its number."""
    named = labels(replay.game.text, decision, replay.words)
    if word in named:
        return named[word]
    if word == "nobody":
        return NOBODY
    if word.lstrip("-").isdigit():
        return int(word)
    return replay.seat_of(word)


def setting_of(word: str) -> tuple[str, Any]:
    """`key=value`, the value in TOML, a bare word as a string."""
    key, equals, text = word.partition("=")
    if not equals or not key.strip():
        raise ChangeError(f"--set {word!r}: write key=value, for instance --set policy=loud")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text.strip()
