"""Scripted players of Werewolf with character: every one can state its full distribution over actions.

A policy is a pure function of (style, private knowledge, public evidence, request). Players differ in a hidden `Style`;
their acts carry evidence about their role on several rungs: habits of a speaker (rung 1: werewolves accuse less and
defend more), relations (rung 2: whom a werewolf spares), logic (rung 3: rival seers, refuted claims).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from agents.werewolf.styles import CHARACTERS, STYLES, Style
from games import chance
from games.base import Observation
from games.records import NOBODY, Action, Reply, Request, SpeechAct, SpeechActKind
from games.werewolf.discussion import SPEAK
from games.werewolf.evidence import Evidence, Knowledge, gather
from games.werewolf.words.acts import say
from games.werewolf.words.text import Words, words_of

Distribution = list[tuple[Action, float]]


def softmax(scores: Sequence[float], sharpness: float) -> list[float]:
    """Probabilities proportional to exp(sharpness * score)."""
    top = max(scores)
    weights = [math.exp(sharpness * (score - top)) for score in scores]
    total = sum(weights)
    return [weight / total for weight in weights]


def suspicion(style: Style, me: Knowledge, seen: Evidence) -> list[float]:
    """How much each seat looks like a werewolf to `me`, in nats; what it was told for certain counts +-8."""
    scores = [0.0] * seen.n
    crowd = style.wolf_follow if me.role == "werewolf" else style.follow
    seers = [i for i in range(seen.n) if seen.claims[i] == "seer"]
    for j in range(seen.n):
        score = crowd * seen.today[j]
        for k, shown in enumerate(seen.revealed):
            if shown is None:
                continue
            # Rung 2: how j has treated players whose side is known now.
            side = 1.0 if shown == "werewolf" else -1.0
            hostile = seen.accusations[j][k] + seen.ballots[j][k]
            score += side * (0.8 * seen.defences[j][k] - 0.6 * hostile)
        score += 0.7 * (seen.accusations[j][me.seat] + seen.ballots[j][me.seat])
        # Rung 3: reports of seers, refuted seers, rival seers.
        for reporter, subjects in seen.reports.items():
            refuted = seen.revealed[reporter] not in (None, "seer") or any(
                seen.revealed[s] is not None and (seen.revealed[s] == "werewolf") != wolf
                for s, wolf in subjects.items()
            )
            if me.seat in subjects and subjects[me.seat] != (me.role == "werewolf"):
                refuted = True
            if me.role == "seer" and reporter != me.seat:
                refuted = True
            if j in subjects and reporter != j:
                weight = 0.0 if refuted else (3.0 if len(seers) < 2 else 1.2)
                score += weight if subjects[j] else -weight
            if j == reporter:
                score += 2.5 if refuted else (0.8 if len(seers) > 1 else -1.0)
        scores[j] = score
    for j, wolf in me.results:
        scores[j] = 8.0 if wolf else -8.0
    for j in me.partners:
        scores[j] = 8.0 if me.role == "werewolf" else -8.0
    return scores


def speech(style: Style, me: Knowledge, seen: Evidence) -> list[tuple[tuple[SpeechAct, ...], float]]:
    """Distribution over what is said: an opening (a claim with or without a report), then one stance."""
    out: dict[tuple[SpeechAct, ...], float] = {}
    for opening, p in openings(style, me, seen):
        for stance, q in stances(style, me, seen):
            if p * q > 0:
                acts = opening + stance
                out[acts] = out.get(acts, 0.0) + p * q
    return list(out.items())


def openings(style: Style, me: Knowledge, seen: Evidence) -> list[tuple[tuple[SpeechAct, ...], float]]:
    """Claims and reports with which a speech may begin."""
    mine = seen.reports.get(me.seat, {})
    claim = () if seen.claims[me.seat] == "seer" else (SpeechAct("claim_role", role="seer"),)

    def report(subject: int, wolf: bool) -> SpeechAct:
        return SpeechAct("report_inspection", subject, "werewolf" if wolf else "human")

    if me.role == "seer":
        new = [(j, wolf) for j, wolf in me.results if j not in mine]
        if not new:
            return [((), 1.0)]
        # A seer reports a werewolf at once more often than an innocent.
        p = style.reveal if any(wolf for _, wolf in new) or claim == () else 0.4 * style.reveal
        return [((*claim, *(report(j, wolf) for j, wolf in new)), p), ((), 1.0 - p)]
    if me.role == "werewolf" and style.fake_seer and (claim == () or "seer" not in seen.claims):
        targets = [
            j
            for j in range(seen.n)
            if seen.alive[j] and j != me.seat and j not in me.partners and j not in mine
        ]
        friends = [j for j in me.partners if seen.alive[j] and j not in mine]
        p = style.fake_seer if claim else 0.7
        if len(mine) < seen.day and targets:
            options = [(j, True) for j in targets] + [(j, False) for j in friends]
            weights = softmax([suspicion_of_crowd(seen, j) if wolf else 0.5 for j, wolf in options], 1.0)
            lies = [((*claim, report(j, wolf)), p * w) for (j, wolf), w in zip(options, weights, strict=True)]
            return [*lies, ((), 1.0 - p)]
    if me.role == "villager" and style.bluff and claim and "seer" not in seen.claims:
        return [(claim, style.bluff), ((), 1.0 - style.bluff)]
    return [((), 1.0)]


def suspicion_of_crowd(seen: Evidence, seat: int) -> float:
    """How often a seat was accused today."""
    return 0.5 * seen.today[seat]


def stances(style: Style, me: Knowledge, seen: Evidence) -> list[tuple[tuple[SpeechAct, ...], float]]:
    """Accuse, defend, question or none, towards whom, and whether a vote is announced."""
    others = [j for j in range(seen.n) if seen.alive[j] and j != me.seat]
    if not others:
        return [((), 1.0)]
    scores = suspicion(style, me, seen)
    wolf = me.role == "werewolf"
    rates = (
        (style.wolf_accuse, style.wolf_defend, style.wolf_question)
        if wolf
        else (style.accuse, style.defend, style.question)
    )
    attack = [scores[j] for j in others]
    shield = [-scores[j] for j in others]
    if wolf:
        # A werewolf knows the truth: it follows the crowd against others and covers its partners.
        attack = [seen_by_all(style, seen, j) - (style.spare if j in me.partners else 0.0) for j in others]
        shield = [0.4 * seen.today[j] + (style.spare if j in me.partners else 0.0) for j in others]
    accuse = softmax(attack, style.sharpness)
    if wolf and style.bus and (partners := [j for j in others if j in me.partners]):
        accuse = [
            (1 - style.bus) * p + (style.bus / len(partners) if j in partners else 0.0)
            for j, p in zip(others, accuse, strict=True)
        ]
    out: list[tuple[tuple[SpeechAct, ...], float]] = [((), 1.0 - sum(rates))]
    defend, ask = softmax(shield, style.sharpness), softmax(attack, 0.5 * style.sharpness)
    for j, a, d, q in zip(others, accuse, defend, ask, strict=True):
        said = SpeechAct("accuse", j)
        out.append(((said,), rates[0] * a * (1.0 - style.announce)))
        out.append(((said, SpeechAct("announce_ballot", j)), rates[0] * a * style.announce))
        out.append(((SpeechAct("defend", j),), rates[1] * d))
        out.append(((SpeechAct("question", j),), rates[2] * q))
    return out


def seen_by_all(style: Style, seen: Evidence, seat: int) -> float:
    """How suspect a seat looks to a player who was told nothing, as used by werewolves."""
    score = style.wolf_follow * seen.today[seat]
    for reporter, subjects in seen.reports.items():
        if seat in subjects:
            score += 1.5 if subjects[seat] else -1.5
        if reporter == seat:
            score += 0.5
    return score


def ballot(style: Style, me: Knowledge, seen: Evidence, options: Sequence[int]) -> list[tuple[int, float]]:
    """Distribution over ballot options: suspicion, plus what was said today by the voter itself."""
    seats = [j for j in options if j != NOBODY]
    stay = style.abstain if NOBODY in options else 0.0
    if not seats:
        return [(NOBODY, 1.0)]
    scores = suspicion(style, me, seen)
    wolf = me.role == "werewolf"
    value = []
    for j in seats:
        base = seen_by_all(style, seen, j) if wolf else scores[j]
        if wolf and j in me.partners:
            # A partner with many accusers is voted out by characters that bus, and spared by the others.
            base -= style.spare * (1.0 - style.bus)
        if j == me.seat:
            base -= 6.0
        value.append(base + 0.8 * min(seen.accusations[me.seat][j], 2))
    p = softmax(value, 1.5 * style.sharpness)
    out = [(j, (1.0 - stay) * q) for j, q in zip(seats, p, strict=True)]
    return [*out, (NOBODY, stay)] if stay else out


def night_choice(
    style: Style, me: Knowledge, seen: Evidence, kind: str, options: Sequence[int]
) -> list[tuple[int, float]]:
    """Distribution over the targets of a night act, a shot, or an office."""
    scores = suspicion(style, me, seen)
    value = []
    for j in options:
        if j == NOBODY:
            value.append(1.5 if kind in ("poison", "shoot") else -1.0)
        elif kind == "night_kill":
            # Claimed seers and loud accusers first; never a partner while others can be chosen.
            noise = sum(seen.accusations[j][k] for k in (me.seat, *me.partners))
            loss = 6.0 if j in me.partners or j == me.seat else 0.0
            value.append((2.5 if seen.claims[j] == "seer" else 0.0) + 0.6 * noise - loss)
        elif kind in ("inspect", "poison", "shoot"):
            value.append(scores[j])
        elif kind in ("protect", "heal"):
            value.append(
                (2.0 if seen.claims[j] == "seer" else 0.0) + (0.5 if j == me.seat else 0.0) - 0.5 * scores[j]
            )
        else:  # elections and offices go to those least suspected
            value.append(-scores[j] + (0.5 if j == me.seat else 0.0))
    return list(zip(options, softmax(value, style.sharpness), strict=True))


def policy(style: Style, me: Knowledge, seen: Evidence, request: Request) -> Distribution:
    """The full distribution over actions (typed acts; their sentences are filled in by the player)."""
    kind, options = request.kind, request.options
    if kind in ("speech", "last_words"):
        option = SPEAK if options else None
        return [(Action(option, acts=acts), p) for acts, p in speech(style, me, seen)]
    if kind == "whisper":
        if not options:
            return [(Action(acts=(SpeechAct("accuse", j),)), p) for j, p in whisper_targets(style, me, seen)]
        return [(Action(j, acts=()), p) for j, p in night_choice(style, me, seen, "night_kill", options)]
    if kind == "summary":
        return [(Action(), 1.0)]
    if kind in ("ballot", "shadow_ballot", "tie_break"):
        return [(Action(j), p) for j, p in ballot(style, me, seen, options)]
    if kind == "bid":
        eager = 2.0 * (style.wolf_accuse if me.role == "werewolf" else style.accuse) + 0.8 * min(
            seen.today[me.seat], 3
        )
        return [
            (Action(b), p)
            for b, p in zip(options, softmax([-abs(b - 1 - eager) for b in options], 1.0), strict=True)
        ]
    if kind == "candidacy":
        run = 0.5 if me.role in ("werewolf", "seer") else 0.25
        return [(Action(1), run), (Action(0), 1.0 - run)]
    return [(Action(j), p) for j, p in night_choice(style, me, seen, kind, options)]


def whisper_targets(style: Style, me: Knowledge, seen: Evidence) -> list[tuple[int, float]]:
    """Distribution over the night-kill target that a werewolf proposes to its partners."""
    targets = [j for j in range(seen.n) if seen.alive[j] and j != me.seat and j not in me.partners]
    return night_choice(style, me, seen, "night_kill", targets) if targets else []


def random_policy(me: Knowledge, seen: Evidence, request: Request) -> Distribution:
    """Uniform over options; speeches are one uniform act about a living other, or silence."""
    if request.speaks and not (request.kind == "speech" and request.options):
        others = [j for j in range(seen.n) if seen.alive[j] and j != me.seat]
        kinds: tuple[SpeechActKind, ...] = ("accuse", "defend", "question")
        said: list[tuple[SpeechAct, ...]] = [(), *((SpeechAct(kind, j),) for kind in kinds for j in others)]
        choices = request.options or (None,)
        p = 1.0 / (len(said) * len(choices))
        return [(Action(option, acts=acts), p) for option in choices for acts in said]
    return [(Action(option), 1.0 / len(request.options)) for option in request.options]


def draw(options: Distribution, observation: Observation) -> Action:
    """One of the actions drawn with the observation's own key, its acts put into sentences."""
    action = options[chance.draw([p for _, p in options], observation.seed)][0]
    return in_sentences(action, words_of(observation.config, observation.records)) if action.acts else action


def in_sentences(action: Action, words: Words) -> Action:
    """An action whose acts are also its text."""
    return Action(action.option, say(action.acts, words.names, words.lex), action.acts)


class Drawn(ABC):
    """A player whose choices are drawn from the distribution that it states."""

    @abstractmethod
    def distribution(self, observation: Observation) -> Distribution:
        """Every action that it may take and its probability."""

    def choose(self, observation: Observation) -> Action:
        """One action drawn with the observation's own key, its acts put into sentences."""
        return draw(self.distribution(observation), observation)

    async def act(self, observation: Observation) -> Reply:
        """The drawn action as a reply."""
        return Reply(self.choose(observation))


class Scripted(Drawn):
    """A scripted player of one character (a key of `STYLES`, or `random`)."""

    def __init__(self, name: str, style: str | Style) -> None:
        if isinstance(style, str) and style not in CHARACTERS:
            raise ValueError(
                f"no scripted player is called {style!r}; there are: random, {', '.join(STYLES)} (and bayesian)"
            )
        self.name = name
        self.style = STYLES.get(style) if isinstance(style, str) else style

    def distribution(self, observation: Observation) -> Distribution:
        """Every action that it may take and its probability."""
        request = observation.request
        seen, me = gather(observation.config, observation.records, request.seat)
        if self.style is None:
            return random_policy(me, seen, request)
        return policy(self.style, me, seen, request)
