"""How likely an act is under every character and in every information set of its actor, in a few array operations.

The same policies as `agents.werewolf.scripted`, which states them for one player at a time; tests hold the
two equal. Arrays
are `(n_styles, n_infosets, ...)`; infosets are the rows of `InfoSets`. With a `rung` below 4 only part of the evidence
counts; `agents.werewolf.observer.ladder` says which.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.werewolf.observer.information_sets import HUMAN, SEER, WOLF, Characters, InfoSets, Scene, encode
from games.records import NOBODY, SpeechAct


def lean(c: Characters, scene: Scene, infosets: InfoSets, me: int) -> np.ndarray:
    """Scores `(n_styles, n_infosets, n)` of each seat for accusations and ballots, without a werewolf's sparing of its
    partners."""
    base = np.empty((3, scene.n))
    base[HUMAN] = scene.base(me, HUMAN)
    base[SEER] = scene.base(me, SEER) if len(infosets.kind) > infosets.seer else 0.0
    base[WOLF] = scene.public_reports
    score: np.ndarray = (c.follow[:, :, None] * scene.crowd + base)[:, infosets.kind]
    return np.where(infosets.told, infosets.value, score)


def log_softmax_at(values: np.ndarray, sharpness: np.ndarray, at: int) -> np.ndarray:
    """Softmax probability of the option in column `at` of `values` `(n_styles, n_infosets, n_options)`."""
    scaled = values * sharpness[:, None, None]
    scaled -= scaled.max(-1, keepdims=True)
    np.exp(scaled, out=scaled)
    p: np.ndarray = scaled[..., at] / scaled.sum(-1)
    return p


Parsed = tuple[bool, tuple[tuple[int, bool], ...], str, int, bool]
"""Claims to be the seer; reports; kind of stance (`""` none); its subject; announces a vote."""


def parse(acts: Sequence[SpeechAct]) -> Parsed | None:
    """A speech parsed by the grammar of the scripted players; None where they never say it."""
    i = 0
    claim = bool(acts) and acts[0].kind == "claim_role"
    if claim:
        if acts[0].role != "seer":
            return None
        i = 1
    reports = []
    while i < len(acts) and acts[i].kind == "report_inspection":
        subject = acts[i].subject
        if subject is None or acts[i].role not in ("werewolf", "human"):
            return None
        reports.append((subject, acts[i].role == "werewolf"))
        i += 1
    rest = acts[i:]
    kind, subject, announce = "", NOBODY, False
    if rest:
        kind = rest[0].kind
        subject = NOBODY if rest[0].subject is None else rest[0].subject
        if kind not in ("accuse", "defend", "question") or subject == NOBODY:
            return None
        if len(rest) == 2:
            announce = rest[1] == SpeechAct("announce_ballot", subject) and kind == "accuse"
            if not announce:
                return None
        elif len(rest) > 2:
            return None
    return claim, tuple(reports), kind, subject, announce


def speech(
    c: Characters, scene: Scene, infosets: InfoSets, me: int, acts: Sequence[SpeechAct], free: bool = False
) -> np.ndarray:
    """Probability `(n_styles, n_infosets)` of saying `acts`; `free` where silence was an option of its own."""
    shape = (len(c), len(infosets.kind))
    parsed = parse(acts)
    others = np.flatnonzero(scene.alive & (np.arange(scene.n) != me))
    if parsed is None:
        return np.zeros(shape)
    claim, reports, kind, subject, announce = parsed
    if kind and subject not in others:
        return np.zeros(shape)
    p = _opening(c, scene, infosets, me, claim, reports) * _stance(
        c, scene, infosets, me, kind, subject, announce, others
    )
    if c.blind:
        plain = not claim and not reports and not announce
        if free:
            uniform = 1 / 3 if plain and not kind else 0.0
        else:
            uniform = 1 / (1 + 3 * len(others)) if plain else 0.0
            if scene.rung < 2 and kind:
                uniform *= len(others)
        p[c.random] = uniform
    return p


def _stance(
    c: Characters,
    scene: Scene,
    infosets: InfoSets,
    me: int,
    kind: str,
    subject: int,
    announce: bool,
    others: np.ndarray,
) -> np.ndarray:
    wolf = infosets.kind == WOLF
    if not len(others):
        return np.full((len(c), len(wolf)), 1.0 if not kind else 0.0)

    def often(name: str) -> np.ndarray:
        return np.where(wolf, c[f"wolf_{name}"][:, None], c[name][:, None])

    if not kind:
        return np.asarray(1.0 - sum(map(often, ("accuse", "defend", "question"))))
    rate = often(kind)
    if kind == "accuse":
        rate = rate * (c["announce"] if announce else 1.0 - c["announce"])[:, None]
    if scene.rung < 2:
        return rate
    at = int(np.searchsorted(others, subject))
    mercy = c["spare"][:, None, None] * infosets.partner
    attack = lean(c, scene, infosets, me)
    if kind == "defend":
        shield = np.where(wolf[:, None], 0.4 * scene.crowd + mercy, -attack)
        return rate * log_softmax_at(shield[..., others], c["sharpness"], at)
    attack = (attack - mercy)[..., others]
    if kind == "question":
        return rate * log_softmax_at(attack, 0.5 * c["sharpness"], at)
    p = log_softmax_at(attack, c["sharpness"], at)
    friends = infosets.partner[:, others]
    n_friends = friends.sum(1)
    bus = c["bus"][:, None] * (n_friends > 0)
    return rate * ((1 - bus) * p + bus * friends[:, at] / np.maximum(n_friends, 1))


def _opening(
    c: Characters,
    scene: Scene,
    infosets: InfoSets,
    me: int,
    claim: bool,
    reports: tuple[tuple[int, bool], ...],
) -> np.ndarray:
    """Probability `(n_styles, n_infosets)` of the claims and reports with which a speech begins."""
    nothing = not claim and not reports
    p = np.full((len(c), len(infosets.kind)), 1.0 if nothing else 0.0)
    claimed = scene.claims[me] == "seer"
    taken = "seer" in scene.claims
    mine = scene.reports.get(me, {})
    fresh = np.ones(scene.n, dtype=bool)
    fresh[list(mine)] = False
    exact = scene.rung >= 3
    if not claimed and not taken:
        p[:, 0] = c["bluff"] if claim and not reports else 1.0 - c["bluff"] if nothing else 0.0
    # Werewolves.
    end = 2 + len(infosets.packs)
    if end > 2 and (claimed or not taken) and len(mine) < scene.day:
        partner = infosets.partner[2:end]
        open_to = scene.alive & fresh & (np.arange(scene.n) != me)
        targets, friends = open_to * (1 - partner), open_to * partner
        some = targets.any(1)
        q = np.where(c["fake_seer"] > 0, 0.7, 0.0) if claimed else c["fake_seer"]
        if nothing:
            p[:, 2:end] = np.where(some, 1.0 - q[:, None], 1.0)
        elif claim != claimed and len(reports) == 1:
            j, says_wolf = reports[0]
            weight = some.astype(float)
            if exact:
                lies = np.exp(0.5 * scene.crowd)
                total = targets @ lies + friends.sum(1) * np.exp(0.5)
                weight = targets[:, j] * lies[j] if says_wolf else friends[:, j] * np.exp(0.5)
                weight = np.where(some, weight / np.maximum(total, 1e-300), 0.0)
            p[:, 2:end] = q[:, None] * weight
    # Seers.
    start = infosets.seer
    if len(infosets.kind) > start:
        new = infosets.told[start:] & fresh
        some = new.any(1)
        loud = some & (claimed | (new & (infosets.value[start:] > 0)).any(1))
        q = c["reveal"][:, None] * np.where(loud, 1.0, 0.4)
        if nothing:
            p[:, start:] = np.where(some, 1.0 - q, 1.0)
        elif claim != claimed and reports:
            p[:, start:] = q * (_tells(infosets, new, reports) if exact else some)
    return p


def _tells(infosets: InfoSets, new: np.ndarray, reports: tuple[tuple[int, bool], ...]) -> np.ndarray:
    """Probability `(n_styles, n_seer_infosets)` that the reports are what the infoset has to tell, in its order."""
    subjects = [j for j, _ in reports]
    told = np.zeros(new.shape[1], dtype=bool)
    told[subjects] = True
    fits = (new == told).all(1)
    for j, wolf in reports:
        fits &= infosets.value[infosets.seer :, j] == (8.0 if wolf else -8.0)
    q = infosets.sequences
    said = fits[q.of] & (q.code == encode(subjects, new.shape[1]))
    out = np.zeros((len(q.share), len(new)))
    np.add.at(out.T, q.of[said], q.share[:, said].T)
    return out


def ballot(
    c: Characters, scene: Scene, infosets: InfoSets, me: int, choice: int, options: Sequence[int]
) -> np.ndarray:
    """Probability `(n_styles, n_infosets)` of a ballot for `choice` among `options` (`NOBODY` abstains)."""
    shape = (len(c), len(infosets.kind))
    seats = sorted(j for j in options if j != NOBODY)
    if choice not in options:
        return np.zeros(shape)
    if not seats:
        return np.ones(shape)
    stay = c["abstain"][:, None] if NOBODY in options else np.zeros((len(c), 1))
    if choice == NOBODY:
        p = np.broadcast_to(stay, shape).copy()
    elif scene.rung < 2:
        p = np.broadcast_to(1.0 - stay, shape).copy()
    else:
        mercy = (c["spare"] * (1.0 - c["bus"]))[:, None, None] * infosets.partner
        value = lean(c, scene, infosets, me) - mercy + 0.8 * np.minimum(scene.accused[me], 2)
        if me in seats:
            value[..., me] -= 6.0
        p = (1.0 - stay) * log_softmax_at(value[..., seats], 1.5 * c["sharpness"], seats.index(choice))
    p[c.random] = (1.0 if choice == NOBODY or scene.rung >= 2 else len(seats)) / len(options)
    return p


def office(
    c: Characters, scene: Scene, infosets: InfoSets, me: int, choice: int, options: Sequence[int]
) -> np.ndarray:
    """Probability `(n_styles, n_infosets)` of electing or appointing `choice`."""
    if choice not in options:
        return np.zeros((len(c), len(infosets.kind)))
    if scene.rung < 2:
        return np.full((len(c), len(infosets.kind)), 1.0 / len(options))
    value = -lean(c, scene, infosets, me)
    wolf = infosets.kind == WOLF
    if wolf.any():
        own = c["wolf_follow"][:, None, None] * scene.crowd + scene.base(me, WOLF)
        value[:, wolf] = np.where(infosets.partner[wolf] > 0, -8.0, -own)
    value[..., me] += 0.5
    seats = list(options)
    p = log_softmax_at(value[..., seats], c["sharpness"], seats.index(choice))
    p[c.random] = 1.0 / len(options)
    return p


def candidacy(c: Characters, infosets: InfoSets, runs: bool) -> np.ndarray:
    """Probability `(n_styles, n_infosets)` of standing for office, or of declining."""
    p = np.where(infosets.kind == HUMAN, 0.25, 0.5) * np.ones((len(c), 1))
    p[c.random] = 0.5
    return p if runs else 1.0 - p


def night_choice(
    values: np.ndarray, sharpness: np.ndarray, random: np.ndarray, legal: np.ndarray
) -> np.ndarray:
    """Softmax over legal options `(n_styles, ..., n_options)`; all zero where nothing is legal."""
    sharp = sharpness.reshape(-1, *[1] * (values.ndim - 1))
    scaled = np.where(legal, values * sharp, -np.inf)
    scaled[random] = (
        np.where(legal, 0.0, -np.inf)[random] if legal.ndim == values.ndim else np.where(legal, 0.0, -np.inf)
    )
    top = scaled.max(-1, keepdims=True)
    e = np.exp(scaled - np.where(np.isfinite(top), top, 0.0))
    total = e.sum(-1, keepdims=True)
    out: np.ndarray = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    return out
