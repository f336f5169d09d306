"""The value of each typed act at a speech where a seat could lie, bus a partner, counter-claim or be silent.

For every act of a menu the rest of the game is played n times, with the same seeds for all acts; the act's value is
the faction's win rate. `analysis.behaviour.strategic` tests whether a player's acts follow these values; this module
plays the continuations and records the player's act, or its model's probability of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from agents.base import ModelPlayer
from games.base import GameError
from games.records import Decision, Event, Record, SpeechAct
from harness.branch.changes import Say
from harness.experiment.continuations import Futures
from harness.experiment.design import StrategicSection
from harness.experiment.moments import Moment
from harness.experiment.scenes import Scenes
from harness.experiment.scoring.questions import Ask
from harness.replay.replay import Replay
from harness.run.folder import Run

SILENT = "silent"

ACTS: dict[str, Any] = {
    "moment": pl.Int32,
    "game": pl.String,
    "role": pl.String,
    "faction": pl.String,
    "day": pl.Int16,
    "agent": pl.String,
    "act": pl.String,  # with the subject's relation: accuse:other, claim_role:seer+report_inspection:other
    "kind": pl.String,  # of the first act
    "lie": pl.Boolean,  # false, and the speaker knows
    "truthful": pl.Boolean,  # it contains nothing that the speaker knows to be false
    "chosen": pl.Float64,  # 1 for the act said; a model's probability within the menu where available
    "won": pl.List(pl.Int8),  # of continuation k: whether the seat's faction won
    "accused": pl.Float64,  # public: accusations of the act's subject so far
    "defended": pl.Float64,  # public: defences of it
    "claims": pl.Float64,  # public: claims of the act's role so far
    "votes": pl.Float64,  # public: ballots against the act's subject so far
    "spoken": pl.Float64,  # public: speeches so far on the day
}
"""One row a moment and act of the menu."""


class Option(msgspec.Struct, frozen=True):
    """One act of a menu, or two that make one claim."""

    name: str
    acts: tuple[SpeechAct, ...]


def menu(
    replay: Replay, decision: Decision, living: Sequence[int], belief: dict[int, float], most: int
) -> list[Option]:
    """The menu of a speech: silence, accusations and defences, claims, a report; at most `most` acts.

    Accusations are of the two players that the seat suspects most and of a partner, defences of a partner and of the
    one that it suspects least; claims are of the seer with a report that names a werewolf, which is how the seer is
    claimed, and of the seer, its own role and a villager without one; last the report alone. Other games use the subset
    that they have, with `vouch` for a defence.
    """
    seats, sought, known = replay.seats, replay.game.belief_targets[0].roles, replay.game.speech_acts
    me, hidden = seats[decision.seat], {seat.faction for seat in seats if seat.role in sought}
    shield: Literal["defend", "vouch"] = "defend" if "defend" in known else "vouch"
    suspects = sorted(living, key=lambda i: (-belief.get(i, 0.5), i))
    partners = [i for i in living if seats[i].faction == me.faction in hidden]
    others = [i for i in suspects if i not in partners]
    found = [Option(SILENT, ())]
    found += [Option(f"accuse:{i}", (SpeechAct("accuse", i),)) for i in [*others[:2], *partners[:1]]]
    found += [Option(f"{shield}:{i}", (SpeechAct(shield, i),)) for i in [*partners[:1], *others[-1:]]]
    dealt = {fact.role for fact in seats}
    report = None
    if others and "report_inspection" in known:
        report = SpeechAct("report_inspection", others[0], sought[0])
        if "seer" in dealt:
            found.append(
                Option(f"claim_role:seer+report:{others[0]}", (SpeechAct("claim_role", None, "seer"), report))
            )
    for role in dict.fromkeys(("seer", me.role, "villager")):
        if role in dealt and role not in sought:
            found.append(Option(f"claim_role:{role}", (SpeechAct("claim_role", None, role),)))
    if report is not None:
        found.append(Option(f"report:{others[0]}", (report,)))
    return list({option.name: option for option in found}.values())[:most]


def play_menu(
    run: Run, futures: Futures, scenes: Scenes, moment: Moment, section: StrategicSection, scorer: Any
) -> list[dict[str, Any]]:
    """The rows (`ACTS`) of one moment, its menu played out. scorer: reads a model's own probability of each act; None
    where no model sits."""
    replay = Replay(run, moment.game_id)
    decision = replay.decision(moment.seq)
    options = menu(replay, decision, sorted(moment.belief), moment.belief, section.most)
    changes: dict[str, Say] = {}
    labels = {}
    for option in options:
        change = Say(text="" if not option.acts else None, acts=option.acts)
        try:
            labels[option.name] = _labels(replay, decision, option)
            changes[option.name] = change
        except GameError:
            continue
    ks = range(section.continuations)
    told = futures.play(moment, changes, dict.fromkeys(changes, ks))
    said = _said(decision, options)
    kept = [o for o in options if o.name in changes]
    chosen = _probabilities(scenes, moment, kept, scorer) if scorer is not None and decision.trace else None
    if chosen is None:
        chosen = {o.name: float(o.name == said) for o in kept}
    heard = replay.records[: decision.seq]
    rows = []
    for option in kept:
        lie, truthful = labels[option.name]
        rows.append(
            {
                "moment": moment.id, "game": f"{moment.run}:{moment.game_id}", "role": moment.role,
                "faction": moment.faction, "day": moment.day, "agent": decision.agent,
                "act": _relation(replay, decision, option), "kind": option.acts[0].kind if option.acts else SILENT,
                "lie": lie, "truthful": truthful, "chosen": chosen[option.name],
                "won": [int(told[option.name, k].won) for k in ks],
            }
            | _public(heard, option, decision.day)
        )  # fmt: skip
    return rows


def _labels(replay: Replay, decision: Decision, option: Option) -> tuple[bool, bool]:
    """(it is a lie, it is truthful), by the engine."""
    new = msgspec.structs.replace(decision, action=msgspec.structs.replace(decision.action, acts=option.acts))
    records: list[Record] = [*replay.records[: decision.seq], new]
    labels = [s.label for s in replay.game.statements(replay.config, records) if s.seq == decision.seq]
    return "lie" in labels, "lie" not in labels and "honest mistake" not in labels


def _said(decision: Decision, options: Sequence[Option]) -> str | None:
    """What was said: of what the menu holds and the decision said, the most acts, and of these the first one said;
    silence where it had no typed act."""
    acts = decision.action.acts
    if not acts:
        return SILENT
    said = [option for option in options if option.acts and set(option.acts) <= set(acts)]
    if not said:
        return None
    return min(said, key=lambda option: (-len(option.acts), acts.index(option.acts[0]))).name


def _relation(replay: Replay, decision: Decision, option: Option) -> str:
    """The act with its subject by relation, never by name or seat: `accuse:partner`, `claim_role:seer`."""
    seats = replay.seats
    hidden = {seat.faction for seat in seats if seat.role in replay.game.belief_targets[0].roles}

    def related(act: SpeechAct) -> str:
        if act.subject is None:
            return f"{act.kind}:{'own' if act.role == seats[decision.seat].role else act.role}"
        partner = seats[act.subject].faction == seats[decision.seat].faction in hidden
        return f"{act.kind}:{'partner' if partner else 'other'}"

    return "+".join(map(related, option.acts)) or SILENT


def _public(heard: Sequence[Record], option: Option, day: int) -> dict[str, float]:
    events = [r for r in heard if isinstance(r, Event) and r.audience is None]
    subject = next((act.subject for act in option.acts if act.subject is not None), None)
    role = next((act.role for act in option.acts if act.kind == "claim_role"), None)
    said = [a for e in events for a in e.acts]
    return {
        "accused": float(sum(a.kind == "accuse" and a.subject == subject is not None for a in said)),
        "defended": float(sum(a.kind == "defend" and a.subject == subject is not None for a in said)),
        "claims": float(sum(a.kind == "claim_role" and a.role == role is not None for a in said)),
        "votes": float(sum(e.kind == "ballot" and e.target == subject is not None for e in events)),
        "spoken": float(sum(e.kind == "speech" and e.day == day for e in events)),
    }


def _probabilities(
    scenes: Scenes, moment: Moment, options: Sequence[Option], scorer: Any
) -> dict[str, float] | None:
    """A model's probability of each act as its whole speech, normalised over the menu; None where unavailable."""
    scene = scenes.scene(moment)
    player, request = scene.player, scene.observation.request
    if not isinstance(player, ModelPlayer) or player.multi_step:
        return None
    text = scene.game.text
    answers = []
    for option in options:
        said = text.say(option.acts, scene.words)
        action = msgspec.structs.replace(scene.decision.action, text=said, acts=option.acts)
        answers.append(tuple(player.encoder.encode(text.answer(request, action, scene.words) + "\n")[0]))
    if any(a != b and b[: len(a)] == a for a in answers for b in answers):
        return None
    (found,) = scorer.score([Ask(tuple(player.context(scene.observation).ids), tuple(answers))])
    shares = np.exp(found - found.max())
    return dict(zip((o.name for o in options), (shares / shares.sum()).tolist(), strict=True))
