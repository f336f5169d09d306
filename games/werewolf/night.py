"""The night: the werewolves' channel, waves of simultaneous acts, and what is found at dawn."""

from __future__ import annotations

from collections.abc import Sequence

from games.records import MODERATOR, NOBODY, Action, Request
from games.werewolf.state import State, Step, Turn, ask, bury, choice_of, leaders, shown_role

Answers = Sequence[tuple[Request, Action]]


def night(t: Turn, step: Step, answers: Answers) -> None:
    """Night falls: the waves of the configured order, then dawn."""
    s = t.state
    config = s.config
    if s.day >= config.max_days:
        t.finish("nobody", (), f"{config.max_days} days have passed")
        return
    s.day += 1
    s.phase = "night"
    s.prey, s.agreed, s.protected, s.poisoned, s.healed = NOBODY, NOBODY, (), (), False
    t.emit("phase", value="night")
    mode = config.first_night if s.day == 1 else "full"
    waves: list[Step] = []
    for wave in config.night_order:
        if wave == ("chat",):
            if mode != "inspect_only":
                waves += chat_steps(s, proposing=config.chat_until_agree and mode == "full")
            continue
        acts: tuple[str, ...] = wave
        if mode != "full":
            acts = tuple(a for a in wave if a == "inspect" or (mode == "no_kill" and a != "night_kill"))
        hand: tuple[int, ...] = ()
        if "night_kill" in acts:
            hand = s.wolves()
            if config.kill_rule == "one_random" and hand:
                hand = (t.pick(hand, "killer"),)
        if "witch" in acts:  # she heals first, then may poison
            waves.append(Step("wave", acts=tuple("heal" if a == "witch" else a for a in acts)))
            acts = ("poison",)
        if acts:
            waves.append(Step("wave", acts=acts, order=hand))
    t.push(*waves, Step("dawn"))


def chat_steps(s: State, proposing: bool = False) -> tuple[Step, ...]:
    """The werewolves' channel, if at least two can talk; `among` holds the targets that they may propose."""
    pack = s.wolves()
    if len(pack) < 2:
        return ()
    return (Step("chat", order=pack, among=prey_options(s) if proposing else ()),)


def prey_options(s: State) -> tuple[int, ...]:
    """The seats that the werewolves may choose tonight."""
    if s.config.kill_targets == "anyone":
        return s.present
    pack = s.pack
    return tuple([i for i in s.present if i not in pack])


def ask_chat(s: State, step: Step) -> tuple[Request, ...]:
    return (ask(s, step, step.order[step.turn], "whisper", step.among, speaks=True),)


def chat(t: Turn, step: Step, answers: Answers) -> None:
    """One message in the channel; a round in which all proposals agree closes it and settles the target."""
    s = t.state
    request, action = answers[0]
    t.emit("whisper", s.pack, request.seat, action.option, text=action.text, acts=action.acts)
    told = (*step.told, choice_of(action))
    if step.turn + 1 < len(step.order):
        t.push(Step("chat", step.order, step.turn + 1, told, step.among, round=step.round))
    elif step.among and len(set(told)) == 1:
        s.agreed = told[0]
    elif step.round + 1 < s.config.chat_rounds:
        t.push(Step("chat", step.order, 0, (), step.among, round=step.round + 1))


def ask_wave(s: State, step: Step) -> tuple[Request, ...]:
    """One request for each seat that has an act in this wave and somebody to act on; `order` holds who may kill."""
    config = s.config
    living = s.living()
    out: list[Request] = []
    for act in step.acts:
        if act == "night_kill":
            targets = prey_options(s) if s.agreed == NOBODY else ()
            options = (*targets, NOBODY) if config.kill_abstain else targets
            out += [ask(s, step, i, act, options) for i in step.order if targets]
        elif act == "inspect":
            for i in s.living("seer"):
                unseen = [j for j in living if j != i and (config.seer_repeats or j not in s.inspected[i])]
                out += [ask(s, step, i, act, unseen)] if unseen else []
        elif act == "protect":
            for i in s.living("doctor"):
                barred = {i} if not config.doctor_self else set()
                barred |= {s.last_protected[i]} if not config.doctor_repeats else set()
                options = tuple(j for j in living if j not in barred)
                out += [ask(s, step, i, act, options)] if options else []
        elif act == "heal":
            if s.prey != NOBODY:
                out += [ask(s, step, i, act, (s.prey, NOBODY)) for i in s.living("witch") if s.heals[i]]
        elif act == "poison":
            for i in s.living("witch"):
                if s.poisons[i]:
                    out.append(ask(s, step, i, act, (*(j for j in living if j != i), NOBODY)))
    return tuple(out)


def wave(t: Turn, step: Step, answers: Answers) -> None:
    """Simultaneous acts take effect together; each actor learns its own result alone."""
    s = t.state
    kills: list[int] = []
    for request, action in answers:
        seat, target = request.seat, choice_of(action)
        if request.kind == "night_kill":
            kills.append(target)
            t.emit("night_kill", s.pack, seat, target)
        elif request.kind == "inspect":
            s.inspected = _with(s.inspected, seat, (*s.inspected[seat], target))
            t.emit("inspect", (seat,), seat, target, seen(s, target))
        elif request.kind == "protect":
            s.last_protected = _with(s.last_protected, seat, target)
            s.protected = (*s.protected, target)
            t.emit("protect", (seat,), seat, target)
        elif request.kind == "heal":
            if target != NOBODY:
                s.healed = True
                s.heals = _with(s.heals, seat, s.heals[seat] - 1)
            t.emit("heal", (seat,), seat, target)
        elif request.kind == "poison":
            if target != NOBODY:
                s.poisoned = (*s.poisoned, target)
                s.poisons = _with(s.poisons, seat, s.poisons[seat] - 1)
            t.emit("poison", (seat,), seat, target)
    if "night_kill" in step.acts and (kills or s.agreed != NOBODY):
        tied, _ = leaders(kills)
        s.prey = t.pick(tied, "kill") if tied else s.agreed
        t.emit("prey", s.pack, target=s.prey)
        told = tuple(i for i in s.living("witch") if s.heals[i])
        if told and s.prey != NOBODY:
            t.emit("attacked", told, target=s.prey)


def seen(s: State, target: int) -> str:
    """What a seer's inspection of `target` shows."""
    return shown_role(s.roles[target], s.config.seer_learns) or ""


def dawn(t: Turn, step: Step, answers: Answers) -> None:
    """Day breaks: those who died are named together, in seat order, so that the order tells no cause."""
    s = t.state
    s.phase = "day"
    s.last_speaker, s.mentioned = NOBODY, ()
    dead = set(s.poisoned)
    if s.prey != NOBODY:
        if s.prey in s.protected or s.healed:
            t.emit("saved", MODERATOR, target=s.prey)
        else:
            dead.add(s.prey)
    t.emit("phase", value="day")
    for seat in sorted(dead):
        t.emit("death", target=seat, value=shown_role(s.roles[seat], s.config.reveal_night))
    if not dead:
        t.emit("no_death")
    t.push(Step("day"))
    if dead:
        bury(t, sorted(dead), "night")


def _with(values: tuple, seat: int, value: object) -> tuple:
    return (*values[:seat], value, *values[seat + 1 :])
