"""A small model along its training: looking up, counting by the rules, and inferring from behaviour, measured
separately.

Run it with `wolfscope eval-small-model --course`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import torch

from agents.exam import HELD_OUT, HIGHEST, lexicon_of
from agents.hooks.model import HookedModel, load_hooked_model
from agents.lessons import lessons_of
from agents.llm.beliefs import gone, role_words
from agents.models.folder import load_tokenizer
from agents.models.small import unpack_checkpoints
from analysis.stats.metrics import auroc, log_odds, r2
from games import DEFAULT, chance, load_game
from games.base import Observation
from games.play import observe, waves
from harness.model_evaluation.held_out import Sitting, in_targets, sittings, stack
from harness.model_evaluation.probes import best_probe
from harness.model_evaluation.readings import BELIEF_SITES, Reading, Stated


class Stage(msgspec.Struct, frozen=True):
    """The figures of one checkpoint."""

    name: str
    look_up: float
    """Probability on the truth, where the viewer was told it or it follows from that: whether the first
    belief target (a werewolf, an evil player) holds of the subject."""
    rules: float
    """Mean distance of the stated probability from the posterior under the rules, asked before anyone has spoken, over
    subjects in doubt."""
    behaviour: float
    """AUROC of the stated probability before the decisions of the belief moment, of living others, for the viewers of
    `Exam.ASKED`."""
    excess: float
    """`behaviour` above one half, as a share of the exact observer's."""
    stated: float
    """R2 of the stated log-odds against the exact posterior's."""
    represented: float
    """R2 of a ridge probe of those, the site and layer chosen on the games it is fitted on, measured on others."""
    second: float
    """R2 of the stated log-odds of what the subject believes of the viewer."""


class Known(msgspec.Struct, frozen=True):
    """One viewer at one moment, asked about each living other."""

    observation: Observation
    subjects: tuple[int, ...]
    p: tuple[float, ...]
    """The rules' probability that the first target holds of each of them `(n_subjects,)`."""
    spoken: bool
    """Whether anyone had spoken."""


def known(name: str, n_games: int, lexicon: str) -> Iterator[Known]:
    """The questions to every seat before the first speech and before each decision of the belief moment of held-out
    games, viewer by viewer."""
    game, exam = load_game(name), lessons_of(name).exam
    config, target = game.configure(preset=exam.PRESET, lexicon=lexicon), game.belief_targets[0]
    for index in range(n_games):
        seed = chance.key(HELD_OUT, "known", index) >> 1
        log = exam.scripted_game(config, seed)
        observer = exam.observer(exam.RUNGS[0], config)
        found: dict[int, list[Known]] = {}
        spoken, read = False, 0
        for requests, wave, before in waves(game, config, seed, log):
            first = not spoken and wave[0].kind == game.speech_kinds[0]
            if not first and wave[0].kind not in game.belief_moments:
                continue
            for record in log[read : len(before)]:
                observer.update(record)
            left, read = gone(game, before), len(before)
            alive = [j for j in range(config.n_players) if j not in left]
            for viewer in alive:
                p = in_targets(observer.beliefs(viewer), observer.roles, [target])[:, 0]
                others = tuple(j for j in alive if j != viewer)
                request = msgspec.structs.replace(requests[0], seat=viewer)
                seen = observe(game, f"known-{index}", config, seed, before, request)
                asked = Known(seen, others, tuple(float(p[j]) for j in others), not first)
                found.setdefault(viewer, []).append(asked)
            spoken = True
        for items in found.values():
            yield from items


def stated(reading: Reading, told: Sequence[Known]) -> np.ndarray:
    """Stated probability of the first target `(n_asked,)`, in the order of the moments and their subjects."""
    found = []
    for item in told:
        viewer = item.observation.request.seat
        target = load_game(item.observation.game).belief_targets[0]
        p = reading.states(item.observation, [(viewer, j) for j in item.subjects])
        found.append(in_targets(p, list(role_words(item.observation)), [target])[:, 0])
    return np.concatenate(found)


def stage(
    name: str,
    hooked: HookedModel,
    tokenizer: Any,
    told: Sequence[Known],
    held_out: Sequence[Sitting],
    game: str = DEFAULT,
) -> Stage:
    """One row of the course."""
    reading = Reading(hooked, tokenizer, lessons_of(game).exam)
    p = stated(reading, told)
    rules = np.array([x for item in told for x in item.p])
    spoken = np.array([item.spoken for item in told for _ in item.p])
    certain = (rules < 1e-9) | (rules > 1 - 1e-9)
    counted = ~certain & ~spoken
    asked = stack([item for sitting in held_out for item in sitting.inquiries])
    answered, asks = Stated(reading, held_out), asked["asks"][:, 0]
    truth, games = asked["holds"][asks, 0], asked["game"][asks]
    said, exact = answered.first[asks, 0], asked[HIGHEST][asks, 0]
    target = log_odds(exact)
    ours, best = (float(auroc(truth, x)) for x in (said, exact))
    with TemporaryDirectory() as scratch:
        x = reading.capture(held_out, Path(scratch))[asks]
    _, measured, guess = best_probe(x, target, games, BELIEF_SITES, range(1, x.shape[2]))
    return Stage(
        name=name,
        look_up=float(np.where(rules[certain] > 0.5, p[certain], 1.0 - p[certain]).mean()),
        rules=float(np.abs(p - rules)[counted].mean()),
        behaviour=ours,
        excess=(ours - 0.5) / (best - 0.5),
        stated=float(r2(target, log_odds(said))),
        represented=float(r2(target[measured], guess)),
        second=float(r2(log_odds(asked["expected"][asks]), log_odds(answered.second[asks]))),
    )


def course(folder: Path, n_games: int, game: str = DEFAULT) -> Iterator[Stage]:
    """The stages of a model's kept checkpoints, earliest first. Raises FileNotFoundError where none was kept."""
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(folder)
    lexicon = lexicon_of(game, tokenizer)
    told = list(known(game, n_games, lexicon))
    held_out = list(sittings(game, lessons_of(game).exam.PRESET, n_games, lexicon))
    with TemporaryDirectory() as scratch:
        for path in unpack_checkpoints(folder, Path(scratch)):
            yield stage(path.name, load_hooked_model(path), tokenizer, told, held_out, game)


def print_course(folder: Path, n_games: int, say: Any, game: str = DEFAULT) -> None:
    """The course as a table."""
    say(
        f"along training ({n_games} held-out {lessons_of(game).exam.PRESET} games): probability on the truth where it "
        "was told; distance from the rules' probability before anyone has spoken; before each "
        f"{' or '.join(load_game(game).belief_moments)} AUROC, its share of the exact observer's excess, and R2 of the "
        "log-odds stated, represented, and of second order"
    )
    say(f"  {'':22} told   rules  AUROC  share  stated  repr.   second")
    for s in course(folder, n_games, game):
        say(
            f"  {s.name:22} {s.look_up:.3f}  {s.rules:.3f}  {s.behaviour:.3f}  {s.excess:5.2f}  {s.stated:6.2f}  "
            f"{s.represented:6.2f}  {s.second:6.2f}"
        )
