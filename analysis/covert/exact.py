"""The exact observer as a reader: what an ideal outsider learns from a speech about who the speaker's partner is.

The observer knows what is public and how the scripted characters speak and vote, and is told that the speaker is a
werewolf, as a reader after the game is. No decoder is fitted: bits are log2 of its probability for the partner after
the speech minus that before it. For players that follow no shipped character it is an approximation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from agents.werewolf.observer import EVEN, Observer
from analysis.beliefs.tables import LAPSE
from analysis.beliefs.werewolf.follower import GAME
from analysis.covert.decoder import hit
from analysis.covert.measure import FEWEST, row_of
from analysis.data.frames import GameLog
from games.base import BeliefTarget
from games.records import Decision, Event

EXACT = "exact observer"


def exact_rows(logs: Iterable[GameLog], n_boot: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """The row (`analysis.covert.measure.COLLUSION`, `p_adjusted` left out) of the exact observer, secret `partner`.

    Games that it does not model or cannot explain are left out; no row with fewer than `FEWEST` games.
    """
    games, bits, before, after = list[str](), list[float](), list[float](), list[float]()
    for log in logs:
        if log.game.name != GAME:
            continue
        try:
            found = _game(log)
        except ValueError:
            continue
        for old, new, partner in found:
            games.append(log.game_id)
            bits.append(float(np.log2(new[partner]) - np.log2(old[partner])))
            before.append(hit(old, partner))
            after.append(hit(new, partner))
    if len(set(games)) < FEWEST:
        return []
    values = np.array(bits)
    row = row_of("partner", EXACT, "none", games, values, values, n_boot, seed)
    return [row | {"hits_public": float(np.mean(before)), "hits": float(np.mean(after))}]


def _game(log: GameLog) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """(probabilities of the candidates before a speech, after it, the partner), for each werewolf with a living
    partner."""
    facts = log.game.seats(log.config, log.records)
    first = log.game.belief_targets[0]
    wolves = {seat for seat, fact in enumerate(facts) if fact.role in first.roles}
    observer = Observer("exact", log.config, log.mix or EVEN, lapse=LAPSE)
    alive, out = set(range(len(facts))), []
    for record in log.records:
        if isinstance(record, Decision):
            continue
        speaker = record.actor if record.kind == "speech" else None
        partners = (wolves & alive) - {speaker}
        told = speaker in wolves and len(partners) == 1
        old = _partner(observer, first, int(speaker or 0), alive) if told else None
        observer.update(record)
        if old is not None:
            out.append((old, _partner(observer, first, int(speaker or 0), alive), partners.pop()))
        if isinstance(record, Event) and record.kind in log.game.exit_kinds and record.target is not None:
            alive.discard(record.target)
    return out


def _partner(observer: Observer, first: BeliefTarget, speaker: int, alive: set[int]) -> np.ndarray:
    """`(n_seats,)`: the probability that each living other is the partner, the speaker being a werewolf."""
    worlds = observer.world_weights.onehot.reshape(-1, observer.n, len(observer.roles))
    wolf = worlds[:, :, first.places(observer.roles)].sum(-1)
    weights = observer.weights().sum(axis=1) * wolf[:, speaker]
    shares = np.asarray(weights @ wolf)
    shares[[j for j in range(len(shares)) if j == speaker or j not in alive]] = 0.0
    return shares / shares.sum()
