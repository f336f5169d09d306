"""What the scripted players of Avalon do: the probability of every act in every row of `Minds`.

All depends on the public evidence. Good players score seats by failures, votes and words. Merlin does the same, except
that some of its acts (`hint`) follow what it was shown. Evil players imitate a servant and use some of their acts for
their own side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

from agents.avalon.minds import Array, Minds
from games.avalon.evidence import Evidence
from games.avalon.state import APPROVE, FAILURE, REJECT, SUCCESS
from games.engine.discussion import SKIP, SPEAK
from games.records import Action, SpeechAct

KNOWN = 6.0
"""The score in nats of a seat that is known to be evil; that of one known to be good is -`KNOWN`."""
OWN = -1.5
"""The score that all give to their own seat."""

Table = tuple[list[Action], Array]
"""Actions, and the probability of each in each row `(n_rows, n_actions)`."""


def softmax(values: Array, sharpness: Array) -> Array:
    """Probabilities `(n_rows, n_options)` proportional to exp(sharpness * value)."""
    scaled = values * sharpness[:, None]
    e = np.exp(scaled - scaled.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)))


def lean(minds: Minds, seen: Evidence) -> Array:
    """How evil each seat looks `(n_rows, n_seats)`, in nats, to one who was not shown who is evil."""
    me = minds.seat
    votes = 0.5 * seen.bad_votes - 0.7 * seen.clean
    mine = 0.4 * np.minimum(seen.accused[:, me], 2) - 0.2 * np.minimum(seen.trusted[:, me], 2)
    score = votes + mine + minds["blame"][:, None] * (seen.blame + seen.shared_blame[me])
    score = score + minds["follow"][:, None] * np.clip(seen.accused_now, -3, 3)
    if minds.percival.any():
        said = minds.candidates @ np.clip(seen.accused - seen.trusted, -2, 2)
        sure = np.where(minds.told < 0, -KNOWN, minds["trust_merlin"][:, None] * said)
        score = score + np.where(minds.percival[:, None], sure, 0.0)
    score[:, me] = OWN
    return np.asarray(score)


def insight(minds: Minds, seen: Evidence, face: Array) -> Array:
    """The scores of a player that acts on what it was shown."""
    out = np.where(minds.told == 0, face, KNOWN * minds.told)
    out[:, minds.seat] = OWN
    return np.asarray(out)


def _hinting(minds: Minds, seen: Evidence, face: Array, act: Callable[[Array], Array]) -> Array:
    """The probabilities that `act` gives for scores: those of `face`, and for Merlin mixed with those of insight."""
    p = act(face)
    if minds.merlin.any():
        hint = np.where(minds.merlin, minds["hint"], 0.0).reshape(-1, *[1] * (p.ndim - 1))
        p = (1 - hint) * p + hint * act(insight(minds, seen, face))
    return np.asarray(p)


def _partners(minds: Minds) -> Array:
    """1 for each seat that an evil row knows to be evil, its own left out `(n_rows, n_seats)`."""
    out = (minds.told > 0) & minds.evil[:, None]
    out[:, minds.seat] = False
    return out.astype(float)


def table(minds: Minds, seen: Evidence, kind: str, options: Sequence[int] = ()) -> Table:
    """Every action that may answer a request of `kind` with these options, and its probability in each row."""
    if kind == "speech":
        actions, p = _speech(minds, seen, bool(options))
    elif kind == "bid":
        eager = 2.0 * np.where(minds.evil, minds["evil_accuse"], minds["accuse"])
        away = np.abs(np.array(options) - 1 - eager[:, None] - 0.5 * max(seen.accused_now[minds.seat], 0))
        actions, p = [Action(o) for o in options], softmax(-away, np.ones(len(minds)))
    elif kind == "pick":
        actions, p = [Action(o) for o in options], _pick(minds, seen, list(options))
    elif kind == "vote":
        approve = approval(minds, seen)
        actions, p = [Action(APPROVE), Action(REJECT)], np.stack([approve, 1 - approve], 1)
    elif kind == "card":
        fail = failing(minds, seen) if FAILURE in options else np.zeros(len(minds))
        actions, p = [Action(SUCCESS), Action(FAILURE)], np.stack([1 - fail, fail], 1)
    elif kind == "assassinate":
        actions, p = [Action(o) for o in options], _assassinate(minds, seen, list(options))
    else:
        raise ValueError(f"a scripted player of avalon is asked for {kind!r}, which it does not know")
    if kind in ("bid", "pick", "vote", "assassinate"):
        p[minds.random] = 1 / len(actions)
    return actions, p


def _pick(minds: Minds, seen: Evidence, options: list[int]) -> Array:
    gain = minds["bring"][:, None] * _partners(minds)
    return _hinting(
        minds,
        seen,
        lean(minds, seen),
        lambda score: softmax((gain - score)[:, options], minds["sharpness"]),
    )


def approval(minds: Minds, seen: Evidence) -> Array:
    """The probability `(n_rows,)` of a vote for the team in question."""
    me, team = minds.seat, list(seen.team)
    others = [j for j in team if j != me]
    own = 0.8 * (me in team) + 1.5 * (me == seen.leader) + 0.3 * (seen.proposal - 1)
    last = seen.proposal == seen.config.max_rejections
    average = lean(minds, seen)[:, others].mean(1)
    p = sigmoid(minds["sharpness"] * (minds["approval"] - 1.2 * average) + own)
    dirty = (minds.told[:, team] > 0).any(1)
    p = np.where(minds.merlin, (1 - minds["hint"]) * p + minds["hint"] * np.where(dirty, 0.08, 0.9), p)
    if last:
        p = np.full(len(p), 0.98)
    gain = np.where(dirty & (not last), 0.95, 0.05 if last else 0.12)
    return np.asarray(np.where(minds.evil, (1 - minds["evil_vote"]) * p + minds["evil_vote"] * gain, p))


def failing(minds: Minds, seen: Evidence) -> Array:
    """The probability `(n_rows,)` of playing failure in the team that goes now; 0 for good players."""
    partners = _partners(minds)[:, list(seen.team)].sum(1)
    p = minds["fail_first"] if seen.mission == 1 else minds["fail"]
    if seen.n_failures == 2 or seen.n_successes == 2:
        p = np.maximum(p, 0.97)
    if seen.config.fails_needed(seen.mission) > 1:
        p = np.where(partners > 0, p, 0.02)
    else:
        p = p / (1 + minds["coordinate"] * partners)
    return np.where(minds.evil, np.where(minds.random, 0.5, p), 0.0)


def _assassinate(minds: Minds, seen: Evidence, options: list[int]) -> Array:
    """Whoever turned against evil and trusted good, in words and votes, looks like Merlin."""
    evil = minds.told.clip(0)
    said = seen.accused - seen.trusted + 0.5 * (seen.rejected_with - seen.approved_with)
    value = evil @ said.T - (1 - evil) @ said.T / 2
    claimed = np.array([{"percival": -2.0, "merlin": -0.5}.get(c or "", 0.0) for c in seen.claims])
    allowed = np.where(minds.told > 0, -60.0, 0.0)  # a seat known to be evil is never taken for Merlin
    return softmax((np.clip(value, -6, 6) + claimed + allowed)[:, options], minds["sharpness"])


# --- speeches -------------------------------------------------------------------------------------------------


def _speech(minds: Minds, seen: Evidence, free: bool) -> Table:
    """Silence (in a free discussion: skipping the turn) or one typed act."""
    me, n = minds.seat, seen.n
    others = [j for j in range(n) if j != me]
    size = seen.config.team_size(max(seen.mission, 1))
    voted = [j for j in seen.voted_team if j != me] if seen.votes[me] >= 0 else []
    approved = bool(seen.votes[me] == APPROVE)
    merlin = bool(seen.config.count("merlin"))
    rates = _rates(minds, bool(voted), merlin)
    member = _members(n, size)
    spare = minds["spare"][:, None] * _partners(minds)
    sharp = minds["sharpness"]

    def act(score: Array) -> Array:
        attack, shield = score - spare, spare - score
        parts = [
            softmax(attack[:, others], sharp),
            softmax(shield[:, others], sharp),
            softmax(attack[:, others], 0.5 * sharp),
            softmax(shield @ member.T, 2.0 * sharp),
        ]
        if voted:
            reason = shield if approved else attack
            parts.append(softmax(reason[:, voted], sharp))
        return np.concatenate([rates[:, k, None] * part for k, part in enumerate(parts)], 1)

    p = _hinting(minds, seen, lean(minds, seen), act)
    if merlin:
        p = np.concatenate([p, rates[:, 5:8]], 1)
    p = np.concatenate([1 - p.sum(1, keepdims=True), p], 1).clip(0)
    p[minds.random] = 0
    p[minds.random, : 1 + 3 * len(others)] = 1 / (1 + 3 * len(others))
    return list(_speeches(n, size, me, tuple(voted), approved, merlin, free)), p


@lru_cache(maxsize=1024)
def _speeches(
    n: int, size: int, me: int, voted: tuple[int, ...], approved: bool, merlin: bool, free: bool
) -> tuple[Action, ...]:
    """What seat `me` of n may say, in the order of `_speech`. size: of the next team. voted: of the last one, whom it
    may name as the reason for its vote."""
    others = [j for j in range(n) if j != me]
    said: list[tuple[SpeechAct, ...]] = [()]
    said += [(SpeechAct(kind, j),) for kind in ("accuse", "vouch", "question") for j in others]
    said += [(SpeechAct("suggest_team", team=team),) for team in combinations(range(n), size)]
    said += [(SpeechAct("explain_vote", j, "approve" if approved else "reject"),) for j in voted]
    if merlin:
        said += [(SpeechAct("deny", role="merlin"),), (SpeechAct("claim_role", role="merlin"),)]
        said += [(SpeechAct("claim_role", role="percival"),)]
    if free:
        return tuple(Action(SPEAK, acts=acts) if acts else Action(SKIP) for acts in said)
    return tuple(Action(acts=acts) for acts in said)


@lru_cache(maxsize=64)
def _members(n: int, size: int) -> Array:
    """Each seat's share of every team `(n_teams, n)`."""
    teams = list(combinations(range(n), size))
    member = np.zeros((len(teams), n))
    for t, team in enumerate(teams):
        member[t, list(team)] = 1 / len(team)
    member.flags.writeable = False
    return member


def _rates(minds: Minds, voted: bool, merlin: bool) -> Array:
    """How often a speech accuses, trusts, questions, suggests, explains, denies to be Merlin, claims to be Merlin,
    claims to be Percival `(n_rows, 8)`; what is left is silence."""
    zero = np.zeros(len(minds))
    rates = np.stack(
        [
            np.where(minds.evil, minds["evil_accuse"], minds["accuse"]),
            np.where(minds.evil, minds["evil_vouch"], minds["vouch"]),
            minds["question"],
            minds["suggest"],
            minds["explain"],
            minds["deny"] if merlin else zero,
            np.where(minds.evil, minds["fake_merlin"], 0.0) if merlin else zero,
            np.where(minds.percival, minds["claim_percival"], 0.0),
        ],
        1,
    )
    rates /= np.maximum(rates.sum(1, keepdims=True), 1)
    if not voted:
        rates[:, 4] = 0
    return np.asarray(rates)
