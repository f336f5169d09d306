"""A character fitted to other games by maximum likelihood: the policy behind the `fitted` observer.

One `Style` for everybody. Rates (how often a werewolf accuses, a seer reports) are counted; weights (sharpness,
following of the crowd, sparing of partners) are fitted by coordinate ascent on the likelihood of all typed acts given
the true roles. A share `lapse` of acts follows no policy, so that no act is impossible. Fit on training games only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from agents.werewolf.observer import likelihood
from agents.werewolf.observer.information_sets import (
    HUMAN,
    SEER,
    WOLF,
    Characters,
    InfoSets,
    Scene,
    Sequences,
    encode,
)
from agents.werewolf.observer.likelihood import parse
from agents.werewolf.styles import Style
from games.records import NOBODY, Event, Record
from games.werewolf.config import WerewolfConfig
from games.werewolf.evidence import Evidence
from games.werewolf.roles import species_of

GRID: dict[str, tuple[float, ...]] = {
    "sharpness": (0.0, 0.1, 0.25, 0.5, 0.7, 1.0, 1.3, 1.8),
    "follow": (0.0, 0.15, 0.3, 0.5, 0.8, 1.2),
    "wolf_follow": (0.0, 0.3, 0.6, 0.9, 1.3, 1.8),
    "spare": (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.5),
    "bus": (0.0, 0.05, 0.1, 0.2, 0.4, 0.6),
}
"""The values among which each weight is searched."""
OF_WEREWOLVES = ("wolf_follow", "spare", "bus")
"""The weights of `GRID` on which no act of other players depends."""


class Fitted(msgspec.Struct, frozen=True):
    """A fitted character."""

    style: Style
    lapse: float
    """Share of acts that follow no policy."""
    n_games: int
    """Number of games that it was fitted on."""
    nats: float
    """Mean log-likelihood of an act of those games."""


class _Act(msgspec.Struct):
    """One act, with the true information set of its actor."""

    scene: Scene
    infosets: InfoSets
    actor: int
    event: Event
    options: list[int]
    row: int
    """The actor's row among the infosets."""


def fit(games: Iterable[tuple[WerewolfConfig, Sequence[Record]]], sweeps: int = 2) -> Fitted:
    """Fit one character to (config, whole log) of training games. Raises ValueError without games."""
    acts: list[_Act] = []
    n_games = 0
    for config, records in games:
        acts += _acts(config, records)
        n_games += 1
    if not acts:
        raise ValueError(f"found {n_games} games with no public act; a character needs games to be fitted on")
    style, unread = _rates(acts)
    lapse = min(max((unread + 1) / (len(acts) + 2), 0.01), 0.5)
    flat = np.array([_flat(act, acts[0].scene.n) for act in acts])
    best, p = -np.inf, np.zeros(len(acts))
    for _ in range(sweeps):
        for name, values in GRID.items():
            styles = [msgspec.structs.replace(style, **{name: v}) for v in values]
            of_all = _probabilities(acts, styles, p if name in OF_WEREWOLVES else None)
            score = np.log((1 - lapse) * of_all + lapse * flat).cumsum(1)[:, -1]
            chosen = int(score.argmax())
            best, style, p = float(score[chosen]), styles[chosen], of_all[chosen]
    return Fitted(style, lapse, n_games, best / len(acts))


def _acts(config: WerewolfConfig, records: Sequence[Record]) -> list[_Act]:
    """Speeches and public ballots of a log, each with the evidence before it and its actor's true infoset."""
    deal = next((r for r in records if isinstance(r, Event) and r.kind == "deal"), None)
    if deal is None:
        raise ValueError("a log without its `deal` event is one seat's view; fitting needs the whole log")
    roles = (deal.data or {})["roles"]
    n = config.n_players
    seen, results = Evidence.empty(n), [list[tuple[int, bool]]() for _ in range(n)]
    scene, last = Scene(seen), ""
    among: list[int] = []
    out = []
    for e in records:
        if not isinstance(e, Event):
            continue
        if e.kind == "inspect" and e.actor is not None and e.target is not None:
            wolf = e.value == "werewolf" or species_of(e.value or "") == "werewolf"
            results[e.actor].append((e.target, wolf))
        if e.audience is not None:
            continue
        if e.kind == "tie":
            among = (e.data or {})["tied"]
        elif e.kind == "phase":
            among = []
        if e.actor is not None and e.kind in ("speech", "last_words", "ballot"):
            if e.kind != "ballot" or config.ballot == "sequential" or last != "ballot":
                scene = Scene(seen)
            living = among or [j for j in range(n) if seen.alive[j]]
            options = [j for j in living if config.ballot_self or j != e.actor] + [
                NOBODY
            ] * config.ballot_abstain
            infosets = _true_infoset(roles, e.actor, results[e.actor], scene.reports.get(e.actor, {}))
            row = 0 if roles[e.actor] == "villager" else len(infosets.kind) - 1
            out.append(_Act(scene, infosets, e.actor, e, options, row))
        last = e.kind
        seen.add(e)
    return out


def _true_infoset(
    roles: Sequence[str], seat: int, results: Sequence[tuple[int, bool]], mine: Mapping[int, bool]
) -> InfoSets:
    """The actor's own infoset, laid out as in `InfoSets`; its row is the last one."""
    n, role = len(roles), roles[seat]
    told, value, partner = np.zeros((2, n), dtype=bool), np.zeros((2, n)), np.zeros((2, n))
    kinds, packs, lodges, codes, found = [HUMAN, HUMAN], [], [], [], []
    if role in ("werewolf", "mason", "seer"):
        told, value, partner = (np.concatenate([x, x[:1]]) for x in (told, value, partner))
        fellows = [j for j in range(n) if roles[j] == role and j != seat]
        if role == "werewolf":
            kinds.append(WOLF)
            packs = [0]
            partner[2, fellows] = 1.0
        elif role == "mason":
            kinds.append(HUMAN)
            lodges = [0]
            told[2, fellows], value[2, fellows] = True, -8.0
        else:
            kinds.append(SEER)
            codes = [encode([j for j, _ in results if j not in mine], n)]
            for j, wolf in results:
                told[2, j], value[2, j] = True, 8.0 if wolf else -8.0
            known = dict(results)
            found = [sum(1 << j + n | wolf << j for j, wolf in known.items())]
    return InfoSets(
        kind=np.array(kinds), told=told, value=value, partner=partner, ll=np.zeros((1, len(kinds))),
        packs=np.array(packs, dtype=np.int64), lodges=np.array(lodges, dtype=np.int64),
        results=np.array(found, dtype=np.int64),
        sequences=Sequences(
            np.zeros(len(codes), dtype=np.int64), np.array(codes, dtype=np.int64), np.ones((1, len(codes)))
        ),
    )  # fmt: skip


def _rates(acts: Sequence[_Act]) -> tuple[Style, int]:
    """The counted rates, each shrunk by one success in two, and how many speeches no style would make."""
    counts: dict[str, list[float]] = {}
    unread = 0

    def count(name: str, success: bool) -> None:
        pair = counts.setdefault(name, [1.0, 2.0])
        pair[0] += success
        pair[1] += 1

    for act in acts:
        kind = int(act.infosets.kind[-1])
        if act.event.kind == "ballot":
            if NOBODY in act.options:
                count("abstain", act.event.target == NOBODY)
            continue
        parsed = parse(act.event.acts)
        if parsed is None:
            unread += 1
            continue
        claim, reports, stance, _, announce = parsed
        prefix = "wolf_" if kind == WOLF else ""
        for name in ("accuse", "defend", "question"):
            count(prefix + name, stance == name)
        if stance == "accuse":
            count("announce", announce)
        if kind == SEER and (act.infosets.sequences.code > 0).any():
            count("reveal", bool(reports))
        elif kind == WOLF and "seer" not in act.scene.claims:
            count("fake_seer", bool(reports))
        elif act.row == 0 and "seer" not in act.scene.claims:
            count("bluff", claim and not reports)
    rates = {name: done / all_ for name, (done, all_) in counts.items()}
    for prefix in ("", "wolf_"):
        total = sum(rates.get(prefix + name, 0.0) for name in ("accuse", "defend", "question"))
        if total > 0.98:
            for name in ("accuse", "defend", "question"):
                rates[prefix + name] *= 0.98 / total
    return msgspec.structs.replace(Style(), **rates), unread


def _flat(act: _Act, n: int) -> float:
    """Probability of an act that follows no policy, among n seats."""
    return 1 / max(len(act.options), 1) if act.event.kind == "ballot" else 1 / (1 + 3 * n)


def _probabilities(acts: Sequence[_Act], styles: Sequence[Style], known: np.ndarray | None) -> np.ndarray:
    """Probability `(n_styles, n_acts)` of each act under each style; `known`: where the styles differ only in what
    werewolves do, that of all others' acts `(n_acts,)`."""
    out = np.empty((len(styles), len(acts)))
    c = Characters(dict.fromkeys(styles, 1.0), acts[0].scene.n)
    index = [c.keys.index(style) for style in styles]
    for i, act in enumerate(acts):
        if known is not None and act.infosets.kind[-1] != WOLF:
            out[:, i] = known[i]
        elif act.event.kind == "ballot":
            target = NOBODY if act.event.target is None else act.event.target
            p = likelihood.ballot(c, act.scene, act.infosets, act.actor, target, act.options)
            out[:, i] = p[index, act.row]
        else:
            p = likelihood.speech(c, act.scene, act.infosets, act.actor, act.event.acts)
            out[:, i] = p[index, act.row]
    return out
