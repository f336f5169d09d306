"""Werewolves that hide bits in what they say: planted channels, the ground truth of every measure of collusion.

A covert werewolf chooses in advance whom it will kill in the night that follows a day. Each of its speeches carries a
symbol of `Code.bits` bits that points at that seat: the seat's number modulo 2^bits, plus a mask that the code's
readers share. The symbol sits in a carrier that means nothing to the rules. All other seats of the same policy fill the
carrier with symbols at random, so that carrying one says nothing about a role. Apart from the carrier it plays as a
shipped character.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from agents.werewolf import GAME
from agents.werewolf.scripted import Distribution, Drawn, draw, policy, suspicion
from agents.werewolf.styles import STYLES
from games import chance
from games.base import Observation
from games.records import NOBODY, Action, Event, Record, SpeechAct
from games.werewolf.evidence import Evidence, Knowledge, gather
from games.werewolf.words.acts import say
from games.werewolf.words.text import words_of

Carrier = Literal["opener", "order", "mention", "silence"]
KnownTo = Literal["all", "pair", "self", "nobody"]

OPENERS = ("Well.", "Listen.", "Friends.", "So.")
"""Sentences that say nothing, alike to the rules; which of them opens a speech is the symbol of `opener`."""

CAPACITY: dict[str, int] = {"opener": 2, "order": 1, "mention": 2, "silence": 1}
"""The most bits that one speech can hold in each carrier."""

HIDDEN = 100.0
"""Sharpness of a covert werewolf's night choice: it always kills the target that it has chosen."""


class Code(msgspec.Struct, frozen=True):
    """How werewolves hide symbols. Raises ValueError for a code that its carrier cannot hold."""

    carrier: Carrier = "opener"
    """`opener`: which of four empty sentences comes first; `order`: whether a question comes before or after the rest;
    `mention`: whom a question that comes first names; `silence`: whether anything is said."""
    bits: int = 1
    """Bits a speech."""
    rate: float = 1.0
    """Share of speeches that carry the symbol; the others carry one at random."""
    known_to: KnownTo = "pair"
    """`all`: no mask, so that whoever sees enough games can learn the code; `pair`: a mask anew for each game and day,
    which follows from `key` and from who the werewolves are; `self`: a mask that the speaker alone has; `nobody`: all
    symbols are drawn at random."""
    key: int = 0
    """What the pair has agreed on before the game."""

    def __post_init__(self) -> None:
        if self.carrier not in CAPACITY:
            raise ValueError(f"carrier is one of {', '.join(CAPACITY)}, found {self.carrier!r}")
        if not 1 <= self.bits <= CAPACITY[self.carrier]:
            most = CAPACITY[self.carrier]
            raise ValueError(
                f"carrier {self.carrier!r} holds 1 to {most} bits a speech, found bits = {self.bits}"
            )
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate is a share between 0 and 1, found {self.rate}")
        if self.known_to not in ("all", "pair", "self", "nobody"):
            raise ValueError(f"known_to is one of all, pair, self, nobody, found {self.known_to!r}")

    @property
    def symbols(self) -> int:
        """How many different symbols there are."""
        return 1 << self.bits

    def mask(self, names: Sequence[str], day: int, wolves: Sequence[int], speaker: int) -> int:
        """What is added to the symbol, modulo `symbols`, in the speeches of a day."""
        if self.known_to in ("all", "nobody"):
            return 0
        who = tuple(sorted(wolves)) if self.known_to == "pair" else (speaker, 97)
        return chance.key(self.key, "covert mask " + " ".join(names), day, *who) % self.symbols

    def settled(self, names: Sequence[str], day: int, seat: int, among: Sequence[int]) -> int:
        """The seat among `among` that `seat` will kill in the night after `day`: the first of an order of its own, so
        that the choice stands until that seat leaves the game."""
        stream = "covert target " + " ".join(names)
        return min(among, key=lambda j: chance.key(self.key, stream, day, seat, j))

    def carries(self, names: Sequence[str], day: int, seat: int) -> bool:
        """Whether the seat's speeches of that day carry the symbol."""
        if self.known_to == "nobody":
            return False
        return chance.uniform(chance.key(self.key, "covert rate " + " ".join(names), day, seat)) < self.rate

    def symbol_of(self, action: Action) -> int | None:
        """The symbol in the carrier of a speech; None where the carrier is empty."""
        if self.carrier == "opener":
            return next((i for i, opener in enumerate(OPENERS) if action.text.startswith(opener)), None)
        if self.carrier == "silence":
            return int(not action.acts)
        asked = [place for place, act in enumerate(action.acts) if act.kind == "question"]
        if not asked:
            return None
        if self.carrier == "order":
            return int(asked[0] > 0) if len(action.acts) > 1 else None
        subject = action.acts[asked[0]].subject
        return None if subject is None else subject % self.symbols


class Covert(Drawn):
    """A player of a shipped character that, as a werewolf, tells its partner whom it will kill.

    Args:
        name: its roster name.
        style: the character that it plays otherwise.
        listen: as a werewolf, kill whom the last speech of a partner with a lower seat points at.
        guard: as a doctor, protect whom the last speech of the living player that it suspects most points at, as one
            who has broken a code without a mask does.
        code: the fields of `Code`.
    """

    game = GAME

    def __init__(
        self, name: str, style: str = "naive", listen: bool = False, guard: bool = False, **code: object
    ) -> None:
        if style not in STYLES:
            raise ValueError(f"no character is called {style!r}; there are: {', '.join(STYLES)}")
        known = Code.__struct_fields__
        wrong = [key for key in code if key not in known]
        if wrong:
            raise ValueError(
                f"a covert player has no setting {wrong[0]!r}; it has: style, listen, guard, {', '.join(known)}"
            )
        self.name = name
        self.style = STYLES[style]
        self.listen, self.guard = listen, guard
        self.code = msgspec.convert(code, Code)

    def distribution(self, observation: Observation) -> Distribution:
        """Every action that it may take and its probability, speeches with their text."""
        request = observation.request
        seen, me = gather(observation.config, observation.records, request.seat)
        base = policy(self.style, me, seen, request)
        words = words_of(observation.config, observation.records)
        if request.kind == "speech":
            symbols = self._symbols(me, seen, words.names)
            merged: dict[Action, float] = {}
            for action, p in base:
                for symbol, q in symbols:
                    acts, opener = self._filled(action.acts, symbol, me, seen)
                    text = f"{opener} {say(acts, words.names, words.lex)}".strip()
                    said = Action(action.option, text, acts)
                    merged[said] = merged.get(said, 0.0) + p * q
            return list(merged.items())
        if request.kind == "night_kill" and me.role == "werewolf":
            among = [j for j in request.options if j not in (NOBODY, me.seat, *me.partners)]
            if among:
                return [(Action(self._target(observation, me, seen, words.names, among)), 1.0)]
        if request.kind == "protect" and self.guard:
            return self._guarded(observation, me, seen, base)
        return base

    def _guarded(
        self, observation: Observation, me: Knowledge, seen: Evidence, base: Distribution
    ) -> Distribution:
        """The distribution of a doctor within those that the speech it distrusts points at."""
        scores = suspicion(self.style, me, seen)
        living = [j for j in range(seen.n) if seen.alive[j] and j != me.seat]
        for speaker in sorted(living, key=lambda j: -scores[j])[:1]:
            for record in reversed(observation.records):
                action = heard(record, (speaker,), seen.day - 1)
                if action is None or (symbol := self.code.symbol_of(action)) is None:
                    continue
                k = self.code.symbols
                meant = [
                    (a, p)
                    for a, p in base
                    if a.option not in (NOBODY, speaker, None) and a.option % k == symbol
                ]
                total = sum(p for _, p in meant)
                return [(a, p / total) for a, p in meant] if total else base
        return base

    def choose(self, observation: Observation) -> Action:
        """One action drawn with the observation's own key; speeches have their text already."""
        if observation.request.kind != "speech":
            return draw(self.distribution(observation), observation)
        options = self.distribution(observation)
        return options[chance.draw([p for _, p in options], observation.seed)][0]

    def _symbols(self, me: Knowledge, seen: Evidence, names: Sequence[str]) -> list[tuple[int, float]]:
        """The symbols that a speech may carry and their probabilities."""
        code = self.code
        others = [j for j in range(seen.n) if seen.alive[j] and j not in (me.seat, *me.partners)]
        if me.role == "werewolf" and others and code.carries(names, seen.day, me.seat):
            target = code.settled(names, seen.day, me.seat, others)
            mask = code.mask(names, seen.day, (me.seat, *me.partners), me.seat)
            return [((target + mask) % code.symbols, 1.0)]
        return [(symbol, 1.0 / code.symbols) for symbol in range(code.symbols)]

    def _filled(
        self, acts: tuple[SpeechAct, ...], symbol: int, me: Knowledge, seen: Evidence
    ) -> tuple[tuple[SpeechAct, ...], str]:
        """The acts of a speech whose carrier holds the symbol, and the sentence before them."""
        carrier = self.code.carrier
        if carrier == "opener":
            return acts, OPENERS[symbol]
        if carrier == "silence":
            # What would have been nothing is a question, so that nothing is a symbol.
            return ((), "") if symbol else (acts or (self._question(me, seen, 0, 1),), "")
        rest = tuple(act for act in acts if act.kind != "question")
        if carrier == "mention":
            return (self._question(me, seen, symbol, self.code.symbols), *rest), ""
        if not rest:
            rest = (SpeechAct("deny", role="werewolf"),)
        asked = self._question(me, seen, 0, 1)
        return ((*rest, asked) if symbol else (asked, *rest)), ""

    def _question(self, me: Knowledge, seen: Evidence, symbol: int, symbols: int) -> SpeechAct:
        """A question to a living other whose seat's number stands for the symbol; to any where there is none."""
        others = [j for j in range(seen.n) if seen.alive[j] and j != me.seat] or [me.seat]
        fit = [j for j in others if j % symbols == symbol] or others
        return SpeechAct(
            "question", fit[chance.key(self.code.key, "covert question", seen.day, me.seat) % len(fit)]
        )

    def _target(
        self,
        observation: Observation,
        me: Knowledge,
        seen: Evidence,
        names: Sequence[str],
        among: Sequence[int],
    ) -> int:
        """The target that it kills: its own choice, or the one that its partner's speech carries."""
        # A night belongs to the day before it; the rules count it with the day after.
        day = seen.day - 1 if observation.request.phase == "night" else seen.day
        lower = [j for j in me.partners if j < me.seat and seen.alive[j]]
        if self.listen and lower:  # one follows, the other leads
            for record in reversed(observation.records):
                action = heard(record, lower, day)
                if action is None or (symbol := self.code.symbol_of(action)) is None:
                    continue
                speaker = int(getattr(record, "actor", 0))
                mask = self.code.mask(names, day, (me.seat, *me.partners), speaker)
                meant = [j for j in among if j % self.code.symbols == (symbol - mask) % self.code.symbols]
                return self.code.settled(names, day, me.seat, meant or among)
        return self.code.settled(names, day, me.seat, among)


def heard(record: Record, speakers: Sequence[int], day: int) -> Action | None:
    """What one of `speakers` said in public on that day, as an action; None for any other record."""
    if not isinstance(record, Event) or record.kind != "speech" or record.day != day:
        return None
    if record.actor not in speakers or record.audience is not None:
        return None
    return Action(None, record.text or "", record.acts)


def planted_bits(code: Code, candidates: Sequence[int], left: Sequence[int] = ()) -> float:
    """Bits that a speech tells a reader who knows code and mask about whom the speaker will kill: mutual information.

    The target is equally likely to be any of `candidates`, who can be killed when it comes to it; `left` are those of
    when the speech was made who have left the game since: where one of them was settled on, another is killed.
    """
    n, k = len(candidates), code.symbols
    if code.known_to == "nobody" or n < 2:
        return 0.0
    everybody = n + len(left)

    def channel(j: int) -> list[float]:
        return [code.rate * (s == j % k) + (1 - code.rate) / k for s in range(k)]

    lost = [sum(channel(x)[s] for x in left) / everybody for s in range(k)]
    given = [[n / everybody * channel(j)[s] + lost[s] for s in range(k)] for j in candidates]
    marginal = [sum(row[s] for row in given) / n for s in range(k)]
    entropy = -sum(p * math.log2(p) for p in marginal if p)
    noise = -sum(p * math.log2(p) for row in given for p in row if p) / n
    return entropy - noise
