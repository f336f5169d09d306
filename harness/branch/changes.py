"""The one thing that a branch changes, and the recorded part of the game before it.

A change touches a recorded decision (`Say`, `Choose`), the deal (`Roles`), or who decides from there on and how
(`Player`, `Prefix`, `Steer`). What does not fit the rest of the log is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agents.replies import labels, silent
from games.base import GameError
from games.branching import Fork, Forked
from games.play import Answer, fold, play, waves
from games.records import NOBODY, Action, Decision, Event, Record, Reply, SpeechAct, Trace, seat_id, visible
from harness.errors import WolfscopeError
from harness.replay.replay import Replay

EXPERIMENTER = "experimenter"
"""The `agent` of a decision that a branch put in place of the recorded one."""


class ChangeError(WolfscopeError, ValueError):
    """A change that the recorded game has no room for."""


class Say(msgspec.Struct, frozen=True, tag="say", omit_defaults=True):
    """Other words at a speech. Text or typed acts: whichever is not given is derived from the other."""

    text: str | None = None
    acts: tuple[SpeechAct, ...] | None = None


class Choose(msgspec.Struct, frozen=True, tag="choose"):
    """Another choice at a ballot, a night act, a bid: an element of the request's options."""

    option: int


class Roles(msgspec.Struct, frozen=True, tag="roles"):
    """Two seats with each other's cards, from the deal on."""

    seat: int
    other: int


class Player(msgspec.Struct, frozen=True, tag="player", omit_defaults=True):
    """Another player, or the same one with other settings, at one seat from the decision on."""

    seat: int
    agent: str | None = None
    """An agent of the run's configuration, None for the one that sits there."""
    settings: dict[str, Any] = {}
    """Dotted key of its `[agents.*]` table -> value; keys under `backend.` go to a copy of its `[backends.*]` table."""


class Prefix(msgspec.Struct, frozen=True, tag="prefix"):
    """The model's output at this one decision begins with these words (of its reasoning, where it reasons)."""

    text: str


class Steer(msgspec.Struct, frozen=True, tag="steer", omit_defaults=True):
    """A vector is added to (or ablated from) the residual stream at one seat from the decision on."""

    seat: int
    vector: str
    """A .npy or .safetensors file with one vector (d_model,)."""
    layer: int
    scale: float = 1.0
    kind: str = "add"
    positions: str = "all"


class Nothing(msgspec.Struct, frozen=True, tag="nothing"):
    """No change: the game is played on from the decision."""


Change = Say | Choose | Roles | Player | Prefix | Steer | Nothing


class Point(msgspec.Struct, frozen=True):
    """The recorded decision at which a branch leaves the game, and the wave of decisions that it was made in."""

    decision: Decision
    start: int
    """seq of the first decision of the wave."""
    wave: tuple[Decision, ...]

    @property
    def end(self) -> int:
        """seq after the last decision of the wave."""
        return self.start + len(self.wave)


def locate(replay: Replay, seq: int) -> Point:
    """The decision `seq` (or the one that the event `seq` repeats). Raises RunFolderError where there is none."""
    decision = replay.decision(seq)
    for _, wave, before in waves(replay.game, replay.config, replay.seed, replay.records):
        if decision.seq < len(before) + len(wave):
            return Point(decision, len(before), tuple(wave))
    raise ChangeError(f"the game was cut off at decision {decision.seq}: its step was never completed")


def describe(change: Change, replay: Replay, point: Point) -> str:
    """The change in one line of words."""
    names = [fact.name for fact in replay.seats]
    who = names[point.decision.seat]
    if isinstance(change, Say):
        action = edited(change, replay, point.decision)
        return f"{who} says {shorten(action.text)!r}"
    if isinstance(change, Choose):
        option = change.option
        shown = "nobody" if option == NOBODY else names[option] if 0 <= option < len(names) else str(option)
        return f"{who} chooses {shown} ({point.decision.kind})"
    if isinstance(change, Roles):
        a, b = replay.seats[change.seat], replay.seats[change.other]
        return f"{a.name} is the {b.role} and {b.name} the {a.role}"
    if isinstance(change, Player):
        what = [] if change.agent is None else [f"is played by {change.agent}"]
        what += [f"{key} = {value!r}" for key, value in change.settings.items()]
        return f"{names[change.seat]}: {', '.join(what) or 'no change'}"
    if isinstance(change, Prefix):
        return f"{who} begins with {shorten(change.text)!r}"
    if isinstance(change, Steer):
        return (
            f"{names[change.seat]}: {change.kind} {change.scale:g} x {change.vector} at layer {change.layer}"
        )
    return "no change"


def shorten(text: str, most: int = 120) -> str:
    """The text cut to at most `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def keeps(change: Change) -> bool:
    """Whether the recorded decision stays where it is not changed; otherwise every continuation makes it again."""
    return isinstance(change, (Say, Choose))


def edited(change: Say | Choose, replay: Replay, decision: Decision) -> Action:
    """The recorded action with the change in it. Raises ChangeError where the request did not allow it."""
    text, words, action = replay.game.text, replay.words, decision.action
    if isinstance(change, Choose):
        if change.option not in decision.options:
            allowed = ", ".join(
                text_of_option(replay, decision, option) for option in sorted(decision.options)
            )
            raise ChangeError(
                f"{seat_id(decision.seat)} cannot choose {text_of_option(replay, decision, change.option)} at its "
                f"{decision.kind} (record {decision.seq}); "
                + (f"it could choose: {allowed}" if allowed else "it takes words only")
            )
        return msgspec.structs.replace(action, option=change.option)
    if decision.kind not in replay.game.speech_kinds:
        raise ChangeError(f"record {decision.seq} is a {decision.kind}, which takes no words: use choose")
    if change.text is None and change.acts is None:
        raise ChangeError("say needs a text or acts")
    acts = change.acts
    if acts is None:
        acts = text.read_acts(change.text or "", words)
    check_acts(acts, replay)
    spoken = change.text
    if spoken is None:
        spoken = text.say(acts, words)
    if action.option is not None and silent(text, decision, action.option, words):
        speaking = next(o for o in sorted(decision.options) if not silent(text, decision, o, words))
        action = msgspec.structs.replace(action, option=speaking)  # a turn that was skipped is taken
    return msgspec.structs.replace(action, text=spoken, acts=tuple(acts))


def check_acts(acts: Sequence[SpeechAct], replay: Replay) -> None:
    """Raises ChangeError for an act that lacks a required field, or names something that the game does not have."""
    forms = replay.game.speech_acts
    for act in acts:
        form = forms.get(act.kind)
        if form is None:
            raise ChangeError(f"no act is called {act.kind!r}; there are: {', '.join(forms)}")
        for slot, value in (("subject", act.subject), ("role", act.role), ("team", act.team or None)):
            if (slot in form.slots) != (value is not None):
                needs = "needs" if value is None else "takes no"
                raise ChangeError(f"the act {act.kind} {needs} {slot}: {form.sentence!r}")
        for seat in act.team if act.subject is None else (act.subject, *act.team):
            replay.check_seat(seat)
        if act.role is not None and act.role not in form.roles:
            raise ChangeError(
                f"the act {act.kind} names the role {act.role!r}; it can name: {', '.join(form.roles)}"
            )


def text_of_option(replay: Replay, decision: Decision, option: int) -> str:
    """An option of a decision, or another value given as one, as a user writes it."""
    words = {o: word for word, o in labels(replay.game.text, decision, replay.words).items()}
    if option in words and words[option] not in replay.words.names:
        return words[option]
    if option == NOBODY:
        return "nobody"
    known = 0 <= option < len(replay.seats)
    return f"{seat_id(option)} ({replay.seats[option].name})" if known else str(option)


def fork_of(change: Change, replay: Replay, point: Point) -> Fork:
    """Where the changed continuation leaves the game. Raises ChangeError for roles that cannot be exchanged."""
    if not isinstance(change, Roles):
        return Fork(replay.seed, point.decision.seq)
    roles = [fact.role for fact in replay.seats]
    if change.seat == change.other or roles[change.seat] == roles[change.other]:
        raise ChangeError(
            f"{seat_id(change.seat)} and {seat_id(change.other)} are both {roles[change.seat]}: nothing would change; "
            f"the roles are {', '.join(f'{seat_id(i)} {role}' for i, role in enumerate(roles))}"
        )
    roles[change.seat], roles[change.other] = roles[change.other], roles[change.seat]
    return Fork(replay.seed, point.decision.seq, tuple(roles))


def prefix(change: Change, replay: Replay, point: Point, trace: Trace | None = None) -> list[Record]:
    """The records with which every changed continuation begins.

    trace: the tokens that a model would have emitted for the changed action, where a model decided. Raises
    ChangeError where the rules do not allow the change.
    """
    log = replay.records
    if isinstance(change, (Say, Choose)):
        action = edited(change, replay, point.decision)
        new = msgspec.structs.replace(
            point.decision, action=action, agent=EXPERIMENTER, fallback=None, trace=trace
        )
        records = [*log[: point.start], *(new if d.seq == new.seq else d for d in point.wave)]
    elif isinstance(change, Roles):
        records = _other_roles(change, replay, point)
    else:
        records = list(log[: point.start])
    try:
        fold(Forked(replay.game, fork_of(change, replay, point)), replay.config, replay.seed, records)
    except GameError as error:
        raise ChangeError(f"the rules do not allow this change: {error}") from error
    return records


def _other_roles(change: Roles, replay: Replay, point: Point) -> list[Record]:
    """The log up to the point under another deal. Raises ChangeError where that deal contradicts the log."""
    game = Forked(replay.game, fork_of(change, replay, point))
    log = replay.records
    steps = play(game, replay.config, replay.seed)
    records: list[Record] = []
    step = next(steps)
    while True:
        # The rules read only actions: decisions keep the log's traces.
        records += [r if isinstance(r, Event) else log[r.seq] for r in step.new]
        at = len(records)
        _check_seen(change, replay, records)
        if at == point.start:
            return records
        wave = [r for r in log[at : at + len(step.requests)] if isinstance(r, Decision)]
        asked = [(r.seat, r.kind, frozenset(r.options)) for r in step.requests]
        answered = [(d.seat, d.kind, frozenset(d.options)) for d in wave]
        if asked != answered:
            raise ChangeError(_why_not(change, replay, at, asked, answered))
        step = steps.send([Answer(Reply(d.action)) for d in wave])


def _check_seen(change: Roles, replay: Replay, records: Sequence[Record]) -> None:
    """Raises ChangeError where a third seat's observations would differ from the recorded ones."""
    for ours, theirs in zip(records, replay.records, strict=False):
        if ours == theirs or not isinstance(ours, Event) or ours.audience == ():
            continue
        others = [i for i in range(len(replay.seats)) if i not in (change.seat, change.other)]
        if ours.kind == "role":
            continue  # a card may name partners; a seat that reads its own card reads the new deal
        if any(visible(ours, i) or visible(theirs, i) for i in others):
            raise ChangeError(
                f"by record {ours.seq} others had seen what these roles contradict ({replay.line(theirs, None)}): "
                f"branch at an earlier decision"
            )


def _why_not(
    change: Roles,
    replay: Replay,
    at: int,
    asked: Sequence[tuple[int, str, frozenset[int]]],
    answered: Sequence[tuple[int, str, frozenset[int]]],
) -> str:
    wrong = next((a for a in asked if a not in answered), None) or next(
        (a for a in answered if a not in asked), (change.seat, "nothing", frozenset())
    )
    first = next((r.seq for r in replay.records if isinstance(r, Decision)), 0)
    return (
        f"with these roles {seat_id(wrong[0])} would have been asked for another decision at record {at} "
        f"({wrong[1]!r}), so the recorded game cannot have led here; cards can be exchanged before anyone has acted on "
        f"them (--at {first}), or between seats that were asked the same"
    )
