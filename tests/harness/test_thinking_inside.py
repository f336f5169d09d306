"""Beliefs inside a thinking model, against planted ones: the probe finds them where they are and nowhere else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from agents.backends.mock import MockBackend
from agents.models.folder import load_tokenizer
from agents.models.small import find_model
from analysis.stats.metrics import log_odds
from harness.model_evaluation.thinking.arms import Thinkers, thoughts
from harness.model_evaluation.thinking.inside import follows, inside
from harness.model_evaluation.thinking.moments import moments
from harness.model_evaluation.thinking.scores import CLIP, Scored
from harness.model_evaluation.thinking.tables import conflicts_table, layers_tables

WIDTH, LAYERS, PLANTED = 12, 2, 1


class Planted(Scored):
    """Noise, but at the question before any thought: there the layer `PLANTED` holds a noisy exact belief."""

    def __init__(self, thinkers: Thinkers) -> None:
        layout = SimpleNamespace(d_model=WIDTH)
        scorer: Any = SimpleNamespace(streams=self.streams, hooked=SimpleNamespace(layout=layout))
        self.thinkers, self.scorer = thinkers, scorer
        self.rng, self.held = np.random.default_rng(0), dict[tuple[int, ...], float]()

    def streams(self, ids: Any, positions: Any, layers: Any) -> torch.Tensor:
        x = self.rng.normal(size=(len(positions), len(layers), WIDTH))
        if tuple(ids) in self.held and list(positions) == [len(ids) - 1]:
            x[0, PLANTED] += self.held[tuple(ids)] * np.arange(WIDTH)
        return torch.from_numpy(x.astype(np.float32))

    def unembedding(self, tokens: Any) -> torch.Tensor:
        return torch.ones(len(tokens), WIDTH)


@pytest.fixture(scope="module")
def planted() -> tuple[Any, ...]:
    """Moments, thoughts, and the scored streams with what they hold."""
    thinkers = Thinkers(MockBackend(), load_tokenizer(find_model("small-thinking")))
    found = list(moments("probe-6", 12))
    made = thoughts(thinkers, found, ("none", "exact belief"))
    of = {"none": made["none"], "belief": made["exact belief"]}
    scored = Planted(thinkers)
    for m, thought in zip(found, of["none"], strict=True):
        for j, p in zip(m.subjects, m.exact, strict=True):
            held = float(log_odds(p, CLIP)) + float(scored.rng.normal())
            scored.held[scored.question(m, thought, j)] = held
    return found, of, scored


def votes(found: Any, of: Any, scored: Any, by: str) -> pl.DataFrame:
    """Votes whose log-probability is the written belief, or what is held inside."""
    rows = []
    for m, bare, thought in zip(found, of["none"], of["belief"], strict=True):
        for j in m.subjects:
            tenths = thought.line.belief[m.names[j]]
            held = scored.held[scored.question(m, bare, j)]
            vote = float(np.exp((float(log_odds(tenths / 10, CLIP)) if by == "words" else held) - 8))
            rows.append({"moment": m.id, "subject": j, "arm": "belief", "written": tenths, "vote": vote})
    return pl.DataFrame(rows)


def test_the_probe_finds_a_planted_belief_in_its_place_and_layer_alone(planted: tuple[Any, ...]) -> None:
    found, of, scored = planted
    layers, table = inside(scored, found, of, votes(found, of, scored, "words"), LAYERS)
    at = {(r["place"], r["arm"], r["layer"]): r["r2"] for r in layers.iter_rows(named=True)}
    assert at.pop(("question", "none", PLANTED)) > 0.75
    assert max(at.values()) < 0.05
    assert {place for place, _, _ in at} == {"question", "number", "offer", "ballot"}
    made = [*layers_tables(layers), conflicts_table(table)]
    assert all(len(row) == len(one.head) for one in made for row in one.rows) and len(made) == 5


@pytest.mark.parametrize(("by", "other"), [("words", "inside"), ("inside", "words")])
def test_a_ballot_that_follows_the_words_is_told_from_one_that_follows_the_inside(
    planted: tuple[Any, ...], by: str, other: str
) -> None:
    found, of, scored = planted
    _, table = inside(scored, found, of, votes(found, of, scored, by), LAYERS)
    of_layer = follows(table.filter(layer=PLANTED))
    assert of_layer[by].low > 0.7 and abs(of_layer[other].value) < 0.2
    assert (
        of_layer["said"].value > 0.6 and of_layer["off"].high < 0
    )  # the words are exact, the inside is noisy
    nothing = follows(table.filter(layer=1 - PLANTED))
    assert nothing["said"].value < 0.1


def test_a_place_with_a_row_a_game_is_read_as_nothing_and_not_an_error() -> None:
    from harness.model_evaluation.thinking.inside import out_of_fold

    x = np.full((9, 4), np.nan, dtype=np.float32)
    x[[0, 3, 6]] = np.random.default_rng(0).normal(size=(3, 4))
    assert np.isnan(out_of_fold(x, np.arange(9.0), np.repeat([0, 1, 2], 3))).all()
