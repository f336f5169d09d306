"""What a small model states and represents of the other seats, against the truth and the exact observer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from scipy.special import rel_entr

from agents.exam import HIGHEST, lexicon_of
from agents.hooks.model import load_hooked_model
from agents.lessons import lessons_of
from agents.models.folder import load_tokenizer
from analysis.stats.bootstrap import r2_interval
from analysis.stats.metrics import auroc, brier, ece, log_odds
from games import load_game
from games.base import BeliefTarget, Game
from harness.capture.reader import reinitialised
from harness.model_evaluation.held_out import measured_targets, sittings, stack
from harness.model_evaluation.probes import auroc_of, characters, represented
from harness.model_evaluation.readings import BELIEF_SITES, SITES, Reading, Stated

FURTHEST = 0.03
"""The report states how much of the divergence from the exact observer lies in this share of the questions."""


class Belief(msgspec.Struct, frozen=True):
    """How well one source of beliefs separates seats of whom a target holds from others, over living subjects."""

    source: str
    n: int
    n_games: int
    auroc: float
    low: float
    """Bounds of the AUROC's 95% interval over games (`analysis.stats.bootstrap`)."""
    high: float
    brier: float
    ece: float


def score(source: str, p: np.ndarray, truth: np.ndarray, games: np.ndarray) -> Belief:
    """AUROC, Brier score and expected calibration error of probabilities `(n,)`."""
    (area,) = auroc_of(truth, [p], games)
    return Belief(
        source=source,
        n=len(p),
        n_games=len(np.unique(games)),
        auroc=area.value,
        low=area.low,
        high=area.high,
        brier=brier(truth, p),
        ece=ece(truth, p),
    )


def surprise(exact: np.ndarray, stated: np.ndarray) -> tuple[float, float]:
    """Mean Kullback-Leibler divergence in nats of stated from exact probabilities, both `(n,)`, and the share of its
    sum that is in the `FURTHEST` of the questions."""
    q = np.clip(exact, 0.0, 1.0)  # sums of weights may exceed 1 by rounding
    p = np.clip(stated, 1e-4, 1.0 - 1e-4)
    nats = np.sort(rel_entr(q, p) + rel_entr(1.0 - q, 1.0 - p))
    return float(nats.mean()), float(nats[-round(FURTHEST * len(nats)) :].sum() / nats.sum())


def print_beliefs(folder: Path, name: str, n_games: int, say: Any) -> None:
    """The model's stated and represented beliefs about every target of the game called `name`, beside the observers on
    every rung of evidence and the baselines."""
    game, exam, tokenizer = load_game(name), lessons_of(name).exam, load_tokenizer(folder)
    targets = measured_targets(game)
    reading = Reading(load_hooked_model(folder), tokenizer, exam)
    found = list(sittings(name, exam.PRESET, n_games, lexicon_of(name, tokenizer)))
    asked = stack([item for sitting in found for item in sitting.inquiries])
    texts = [item.text for sitting in found for item in sitting.inquiries]
    stated = Stated(reading, found)
    for n, target in enumerate(targets):
        print_stated(game, target, n, asked, stated, n_games, say)
    with TemporaryDirectory() as scratch:
        activations = {
            "small model": reading.capture(found, Path(scratch) / "activations"),
            "untrained model": reading.capture(
                found, Path(scratch) / "activations-untrained", reinitialised(reading.hooked)
            ),
        }
    for n, target in enumerate(targets):
        of = f"that the subject is {target.phrase}" if n else "of the subject"
        exact = asked[HIGHEST][:, n]
        wanted = [(f"log-odds of the exact posterior {of}", log_odds(exact), log_odds(stated.first[:, n]))]
        if not n:
            wanted.append(
                (
                    "log-odds of what the subject is expected to believe of the viewer (second order)",
                    log_odds(asked["expected"]),
                    log_odds(stated.second),
                )
            )
        rows = np.flatnonzero(asked["asks"][:, n])
        for what, y, said in wanted:
            print_represented(what, y, said, rows, activations, asked, texts, say)
    if not exam.CHARACTERS:
        return
    say("hidden character of the subject: AUROC, one against the rest, averaged")
    for r in characters(
        activations["small model"],
        asked["counts"],
        asked["p_characters"],
        asked["character"],
        asked["game"],
        SITES,
        stated.characters,
    ):
        say(f"  {r.source:24} {r.value:6.3f} [{r.low:.3f}, {r.high:.3f}]  {r.chosen}")


def print_stated(
    game: Game,
    target: BeliefTarget,
    n: int,
    asked: dict[str, np.ndarray],
    stated: Stated,
    n_games: int,
    say: Any,
) -> None:
    """The stated belief about target `n`, over all rounds of the game, the first, and the later ones."""
    exam = lessons_of(game.name).exam
    who, moments = exam.ASKED[target.name].words, " or ".join(game.belief_moments)
    others = "living others" if game.exit_kinds else "others"
    if target.apart:
        others += f" that are not known to be {game.belief_targets[0].phrase}"
    kinds = (*exam.RUNGS[:-1], HIGHEST)
    asks, day = asked["asks"][:, n], asked["day"]
    for when, rows in (
        ("", asks),
        (f" on {exam.ROUND} 1", asks & (day == 1)),
        (" later", asks & (day > 1)),
    ):
        truth, games, exact = asked["holds"][rows, n], asked["game"][rows], asked[HIGHEST][rows, n]
        say(
            f"stated belief{when}: is the subject {target.phrase}? {who} before each {moments} of {n_games} scripted "
            f"{exam.PRESET} games, {others} ({rows.sum()} questions)"
        )
        best = float(auroc(truth, exact))
        for source in ("stated", *kinds):
            p = stated.first[rows, n] if source == "stated" else asked[source][rows, n]
            b = score(source, p, truth, games)
            say(
                f"  {b.source:10} AUROC {b.auroc:.3f} [{b.low:.3f}, {b.high:.3f}]  Brier {b.brier:.3f}  "
                f"ECE {b.ece:.3f}  share of exact's excess {(b.auroc - 0.5) / (best - 0.5):.1%}"
            )
        mean, share = surprise(exact, stated.first[rows, n])
        say(
            f"  from the exact posterior to the stated: {mean:.3f} nats a question, {share:.0%} of them in the "
            f"{FURTHEST:.0%} of the questions that are furthest"
        )


def print_represented(
    what: str,
    y: np.ndarray,
    said: np.ndarray,
    rows: np.ndarray,
    activations: dict[str, np.ndarray],
    asked: dict[str, np.ndarray],
    texts: Sequence[str],
    say: Any,
) -> None:
    """R2 of a probe of the log-odds `y` `(n_inquiries,)` on the inquiries `rows`, beside the stated ones and the
    baselines."""
    games, target, told = asked["game"][rows], y[rows], said[rows]
    measured = games % 2 == 1
    say(f"represented belief: R2 of the {what}; fitted on even games, measured on odd ones")
    r2 = r2_interval(target[measured], told[measured], games[measured])
    say(f"  {'stated':24} {r2.value:6.3f} [{r2.low:.3f}, {r2.high:.3f}]")
    there = activations if len(rows) == len(y) else {source: x[rows] for source, x in activations.items()}
    for r in represented(there, target, asked["counts"][rows], [texts[i] for i in rows], games, BELIEF_SITES):
        say(f"  {r.source:24} {r.value:6.3f} [{r.low:.3f}, {r.high:.3f}]  {r.chosen}")
