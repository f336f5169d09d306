"""The Bayesian player: acts on the exact posterior of everything that it has seen.

As a villager it accuses and votes for whom it believes a werewolf, inspects whose side it knows least, protects
probable seers. As a werewolf it predicts what an outsider would believe: it says what leaves its pack least suspect,
votes for whoever is suspected already, and kills probable seers. All choices are softmaxes, so that its full
distribution over actions can be stated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec
import numpy as np

from agents.werewolf.observer import Mix, Observer
from agents.werewolf.scripted import Distribution, Drawn
from games.base import Observation
from games.records import NOBODY, Action, Event, Record, Request, SpeechAct
from games.werewolf.discussion import SPEAK
from games.werewolf.roles import species_of

COVER, PUSH = 2.0, 2.0
"""As a werewolf: value of a nat of suspicion of its pack, and value of an accusation that others may follow."""

KEPT = 64
"""Observers kept between decisions (views of different seats and games)."""


class Mind(msgspec.Struct):
    """The player's beliefs at one request."""

    seat: int
    role: str
    living: list[int]
    p: np.ndarray
    """Its own probability `(n_seats,)` that each seat is a werewolf."""
    roles: dict[str, np.ndarray]
    """role -> its own probability `(n_seats,)`."""
    outside: np.ndarray
    """An outsider's probability `(n_seats,)`, from public information alone."""
    pack: list[int]
    """Living werewolves, itself among them, if it is one."""
    observer: Observer


class Bayesian(Drawn):
    """A player that acts on the posterior over roles.

    Args:
        name: its roster name.
        mix: its prior over the characters of the others (all shipped ones alike by default).
        sharpness: how strongly log-odds decide; 0 chooses uniformly.
        talk: how often it accuses when it speaks for the village.
        lapse: the share of others' acts that it assumes to follow no policy (so that it can play with strangers).
    """

    def __init__(
        self,
        name: str,
        mix: Mix | None = None,
        sharpness: float = 2.0,
        talk: float = 0.8,
        lapse: float = 0.02,
    ) -> None:
        self.name = name
        self.mix, self.sharpness, self.talk, self.lapse = mix, sharpness, talk, lapse
        self._kept: OrderedDict[tuple[str, int], tuple[list[Record], Observer]] = OrderedDict()

    def distribution(self, observation: Observation) -> Distribution:
        """Every action that it may take and its probability."""
        request = observation.request
        mind = self._think(observation)
        kind, options = request.kind, request.options
        if kind in ("speech", "last_words"):
            option = SPEAK if options else None
            return [(Action(option, acts=acts), p) for acts, p in self._speech(mind, observation, request)]
        if kind == "whisper" and not options:
            targets = [j for j in mind.living if j not in mind.pack]
            p = self._softmax(self._kill_values(mind, targets))
            return [(Action(acts=(SpeechAct("accuse", j),)), q) for j, q in zip(targets, p, strict=True)]
        if kind == "summary":
            return [(Action(), 1.0)]
        if kind == "bid":
            return [
                (Action(b), q) for b, q in zip(options, self._softmax([b / 2 for b in options]), strict=True)
            ]
        if kind == "candidacy":
            return [(Action(option), 0.5) for option in options]
        p = self._softmax(self._values(mind, kind, options))
        return [(Action(j), q) for j, q in zip(options, p, strict=True)]

    def _softmax(self, values: Sequence[float]) -> list[float]:
        x = self.sharpness * np.asarray(values, dtype=float)
        e = np.exp(x - x.max())
        return [float(q) for q in e / e.sum()]

    def _think(self, observation: Observation) -> Mind:
        records, seat = list(observation.records), observation.request.seat
        key = (observation.game_id, seat)
        past, observer = self._kept.pop(key, ([], None))
        if observer is None or records[: len(past)] != past:
            past, observer = [], Observer("exact", observation.config, self.mix, lapse=self.lapse)
        for record in records[len(past) :]:
            observer.update(record)
        self._kept[key] = (records, observer)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        belief = observer.beliefs(seat)
        roles = {role: belief[:, r] for r, role in enumerate(observer.roles)}
        role = observer.role[seat] or ""
        living = [j for j in range(observer.n) if observer.seen.alive[j]]
        p = roles["werewolf"]
        pack = [j for j in living if p[j] > 0.999] if role == "werewolf" else []
        return Mind(seat, role, living, p, roles, observer.p_werewolf(None), pack, observer)

    def _values(self, mind: Mind, kind: str, options: Sequence[int]) -> list[float]:
        """How good each option is; differences count."""
        return [self._value(mind, kind, j) for j in options]

    def _value(self, mind: Mind, kind: str, j: int) -> float:
        wolf = mind.role == "werewolf"
        if kind == "night_kill" or kind == "whisper":
            return self._kill_values(mind, [j])[0] if j != NOBODY else -3.0
        if kind == "inspect":
            return 8.0 * entropy(mind.p[j])
        if kind in ("protect", "heal"):
            seer = mind.roles.get("seer", np.zeros(len(mind.p)))
            return 0.3 if j == NOBODY else 3.0 * float(seer[j] - mind.p[j])
        if kind in ("ballot", "shadow_ballot", "tie_break", "poison", "shoot"):
            if j == NOBODY:
                return -1.5 if kind in ("ballot", "shadow_ballot") else 0.5
            own = 3.0 if j == mind.seat else 0.0
            return (
                log_odds(mind.outside[j]) - (3.0 if j in mind.pack else 0.0) - own
                if wolf
                else log_odds(mind.p[j]) - own
            )
        return (1.0 if j == mind.seat else 0.0) - log_odds(mind.p[j])  # offices

    def _kill_values(self, mind: Mind, seats: Sequence[int]) -> list[float]:
        """Value of killing each seat: probable seers and doctors, and those whom nobody suspects, are worth most."""
        out = []
        for j in seats:
            power = 3.0 * mind.roles["seer"][j] if "seer" in mind.roles else 0.0
            power += mind.roles["doctor"][j] if "doctor" in mind.roles else 0.0
            out.append(float(power - mind.outside[j] - (5.0 if j in mind.pack else 0.0)))
        return out

    def _speech(
        self, mind: Mind, observation: Observation, request: Request
    ) -> list[tuple[tuple[SpeechAct, ...], float]]:
        others = [j for j in mind.living if j != mind.seat]
        if not others:
            return [((), 1.0)]
        if mind.pack:
            return self._cover(mind, request, others)
        opening = self._report(mind, observation)
        p = self._softmax([log_odds(mind.p[j]) for j in others])
        q = self._softmax([-log_odds(mind.p[j]) for j in others])
        defend = 0.5 * (1.0 - self.talk)
        out = [(opening, 1.0 - self.talk - defend)]
        for j, a, d in zip(others, p, q, strict=True):
            out.append(((*opening, SpeechAct("accuse", j)), self.talk * a))
            out.append(((*opening, SpeechAct("defend", j)), defend * d))
        return out

    def _report(self, mind: Mind, observation: Observation) -> tuple[SpeechAct, ...]:
        """A seer tells what it has not told yet."""
        if mind.role != "seer":
            return ()
        seen = mind.observer.seen
        told = seen.reports.get(mind.seat, {})
        results = {
            r.target: r.value == "werewolf" or species_of(r.value or "") == "werewolf"
            for r in observation.records
            if isinstance(r, Event) and r.kind == "inspect" and r.target is not None and r.target not in told
        }
        if not results:
            return ()
        claim = () if seen.claims[mind.seat] == "seer" else (SpeechAct("claim_role", role="seer"),)
        return (
            *claim,
            *(
                SpeechAct("report_inspection", j, "werewolf" if wolf else "human")
                for j, wolf in results.items()
            ),
        )

    def _cover(
        self, mind: Mind, request: Request, others: Sequence[int]
    ) -> list[tuple[tuple[SpeechAct, ...], float]]:
        """What leaves the pack least suspect in an outsider's eyes."""
        said: list[tuple[SpeechAct, ...]] = [()]
        said += [(SpeechAct(kind, j),) for kind in ("accuse", "defend", "question") for j in others]
        said += self._lies(mind, others)
        values = []
        for acts in said:
            fork = mind.observer.fork()
            fork.update(Event(0, request.kind, None, request.day, request.phase, mind.seat, acts=acts))
            p = fork.p_werewolf(None)
            value = -COVER * float(sum(log_odds(p[j]) for j in mind.pack)) / len(mind.pack)
            # Others follow: an accusation of a villager who is suspect already helps to exile it.
            value += sum(
                PUSH + 0.5 * PUSH * log_odds(p[a.subject])
                for a in acts
                if a.subject is not None
                and a.kind in ("accuse", "report_inspection")
                and a.subject not in mind.pack
            )
            values.append(value)
        return list(zip(said, self._softmax(values), strict=True))

    def _lies(self, mind: Mind, others: Sequence[int]) -> list[tuple[SpeechAct, ...]]:
        """Claims to be the seer with one report a day, while nobody else claims it."""
        seen = mind.observer.seen
        mine = seen.reports.get(mind.seat, {})
        claimed = seen.claims[mind.seat] == "seer"
        if "seer" not in mind.roles or len(mine) >= seen.day or ("seer" in seen.claims and not claimed):
            return []
        opening = () if claimed else (SpeechAct("claim_role", role="seer"),)
        return [
            (*opening, SpeechAct("report_inspection", j, "human" if j in mind.pack else "werewolf"))
            for j in others
            if j not in mine
        ]


def log_odds(p: float) -> float:
    """log(p / (1 - p)) of a probability kept between 0.001 and 0.999."""
    p = min(max(float(p), 1e-3), 1 - 1e-3)
    return float(np.log(p / (1 - p)))


def entropy(p: float) -> float:
    """Entropy of a yes-or-no question, in nats."""
    p = min(max(float(p), 1e-9), 1 - 1e-9)
    return float(-p * np.log(p) - (1 - p) * np.log1p(-p))
