"""The night: the werewolves' channel, waves of simultaneous acts, and what is found at dawn."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from games.records import MODERATOR, NOBODY, Decision, Request
from games.werewolf.leaving import bury
from games.werewolf.roles import ACTOR
from games.werewolf.state import Asking, Moderator, Rules, choice_of, leaders, shown_role, without


class Night(msgspec.Struct, gc=False):
    """What the seats have done tonight."""

    hands: tuple[int, ...]
    """The werewolves who choose the night-kill target."""
    agreed: int = NOBODY
    """The target on which the werewolves' channel agreed; it needs no vote."""
    kill_target: int = NOBODY
    """The target of the werewolves."""
    protected: tuple[int, ...] = ()
    poisoned: tuple[int, ...] = ()
    healed: bool = False


def night(m: Moderator) -> Rules:
    """Night falls: the waves of the configured order, then dawn."""
    config = m.config
    if m.day >= config.max_days:
        m.finish("nobody", (), f"{config.max_days} days have passed")
    m.day += 1
    m.phase = "night"
    m.emit("phase", value="night")
    mode = config.first_night if m.day == 1 else "full"
    if mode == "fixed":
        yield from dawn(m, fixed(m))
        return
    hands = m.living("werewolf") if mode == "full" else ()
    if hands and config.kill_rule == "one_random":
        hands = (m.pick(hands, "killer"),)
    tonight = Night(hands)
    for wave in config.night_order:
        if wave == ("chat",):
            if mode != "inspect_only":
                proposing = config.chat_until_agree and mode == "full"
                tonight.agreed = yield from chat(m, kill_options(m) if proposing else ())
            continue
        acts: tuple[str, ...] = wave
        if mode != "full":
            acts = tuple([a for a in wave if a == "inspect" or (mode == "no_kill" and a != "night_kill")])
        if "witch" in acts:  # she heals first, then may poison
            yield from act(m, tonight, tuple(["heal" if a == "witch" else a for a in acts]))
            acts = ("poison",)
        yield from act(m, tonight, acts)
    yield from dawn(m, tonight)


def fixed(m: Moderator) -> Night:
    """A night in which nobody chooses: the target is drawn among plain villagers, and seers are shown werewolves."""
    tonight = Night(())
    tonight.kill_target = m.pick(m.living("villager"), "kill")
    m.emit("prey", m.pack, target=tonight.kill_target)
    for seer in m.living("seer"):
        target = m.pick(m.pack, "shown")
        m.inspected[seer] += (target,)
        m.emit("inspect", (seer,), seer, target, shown_role(m.roles[target], m.config.seer_learns))
    return tonight


def kill_options(m: Moderator) -> tuple[int, ...]:
    """The seats that the werewolves may choose tonight."""
    if m.config.kill_targets == "anyone":
        return m.present
    pack = m.pack
    return tuple([i for i in m.present if i not in pack])


def chat(m: Moderator, among: tuple[int, ...] = ()) -> Asking[int]:
    """The werewolves' channel, if at least two can talk. Each message proposes one of `among`; a round in which all
    agree closes the channel and gives the target, else it gives NOBODY."""
    pack = m.living("werewolf")
    if len(pack) < 2:
        return NOBODY
    for again in range(m.config.chat_rounds):
        proposed = set()
        for turn, seat in enumerate(pack, again << 8):
            [said] = yield (m.ask(seat, "whisper", among, True, turn),)
            action = said.action
            m.emit("whisper", m.pack, seat, action.option, text=action.text, acts=action.acts)
            proposed.add(choice_of(said))
        if among and len(proposed) == 1:
            return proposed.pop()
    return NOBODY


def act(m: Moderator, tonight: Night, acts: Sequence[str]) -> Rules:
    """Simultaneous acts take effect together; each actor learns its own result alone."""
    requests: list[Request] = []
    for what in acts:
        requests += asked(m, tonight, what)
    kills: list[int] = []
    if requests:
        for decision in (yield tuple(requests)):
            if decision.kind == "night_kill":
                kills.append(choice_of(decision))
            done(m, tonight, decision)
    if "night_kill" in acts and (kills or tonight.agreed != NOBODY):
        tied, _ = leaders(kills)
        tonight.kill_target = m.pick(tied, "kill") if tied else tonight.agreed
        m.emit("prey", m.pack, target=tonight.kill_target)
        told = tuple([i for i in m.living("witch") if m.heals[i]])
        if told and tonight.kill_target != NOBODY:
            m.emit("attacked", told, target=tonight.kill_target)


def asked(m: Moderator, tonight: Night, act: str) -> list[Request]:
    """One request for each seat that has the act and somebody to act on."""
    if act == "night_kill":
        choices = kill_options(m) if tonight.hands and tonight.agreed == NOBODY else ()
        if choices and m.config.kill_abstain:
            choices = (*choices, NOBODY)
        return [m.ask(seat, act, choices) for seat in tonight.hands] if choices else []
    out: list[Request] = []
    for seat in m.living(ACTOR[act]):
        options = targets(m, tonight, act, seat)
        if options:
            out.append(m.ask(seat, act, options))
    return out


def targets(m: Moderator, tonight: Night, act: str, seat: int) -> tuple[int, ...]:
    """On whom a seat alone may act tonight."""
    config, living = m.config, m.present
    if act == "inspect":
        options = without(living, seat)
        if not config.seer_repeats:
            seen = m.inspected[seat]
            options = tuple([i for i in options if i not in seen])
        return options
    if act == "protect":
        options = living if config.doctor_self else without(living, seat)
        return options if config.doctor_repeats else without(options, m.last_protected[seat])
    if act == "heal":
        return (tonight.kill_target, NOBODY) if m.heals[seat] and tonight.kill_target != NOBODY else ()
    return (*without(living, seat), NOBODY) if m.poisons[seat] else ()


def done(m: Moderator, tonight: Night, decision: Decision) -> None:
    """What one act does, and what its actor learns."""
    act, seat, target = decision.kind, decision.seat, choice_of(decision)
    if act == "night_kill":
        m.emit(act, m.pack, seat, target)
        return
    seen = None
    if act == "inspect":
        m.inspected[seat] += (target,)
        seen = shown_role(m.roles[target], m.config.seer_learns)
    elif act == "protect":
        m.last_protected[seat] = target
        tonight.protected += (target,)
    elif target != NOBODY and act == "heal":
        tonight.healed = True
        m.heals[seat] -= 1
    elif target != NOBODY and act == "poison":
        tonight.poisoned += (target,)
        m.poisons[seat] -= 1
    m.emit(act, (seat,), seat, target, seen)


def dawn(m: Moderator, tonight: Night) -> Rules:
    """Day breaks: the dead are named together, in seat order, so that the order does not reveal causes."""
    m.phase = "day"
    m.last_speaker, m.mentioned = NOBODY, ()
    dead = set(tonight.poisoned)
    if tonight.kill_target != NOBODY:
        if tonight.kill_target in tonight.protected or tonight.healed:
            m.emit("saved", MODERATOR, target=tonight.kill_target)
        else:
            dead.add(tonight.kill_target)
    m.emit("phase", value="day")
    for seat in sorted(dead):
        m.emit("death", target=seat, value=shown_role(m.roles[seat], m.config.reveal_night))
    if dead:
        yield from bury(m, sorted(dead), "night")
    else:
        m.emit("no_death")
