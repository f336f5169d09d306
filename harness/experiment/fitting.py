"""Activations to fit a belief direction on: where a model is asked for its belief about another player."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.experiment.arms import BASE, Arm
from harness.experiment.facts import candidates
from harness.experiment.moments import Moment
from harness.experiment.scenes import Scenes, positions
from harness.experiment.scoring.packed import PackedScorer, packs
from harness.experiment.scoring.plain import PlainScorer
from harness.run.folder import Run


def belief_streams(
    runs: Sequence[Run], games: set[tuple[int, str]], kind: str, hooked: Any, most: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], list[int]]:
    """(streams (n_rows, n_layers, d_model), whether the subject is a werewolf (in other games: what they ask of
    others first), game of each row as a number).

    One row a subject that the viewer has not been told of, before each decision of the kind, evenly thinned out to
    about `most`.
    """
    scorer = PackedScorer(hooked) if packs(hooked) else PlainScorer(hooked)
    base = Arm(BASE, BASE, "", "none")
    layers = tuple(range(hooked.layout.n_layers))
    number = {game: i for i, game in enumerate(sorted(games))}
    streams, labels, codes = [], [], []
    for index, run in enumerate(runs):
        scenes = Scenes(run)
        found = candidates(run, index, kind, [g for i, g in games if i == index])
        rows = sum(len(c.options) for c in found)
        every = max(1, round(rows / most))
        for c in found[::every]:
            for subject in [i for i in c.options if i not in c.told]:
                moment = Moment(
                    id=0, run=index, game_id=c.game_id, seq=c.seq, seat=c.seat, role=c.roles[c.seat],
                    faction=c.factions[c.seat], day=c.facts["day"], subject=subject, subject_role=c.roles[subject],
                    subject_told=False, other=None, belief={},
                )  # fmt: skip
                asked = scenes.scene(moment).belief(base, subject)
                where = None if asked is None else positions(asked, subject, "option")
                if asked is None or where is None:
                    continue
                streams.append(scorer.streams(asked.ids, where, layers)[0].numpy())
                labels.append(c.asked[subject])
                codes.append(number[index, c.game_id])
    width = (0, len(layers), hooked.layout.d_model)
    stacked = np.stack(streams).astype(np.float32) if streams else np.zeros(width, dtype=np.float32)
    return stacked, np.array(labels, dtype=bool), codes
