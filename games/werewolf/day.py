"""The day: election, discussion, ballot, exile, and what a seat does on leaving the game."""

from __future__ import annotations

import re

from games.records import EVERYONE, MODERATOR, NOBODY, Action, Request
from games.werewolf.config import faction_of, species_of
from games.werewolf.lexicon import lexicon
from games.werewolf.night import Answers, chat_steps
from games.werewolf.state import State, Step, Turn, ask, bury, choice_of, leaders, shown_role

SPEAK, SKIP, OVER = 0, 1, 2
"""The options of a turn in a free discussion."""


def day(t: Turn, step: Step, answers: Answers) -> None:
    """The day's programme."""
    s = t.state
    config = s.config
    steps = [Step("candidacy")] if config.mayor and s.day == 1 else []
    steps += [Step("discussion")]
    if "before_ballot" in config.chat_by_day:
        steps += [Step("conclave")]
    steps += [Step("ballot")]
    if "after_ballot" in config.chat_by_day:
        steps += [Step("conclave")]
    if config.summaries:
        steps += [Step("summary")]
    t.push(*steps, Step("night"))


def conclave(t: Turn, step: Step, answers: Answers) -> None:
    """The werewolves' channel by day; who may talk is decided when it opens."""
    t.push(*chat_steps(t.state))


# --- election -------------------------------------------------------------------------------------------------


def ask_candidacy(s: State, step: Step) -> tuple[Request, ...]:
    return tuple(ask(s, step, i, "candidacy", (1, 0), ordered=True) for i in s.living())


def candidacy(t: Turn, step: Step, answers: Answers) -> None:
    """Everyone declares at once; the candidates are voted on."""
    running = tuple(request.seat for request, action in answers if action.option == 1)
    for request, action in answers:
        t.emit("candidacy", actor=request.seat, value="run" if action.option == 1 else "decline")
    if running:
        t.push(Step("mayor_ballot", among=running))


def ask_mayor_ballot(s: State, step: Step) -> tuple[Request, ...]:
    return tuple(ask(s, step, i, "mayor_ballot", step.among) for i in s.living())


def mayor_ballot(t: Turn, step: Step, answers: Answers) -> None:
    """Plurality among the candidates, ties at random."""
    for request, action in answers:
        t.emit("mayor_ballot", actor=request.seat, target=choice_of(action))
    tied, _ = leaders(choice_of(action) for _, action in answers)
    t.state.mayor = t.pick(tied)
    t.emit("mayor", target=t.state.mayor)


def ask_succession(s: State, step: Step) -> tuple[Request, ...]:
    return (ask(s, step, step.order[0], "succession", s.living()),) if s.present else ()


def succession(t: Turn, step: Step, answers: Answers) -> None:
    """The dead mayor names the next one."""
    t.state.mayor = choice_of(answers[0][1]) if answers else NOBODY
    if answers:
        t.emit("mayor", actor=step.order[0], target=t.state.mayor)


# --- discussion -----------------------------------------------------------------------------------------------


def discussion(t: Turn, step: Step, answers: Answers) -> None:
    """Open the configured form of discussion."""
    s = t.state
    config = s.config
    living = s.living()
    form = config.discussion
    if form == "round_robin":
        start = t.key("order") % len(living)
        order = living[start:] + living[:start]
        t.emit("order", MODERATOR, data={"order": list(order)})
        t.push(Step("speech", order=order * config.speech_rounds))
    elif form == "random_order":
        t.push(Step("speech", order=t.order(living) * config.speech_rounds))
    elif form == "simultaneous":
        t.push(*(Step("speeches", round=i) for i in range(config.speech_rounds)))
    elif form == "bidding":
        t.push(Step("bid"))
    elif form == "free":
        t.push(Step("talk", order=t.order(living), told=(0,) * s.n))


def say(t: Turn, request: Request, action: Action, kind: str = "speech") -> None:
    """Log a public speech and remember whom it was about."""
    s = t.state
    t.emit(kind, EVERYONE, request.seat, text=action.text, acts=action.acts)
    s.last_speaker = request.seat
    if s.config.discussion == "bidding":
        pool = lexicon(s.config.lexicon).names
        words = set(re.findall(r"\w+", action.text))
        subjects = {act.subject for act in action.acts}
        s.mentioned = tuple(i for i in range(s.n) if i in subjects or pool[s.names[i]] in words)


def ask_speech(s: State, step: Step) -> tuple[Request, ...]:
    return (Request(step.order[step.turn], "speech", (), True, s.day, s.phase),)


def speech(t: Turn, step: Step, answers: Answers) -> None:
    """One speech of a fixed order."""
    request, action = answers[0]
    say(t, request, action)
    if step.turn + 1 < len(step.order):
        t.push(Step("speech", step.order, step.turn + 1))
    if t.state.config.shadow_ballots:
        t.push(Step("shadow", turn=step.turn))


def ask_speeches(s: State, step: Step) -> tuple[Request, ...]:
    return tuple(ask(s, step, i, "speech", speaks=True) for i in s.living())


def speeches(t: Turn, step: Step, answers: Answers) -> None:
    """Everyone speaks at once; all hear all of it afterwards."""
    for request, action in answers:
        say(t, request, action)


def ask_bid(s: State, step: Step) -> tuple[Request, ...]:
    return tuple(ask(s, step, i, "bid", range(5), ordered=True) for i in s.living() if i != s.last_speaker)


def bid(t: Turn, step: Step, answers: Answers) -> None:
    """The highest bid speaks; among equals those just spoken about come first, then chance decides."""
    s = t.state
    for request, action in answers:
        t.emit("bid", MODERATOR, actor=request.seat, value=str(action.option))
    if not answers:
        return
    top = max(choice_of(action) for _, action in answers)
    tied = tuple(request.seat for request, action in answers if choice_of(action) == top)
    winner = t.pick(tuple(i for i in tied if i in s.mentioned) or tied)
    if step.turn + 1 < s.config.speech_turns:
        t.push(Step("bid", turn=step.turn + 1))
    t.push(Step("speech", order=(winner,)))


def ask_talk(s: State, step: Step) -> tuple[Request, ...]:
    return (ask(s, step, step.order[step.turn], "speech", (SPEAK, SKIP, OVER), speaks=True, ordered=True),)


def talk(t: Turn, step: Step, answers: Answers) -> None:
    """One turn of a free discussion; `told` counts utterances by seat, `among` holds who is over."""
    s = t.state
    config = s.config
    told, over = step.told, step.among
    request, action = answers[0]
    seat = request.seat
    if action.option == SPEAK:
        say(t, request, action)
        told = (*told[:seat], told[seat] + 1, *told[seat + 1 :])
    else:
        t.emit("silence", actor=seat, value="over" if action.option == OVER else "skip")
        if action.option == OVER:
            over = (*over, seat)
    after = (
        [Step("shadow", turn=step.turn, round=step.round)]
        if config.shadow_ballots and action.option == SPEAK
        else []
    )
    order, turn, cycle = step.order, step.turn + 1, step.round
    if turn >= len(order):
        turn, cycle = 0, cycle + 1
        order = tuple(i for i in order if i not in over and told[i] < config.free_per_seat)
    # Two cycles more than anyone can speak in: skipping is free but does not go on for ever.
    if order and cycle < config.free_per_seat + 2 and sum(told) < config.free_per_day:
        after.append(Step("talk", order, turn, told, over, round=cycle))
    t.push(*after)


def ask_shadow(s: State, step: Step) -> tuple[Request, ...]:
    return tuple(ask(s, step, i, "shadow_ballot", ballot_options(s, i, s.living())) for i in s.living())


def shadow(t: Turn, step: Step, answers: Answers) -> None:
    """Private ballots without effect."""
    for request, action in answers:
        t.emit("shadow_ballot", MODERATOR, actor=request.seat, target=choice_of(action))


# --- ballot ---------------------------------------------------------------------------------------------------


def ballot_options(s: State, voter: int, among: tuple[int, ...]) -> tuple[int, ...]:
    """Whom `voter` may vote for: not itself unless the rules say so; `NOBODY` where it may abstain."""
    options = list(among)
    if not s.config.ballot_self and voter in options:
        options.remove(voter)
    if s.config.ballot_abstain:
        options.append(NOBODY)
    return tuple(options)


def ask_ballot(s: State, step: Step) -> tuple[Request, ...]:
    among = step.among or s.present
    if s.config.ballot == "simultaneous":
        return tuple([ask(s, step, i, "ballot", ballot_options(s, i, among)) for i in s.present])
    if not step.order:
        return ()
    voter = step.order[step.turn]
    return (ask(s, step, voter, "ballot", ballot_options(s, voter, among)),)


def ballot(t: Turn, step: Step, answers: Answers) -> None:
    """Collect ballots, all at once or one after another, then count."""
    s = t.state
    audience = EVERYONE if s.config.ballot_public else MODERATOR
    cast = [choice_of(action) for _, action in answers]
    for (request, _), target in zip(answers, cast, strict=True):
        t.emit("ballot", audience, request.seat, target)
    order, told = s.present, (*step.told, *cast)
    if s.config.ballot == "sequential":
        order = step.order or t.order(s.present)
        if len(told) < len(order):
            t.push(Step("ballot", order, len(told), told, step.among, round=step.round))
            return
    count(t, step, dict(zip(order, told, strict=True)))


def count(t: Turn, step: Step, votes: dict[int, int]) -> None:
    """Who is exiled: the leader, else by revote, mayor, chance, or nobody."""
    s = t.state
    config = s.config
    tied, top = leaders(votes.values())
    if config.ballot_rule == "majority":
        exile(t, tied[0] if top * 2 > len(votes) else NOBODY)
    elif not tied:
        exile(t, NOBODY)
    elif len(tied) > 1 and step.round < config.revotes:
        t.emit("tie", data={"tied": list(tied)})
        t.push(Step("ballot", among=tied, round=step.round + 1))
    elif len(tied) > 1 and s.mayor in s.present:
        if votes.get(s.mayor) in tied:
            exile(t, votes[s.mayor])
        else:
            t.push(Step("tie_break", order=(s.mayor,), among=tied))
    else:
        exile(t, t.pick(tied) if config.tie == "random" or len(tied) == 1 else NOBODY)


def ask_tie_break(s: State, step: Step) -> tuple[Request, ...]:
    return (ask(s, step, step.order[0], "tie_break", step.among),)


def tie_break(t: Turn, step: Step, answers: Answers) -> None:
    """The mayor decides between the tied seats."""
    exile(t, choice_of(answers[0][1]))


def exile(t: Turn, seat: int) -> None:
    """Exile a seat, or nobody; a jester who is exiled wins alone."""
    s = t.state
    if seat == NOBODY:
        t.emit("exile", target=NOBODY)
        return
    role = s.roles[seat]
    t.emit("exile", target=seat, value=shown_role(role, s.config.reveal_day))
    mediums = tuple(i for i in s.living("medium") if i != seat)
    if mediums:
        t.emit("sense", mediums, target=seat, value=species_of(role))
    if role == "jester":
        s.present = tuple(i for i in s.present if i != seat)
        t.finish("jester", (seat,), "the jester was exiled")
    else:
        bury(t, (seat,), "exile")


# --- leaving the game -----------------------------------------------------------------------------------------


def ask_shoot(s: State, step: Step) -> tuple[Request, ...]:
    return (ask(s, step, step.order[0], "shoot", (*s.living(), NOBODY)),) if s.present else ()


def shoot(t: Turn, step: Step, answers: Answers) -> None:
    """A dead hunter may take one seat along."""
    s = t.state
    for request, action in answers:
        target = choice_of(action)
        role = None if target == NOBODY else shown_role(s.roles[target], s.config.reveal_day)
        t.emit("shoot", actor=request.seat, target=target, value=role)
        if target != NOBODY:
            bury(t, (target,), "shot")


def ask_last_words(s: State, step: Step) -> tuple[Request, ...]:
    return (ask(s, step, step.order[0], "last_words", speaks=True),)


def last_words(t: Turn, step: Step, answers: Answers) -> None:
    """The seat that left speaks once more."""
    say(t, *answers[0], kind="last_words")


def ask_summary(s: State, step: Step) -> tuple[Request, ...]:
    return tuple(ask(s, step, i, "summary", speaks=True) for i in s.living())


def summary(t: Turn, step: Step, answers: Answers) -> None:
    """Each living seat's note to itself."""
    for request, action in answers:
        t.emit("summary", (request.seat,), actor=request.seat, text=action.text)


def check(t: Turn, step: Step, answers: Answers) -> None:
    """Has a side won? The village is looked at first, so the last werewolf and the last villager dying together
    is a village win."""
    s = t.state
    if "hunter" in s.roles and any(later.kind == "shoot" for later in s.agenda):
        return  # a hunter who died in the same event has not shot yet; its own check follows
    wolves, living = len(s.wolves()), len(s.present)

    if wolves == 0:
        winner, reason = "village", "no werewolf lives"
    elif wolves >= living - wolves:
        winner, reason = "werewolf", "as many werewolves as others live"
    elif s.config.edge_kill and not s.living("villager"):
        winner, reason = "werewolf", "no plain villager lives"
    else:
        return
    t.finish(winner, [i for i, role in enumerate(s.roles) if faction_of(role) == winner], reason)
