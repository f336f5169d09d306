"""Splicing: a perfect dictionary keeps every prediction, the mean row is the other end of the scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.hooks.model import hook_model
from harness.activations.items import CaptureItem
from harness.capture.belief_forks import BeliefForks
from harness.capture.run import capture_run
from harness.config.files import parse_config
from harness.features.dictionary import Card, Dictionary
from harness.features.saved import save_dictionary
from harness.features.splice import splice, write_splice
from harness.features.spliced import read_splice, splice_lines
from harness.run.folder import load_run
from tests.fixtures.tiny_models import D_MODEL, tiny_model
from tests.harness.test_capture_playing import config_of, played

LAYER = 5


def perfect(scale: float = 1.0) -> Dictionary:
    """Plus and minus every axis: rows come back as they are, times `scale`."""
    axes = np.concatenate([np.eye(D_MODEL), -np.eye(D_MODEL)]).astype(np.float32)
    card = Card(
        kind="relu", model="", site="mention", layer="resid_post.1", d_model=D_MODEL, width=2 * D_MODEL,
        activation="relu", k=0, normalisation="none",
    )  # fmt: skip
    zeros = np.zeros(2 * D_MODEL, np.float32)
    return Dictionary(card, axes.T.copy(), zeros, scale * axes, np.zeros(D_MODEL, np.float32), zeros)


def test_recovered_is_one_for_a_perfect_dictionary_and_falls_with_what_it_loses() -> None:
    hooked = hook_model(tiny_model("llama"), "tiny@0")
    rng = np.random.default_rng(0)
    sites = {"mention:1": (1, (12,)), "mention:2": (2, (20,))}
    items = [CaptureItem("g", i, 0, tuple(int(t) for t in rng.integers(4, 96, 30)), sites) for i in range(6)]
    mean = np.zeros(D_MODEL, np.float32)
    whole, half, none = (splice(hooked, perfect(scale), items, mean) for scale in (1.0, 0.4, 0.0))
    assert whole.divergence == pytest.approx(0, abs=1e-5)
    assert whole.kept == pytest.approx(1, abs=1e-3)
    assert 0 < half.divergence < none.divergence
    assert none.divergence == pytest.approx(none.divergence_removed, rel=1e-4)
    assert none.spliced == pytest.approx(none.removed, rel=1e-5)
    assert (whole.n_contexts, whole.n_edited, whole.n_tokens, whole.n_followed) == (6, 12, 6 * 18, 6 * 17)
    plain = 0.0
    for item in items:
        with torch.no_grad():
            logits = hooked.model(input_ids=torch.tensor([item.ids])).logits[0, 12:-1]
        plain += float(
            torch.nn.functional.cross_entropy(logits, torch.tensor(item.ids[13:]), reduction="sum")
        )
    assert whole.cross_entropy == pytest.approx(plain / (6 * 17), rel=1e-4)


def test_a_site_that_nothing_follows_has_no_cross_entropy_and_says_so() -> None:
    hooked = hook_model(tiny_model("llama"), "tiny@0")
    ids = tuple(int(t) for t in np.random.default_rng(1).integers(4, 96, 20))
    items = [CaptureItem("g", 0, 0, ids, {"output_last": (None, (19,))})]
    found = splice(hooked, perfect(0.4), items, np.zeros(D_MODEL, np.float32))
    assert (found.cross_entropy, found.recovered, found.n_tokens, found.n_followed) == (None, None, 1, 0)
    assert found.kept is not None and found.divergence > 0
    said = " ".join(splice_lines(found))
    assert "no cross-entropy" in said and "nan" not in said
    nothing = splice(hooked, perfect(), items, reading(hooked, ids))
    assert nothing.kept is None and "changes nothing" in splice_lines(nothing)[-1]


def reading(hooked: Any, ids: tuple[int, ...]) -> Any:
    """The row of the last token after block 1."""
    with torch.no_grad():
        states = hooked.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    return states[2][0, -1].numpy()


def test_behind_a_question_about_a_belief_stands_the_true_answer(tmp_path: Path) -> None:
    changes = {
        "beliefs": {"enabled": True, "before": ["ballot", "speech"]},
        "roster": {"seats": ["loud", "small", "loud", "small", *["loud"] * 3]},
        "activations": {"sites": ["belief_mention"], "layers": [LAYER]},
    }  # fmt: skip
    run = load_run(played(tmp_path / "run", parse_config(config_of().plain() | changes)))
    capture_run(run.path, device="cpu")
    folder = save_dictionary(bad_dictionary(run.activations().info.model), tmp_path / "d")
    result = write_splice(run, folder, most=4, device="cpu")
    assert read_splice(folder) == result
    assert read_splice(tmp_path) is None
    assert result.n_contexts == result.n_tokens == result.n_followed == result.n_edited == 4
    assert result.cross_entropy is not None and result.spliced is not None
    assert result.spliced > result.cross_entropy + 0.5
    # what the model is asked for is what is true: its stated beliefs give the same number
    stated = {
        (b["game_id"], b["seq"], b["subject"]): {p["role"]: p["p"] for p in b["probabilities"]}
        for b in run.beliefs.collect().iter_rows(named=True)
    }
    forks, (game_id, records) = BeliefForks(run), next(iter(run.logs()))
    game, config, _ = run.game(game_id)
    roles = [fact.role for fact in game.seats(config, records)]
    items = list(forks.items(game_id, records, run.activations().info.model, answered=True))
    surprise = []
    for item in items[:: len(items) // 4][:4]:
        ((subject, _),) = item.sites.values()
        p = stated[game_id, item.seq, subject]
        surprise.append(-np.log(p[roles[subject]]))
    # beliefs are made to add up to 1 over the roles, cross-entropy is over all tokens
    assert result.cross_entropy == pytest.approx(np.mean(surprise), abs=0.05)


def bad_dictionary(model: str) -> Dictionary:
    """Knows the first half of the axes."""
    d = 128
    kept = np.eye(d, dtype=np.float32)[: d // 2]
    axes = np.concatenate([kept, -kept])
    card = Card(
        kind="relu", model=model, site="belief_mention", layer=f"resid_post.{LAYER}", d_model=d, width=d,
        activation="relu", k=0, normalisation="none",
    )  # fmt: skip
    zeros = np.zeros(d, np.float32)
    return Dictionary(card, axes.T.copy(), zeros, axes, zeros, zeros)
