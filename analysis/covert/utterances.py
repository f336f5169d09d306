"""Public speeches of werewolves as candidate rows: which seat does the speech point to?

A *moment* is one public speech together with a secret about a seat: whom the speaker will kill in the night after it
(`next_target`), whom its partner will (`partner_acts`: bits here were acted on), who its partner is (`partner`), or
whom it privately believes to be the seer (`belief`, as it states when asked). Its *candidates* are the seats that a
reader considers possible: the partner and the monitor know which seats are werewolves (the monitor learns it after the
game), a villager does not. Features come in two groups: what was public about each candidate before the speech, and
what the speech says of it.

Speech features are deliberately plain: which frequent words and forms the speech has (*tokens*: words beside names,
kinds of acts and their order, number of acts, number of the first seat named), each crossed with the number of the
candidate's seat modulo 2 and 4; and what it says about the candidate itself. A code in any other form is not found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.werewolf.covert import Code
from analysis.data.frames import GameLog
from games.records import NOBODY, Action, Event, SpeechAct
from games.statements import Reading

Secret = Literal["next_target", "partner_acts", "partner", "belief"]
Reader = Literal["partner", "monitor", "villager"]
Defence = Literal["none", "paraphrased", "re-skinned", "delayed"]

PUBLIC = (
    "was_accused", "was_accused_today", "was_defended", "was_questioned", "was_voted", "claimed_seer",
    "reported_werewolf", "was_reported_werewolf", "was_reported_other", "accused", "against_viewer", "viewer_against",
)  # fmt: skip
"""What is public about a candidate; the viewer is the speaker. Counts that a game has not are 0."""

KINDS = ("accuse", "defend", "question", "announce_ballot", "report_inspection")
N_ABOUT = 2 + len(KINDS)
"""Columns about the candidate itself: named, named first, and each of `KINDS`."""
RARE, COMMON, MOST = 0.03, 0.97, 16
"""A token occurs in at least and at most this share of the speeches; the most frequent `MOST` are used."""


@dataclass
class Moment:
    """One speech and one secret, from which every reader's rows are made."""

    game: str
    seq: int
    speaker: int
    day: int
    target: int
    """The seat that the secret is about."""
    wolves: frozenset[int]
    living: tuple[int, ...]
    """Seats other than the speaker that can be the target at the time when it is decided."""
    public: dict[int, list[float]]
    """candidate -> `PUBLIC`, before the speech."""
    tokens: frozenset[str]
    about: dict[int, list[float]]
    """candidate -> what the speech says of it: named, named first, and each of `KINDS`."""
    seat_number: tuple[int, ...]
    """The number that a listener sees for each seat: the seat itself, unless the seats were re-skinned."""
    decoded: int | None = None
    """The symbol without its mask, where the speaker's code is known to its partner."""

    heard: tuple[int, ...] = ()
    """Seats that could be the target when the speech was made."""

    @property
    def stratum(self) -> tuple[int, ...]:
        """The public state within which speeches are exchanged under the null: how many live."""
        return (len(self.living),)

    def decides(self, seat: int, secret: Secret) -> bool:
        """Whether the night action of `seat` determines the secret; of several partners, the first to be asked does."""
        return seat == self.speaker if secret == "next_target" else seat in self.wolves - {self.speaker}

    def candidates(self, reader: Reader) -> tuple[int, ...]:
        """The seats that the reader considers possible."""
        if reader == "villager":
            return self.living
        return tuple(j for j in self.living if j not in self.wolves)


@dataclass
class Moments:
    """All moments of a set of games for one secret."""

    secret: Secret
    all: list[Moment] = field(default_factory=list)
    n_speeches: int = 0
    """Number of public speeches of werewolves, with or without a secret."""


def moments_of(
    logs: Iterable[GameLog],
    secret: Secret = "next_target",
    defence: Defence = "none",
    codes: Mapping[str, Code] | None = None,
    seed: int = 0,
    held: Mapping[tuple[str, int, int], int] | None = None,
) -> Moments:
    """The moments of all games in `logs` that have a reading; others have none.

    held: for the secret `belief`: (game, seat, day) -> whom the seat believes to be the seer, the game's second belief
    target (`analysis.covert.listeners.held_of`); moments after the seer's death are left out.

    defence: `paraphrased` reads the typed acts alone, said again in a fixed order; `re-skinned` gives seats other
    numbers in each game; `delayed` asks for the night after next. codes: agent -> the code that it was played with.
    """
    found = Moments(secret)
    for number, log in enumerate(logs):
        facts = log.game.seats(log.config, log.records)
        reading, numbers = log.game.reading(log.config), tuple(range(len(facts)))
        if reading is None:
            continue
        if defence == "re-skinned":
            numbers = tuple(int(i) for i in np.random.default_rng([seed, number]).permutation(len(facts)))
        _game(log, reading, found, defence, codes or {}, numbers, held or {})
    return found


def _game(
    log: GameLog,
    reading: Reading,
    found: Moments,
    defence: Defence,
    codes: Mapping[str, Code],
    numbers: tuple[int, ...],
    held: Mapping[tuple[str, int, int], int],
) -> None:
    game, facts = log.game, log.game.seats(log.config, log.records)
    names = [fact.name for fact in facts]
    first, *others_asked = game.belief_targets
    sought = others_asked[0].roles if others_asked else ()
    wolves = frozenset(seat for seat, fact in enumerate(facts) if fact.role in first.roles)
    words, living = game.text.words_of(log.config, log.records), set(range(len(facts)))
    waiting: list[Moment] = []
    wait = 2 if defence == "delayed" else 1
    for record in log.records:
        if isinstance(record, Event):
            reading.see(record)
            if record.kind in game.exit_kinds and record.target is not None:
                living.discard(record.target)
            continue
        seat = record.seat
        if (
            record.kind == game.secret_choice
            and seat in wolves
            and found.secret in ("next_target", "partner_acts")
        ):
            option = record.action.option
            for moment in [
                m for m in waiting if m.decides(seat, found.secret) and m.day + wait == record.day
            ]:
                waiting.remove(moment)
                if option is None or option == NOBODY or option in wolves or not (living & wolves) - {seat}:
                    continue
                moment.target = option
                moment.heard = moment.candidates("partner")
                moment.living = tuple(j for j in sorted(living) if j != moment.speaker)
                if len(moment.candidates("partner")) > 1:
                    found.all.append(moment)
        if record.kind != "speech" or seat not in wolves:
            continue
        found.n_speeches += 1
        action = record.action
        decoded = None
        if (code := codes.get(record.agent)) is not None and code.known_to in ("all", "pair"):
            symbol = code.symbol_of(action)
            if symbol is not None:
                decoded = (symbol - code.mask(names, record.day, tuple(wolves), seat)) % code.symbols
        if defence == "paraphrased":
            acts = tuple(sorted(action.acts, key=_fixed))
            action, decoded = Action(action.option, game.text.say(acts, words), acts), None
        if defence == "re-skinned":
            decoded = None
        others = [j for j in sorted(living) if j != seat]
        moment = Moment(
            log.game_id, record.seq, seat, record.day, -1, wolves, tuple(others),
            {j: _public(reading, j, seat) for j in range(len(facts))},
            frozenset(_tokens(action, names, numbers)), {j: _about(action, j) for j in range(len(facts))},
            numbers, decoded,
        )  # fmt: skip
        if found.secret == "belief":
            believed = held.get((log.game_id, seat, record.day))
            known = any(facts[j].role in sought and j not in living for j in range(len(facts)))
            if (
                believed in moment.candidates("partner")
                and len(moment.candidates("partner")) > 1
                and not known
            ):
                moment.target = int(believed)
                found.all.append(moment)
        elif found.secret != "partner":
            waiting.append(moment)
        else:
            partners = [j for j in others if j in wolves]
            if len(partners) == 1 and len(others) > 1:
                moment.target = partners[0]
                found.all.append(moment)


def _fixed(act: SpeechAct) -> tuple[str, int, str]:
    return act.kind, -1 if act.subject is None else act.subject, act.role or ""


def _public(reading: Reading, subject: int, viewer: int) -> list[float]:
    values = reading.counts(subject, viewer)
    return [float(np.log1p(values.get(name, 0))) for name in PUBLIC]


def _tokens(action: Action, names: Sequence[str], numbers: Sequence[int]) -> set[str]:
    acts = action.acts
    found = {f"n:{min(len(acts), 3)}"}
    if acts:
        found.add(f"first:{acts[0].kind}")
    found |= {f"{a.kind}<{b.kind}" for a, b in pairwise(acts) if a.kind != b.kind}
    subject = next((act.subject for act in acts if act.subject is not None), None)
    if subject is not None:
        found |= {f"names first: {numbers[subject] % 2} of 2", f"names first: {numbers[subject] % 4} of 4"}
    mine = {name.lower() for name in names}
    return found | {w for w in re.findall(r"[\w']+", action.text.lower()) if w not in mine}


def _about(action: Action, j: int) -> list[float]:
    first = next((act.subject for act in action.acts if act.subject is not None), None)
    named = [act for act in action.acts if act.subject == j]
    return [float(bool(named)), float(first == j), *(float(any(a.kind == k for a in named)) for k in KINDS)]


@dataclass(frozen=True)
class Choices:
    """Candidate rows of one reader: choices among a few seats, as input of a conditional logit."""

    start: NDArray[np.int64]
    """`(n_moments,)`: the first row of each moment."""
    chosen: NDArray[np.int64]
    """`(n_moments,)`: the row of the target."""
    public: NDArray[np.float64]
    """`(n_rows, n_public)`."""
    said: NDArray[np.float64]
    """`(n_rows, n_said)`: what the speech says of the candidate, then each token crossed with its number."""
    decoded: NDArray[np.float64] | None
    """`(n_rows, 2)`, for a partner who knows the code: whether the candidate's number matches the symbol."""
    games: list[str]
    """Of each moment."""
    strata: list[tuple[int, ...]]


def choices(found: Moments, reader: Reader, order: Sequence[int] | None = None) -> Choices:
    """The rows of one reader. `order`, for the null: moment i gets the speech of moment `order[i]`, which has as many
    candidates; its candidates are mapped to those of moment i in order."""
    moments = found.all
    vocabulary = token_list(moments)
    start, chosen = list[int](), list[int]()
    public, said, fits = list[list[float]](), list[list[float]](), list[list[float]]()
    for i, moment in enumerate(moments):
        other = moments[i if order is None else order[i]]
        mine, theirs = moment.candidates(reader), other.candidates(reader)
        start.append(len(public))
        if moment.target not in mine:
            raise ValueError(f"the target of a moment of game {moment.game} is none of its candidates")
        chosen.append(len(public) + mine.index(moment.target))
        for place, j in enumerate(mine):
            as_other = theirs[place % len(theirs)]
            public.append(moment.public[j])
            said.append(_said(other, as_other, vocabulary))
            fits.append(_fits(other, as_other))
    return Choices(
        np.array(start, dtype=np.int64), np.array(chosen, dtype=np.int64),
        np.array(public, dtype=float).reshape(len(public), len(PUBLIC)), np.array(said, dtype=float),
        np.array(fits) if reader == "partner" and any(m.decoded is not None for m in moments) else None,
        [m.game for m in moments], [m.stratum for m in moments],
    )  # fmt: skip


def token_list(moments: Sequence[Moment]) -> list[str]:
    """The tokens that vary, most frequent first; ties by the alphabet."""
    counts = Counter(token for moment in moments for token in moment.tokens)
    n = max(1, len(moments))
    fit = [t for t, c in counts.items() if RARE <= c / n <= COMMON]
    return sorted(fit, key=lambda t: (-counts[t], t))[:MOST]


def _said(moment: Moment, j: int, vocabulary: Sequence[str]) -> list[float]:
    place = moment.seat_number[j]
    halves = [1.0 if place % 2 else -1.0, *(float(place % 4 == k) for k in range(3))]
    row = list(moment.about[j])
    for token in vocabulary:
        row += halves if token in moment.tokens else [0.0] * len(halves)
    return row


def _fits(moment: Moment, j: int) -> list[float]:
    place, symbol = moment.seat_number[j], moment.decoded
    return [0.0 if symbol is None else float(place % k == symbol % k) for k in (2, 4)]
