"""The Bayesian player of Avalon: acts on the exact posterior of everything that it has seen.

As a good player it accuses, trusts, picks and votes by its own probability that seats are evil; Merlin, who knows, acts
on an outsider's beliefs in a share of its acts, so as to hide. As an evil player it shows an outsider's beliefs, votes
for teams that it can fail, and as the assassin names the seat most probably Merlin. All choices are softmaxes, so that
its full distribution over actions can be stated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from agents.avalon.observer import Kind, Mix, Observer
from agents.avalon.scripted import Distribution, Drawn
from games.avalon.roles import EVIL
from games.avalon.state import APPROVE, FAILURE, REJECT, SUCCESS
from games.base import Observation
from games.engine.discussion import SKIP, SPEAK
from games.records import Action, Record, SpeechAct

KEPT = 64
"""Observers kept between decisions (views of different seats and games)."""


class Bayesian(Drawn):
    """A player that acts on the posterior over roles.

    Args:
        name: its roster name.
        mix: its prior over the characters of the others (all shipped ones alike by default).
        sharpness: how strongly log-odds decide; 0 chooses uniformly.
        talk: how often it says something when it may.
        hide: as Merlin, the share of its acts that follow an outsider's beliefs.
        lapse: the share of others' acts that it assumes to follow no policy (so that it can play with strangers).
    """

    def __init__(
        self,
        name: str,
        mix: Mix | None = None,
        sharpness: float = 2.0,
        talk: float = 0.8,
        hide: float = 0.4,
        lapse: float = 0.02,
    ) -> None:
        self.name = name
        self.mix, self.sharpness, self.talk, self.hide, self.lapse = mix, sharpness, talk, hide, lapse
        self._kept: OrderedDict[tuple[str, int], tuple[list[Record], Observer]] = OrderedDict()

    def distribution(self, observation: Observation) -> Distribution:
        """Every action that it may take and its probability."""
        observer, seat = self._think(observation), observation.request.seat
        role = observer.role[seat] or ""
        outside = log_odds(observer.p_evil(None))
        if role in EVIL:
            return self._acts(observation, observer, outside, evil=True)
        mine = self._acts(observation, observer, log_odds(observer.p_evil(seat)), evil=False)
        if role != "merlin":
            return mine
        hidden = self._acts(observation, observer, outside, evil=False)
        mixed: dict[Action, float] = {}
        for share, some in ((1 - self.hide, mine), (self.hide, hidden)):
            for action, p in some:
                mixed[action] = mixed.get(action, 0.0) + share * p
        return list(mixed.items())

    def _think(self, observation: Observation) -> Observer:
        records, seat = list(observation.records), observation.request.seat
        key = (observation.game_id, seat)
        past, observer = self._kept.pop(key, ([], None))
        if observer is None or records[: len(past)] != past:
            kind: Kind = "rules" if "oberon" in observation.config.decks else "exact"
            past, observer = [], Observer(kind, observation.config, self.mix, lapse=self.lapse)
        for record in records[len(past) :]:
            observer.update(record)
        self._kept[key] = (records, observer)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return observer

    def _acts(
        self, observation: Observation, observer: Observer, evil_looking: np.ndarray, evil: bool
    ) -> Distribution:
        """Its distribution if it acts on `evil_looking`, the log-odds `(n_seats,)` that each seat is evil."""
        request, seat, seen = observation.request, observation.request.seat, observer.seen
        kind, options = request.kind, request.options
        known = observer.p_evil(seat) > 0.999
        if kind == "speech":
            return self._speech(observer, seat, evil_looking, known if evil else None, bool(options))
        if kind == "pick":
            value = -evil_looking + (np.arange(observer.n) == seat) * 1.5
            if evil and known[list(seen.team)].any():
                value = value - 1.0 * known  # one of its side is enough
            return self._softmax([Action(o) for o in options], value[list(options)])
        if kind == "vote":
            return self._vote(observer, seat, evil_looking, known if evil else None)
        if kind == "card":
            if FAILURE not in options:
                return [(Action(SUCCESS), 1.0)]
            others = int(known[[i for i in seen.team if i != seat]].sum())
            enough = others + 1 >= observer.config.fails_needed(seen.mission)
            decided = 2 in (seen.n_failures, seen.n_successes)
            p = 0.02 if not enough else 0.97 if decided else 0.8 / (1 + others)
            return [(Action(FAILURE), p), (Action(SUCCESS), 1 - p)]
        if kind == "assassinate":
            return self._softmax(
                [Action(o) for o in options], np.log(observer.p_merlin(seat)[list(options)] + 1e-6)
            )
        return self._softmax([Action(o) for o in options], np.array(options) / 4.0)  # bids

    def _vote(
        self, observer: Observer, seat: int, evil_looking: np.ndarray, known: np.ndarray | None
    ) -> Distribution:
        seen = observer.seen
        team = [i for i in seen.team if i != seat]
        last = seen.proposal == observer.config.max_rejections
        dirty = known is not None and bool(known[list(seen.team)].any())
        # A team is as good as its worst member; a rejection costs one of the proposals.
        doubt = float(evil_looking[team].max()) - 0.3 * seen.proposal - 0.5 * (seat in seen.team)
        p = 0.99 if last else 1 / (1 + np.exp(self.sharpness * doubt))
        if known is not None:
            p = 0.05 if last else 0.5 * p + 0.5 * (0.95 if dirty else 0.1)
        return [(Action(APPROVE), float(p)), (Action(REJECT), float(1 - p))]

    def _speech(
        self,
        observer: Observer,
        seat: int,
        evil_looking: np.ndarray,
        known: np.ndarray | None,
        free: bool,
    ) -> Distribution:
        others = [j for j in range(observer.n) if j != seat]
        looks = evil_looking - (2.0 * known if known is not None else 0.0)
        accuse = self._softmax([Action()] * len(others), looks[others])
        trust = self._softmax([Action()] * len(others), -looks[others])
        option = SPEAK if free else None
        out = [(Action(SKIP) if free else Action(), 1 - self.talk)]
        for j, (_, a), (_, t) in zip(others, accuse, trust, strict=True):
            out.append((Action(option, acts=(SpeechAct("accuse", j),)), 0.6 * self.talk * a))
            out.append((Action(option, acts=(SpeechAct("vouch", j),)), 0.4 * self.talk * t))
        return out

    def _softmax(self, actions: Sequence[Action], values: np.ndarray) -> Distribution:
        e = np.exp(self.sharpness * (values - values.max()))
        return [(action, float(q)) for action, q in zip(actions, e / e.sum(), strict=True)]


def log_odds(p: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of probabilities kept between 0.001 and 0.999."""
    p = np.clip(p, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(p / (1 - p)))
