"""Splicing: a perfect dictionary keeps every prediction, the mean row is the other end of the scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.hooks.model import hook_model
from harness.activations.items import CaptureItem
from harness.features.dictionary import Card, Dictionary
from harness.features.splice import splice
from tests.fixtures.tiny_models import D_MODEL, tiny_model


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
    assert (whole.n_contexts, whole.n_edited, whole.n_tokens) == (6, 12, 6 * 18)
    plain = 0.0
    for item in items:
        with torch.no_grad():
            logits = hooked.model(input_ids=torch.tensor([item.ids])).logits[0, 12:-1]
        plain += float(
            torch.nn.functional.cross_entropy(logits, torch.tensor(item.ids[13:]), reduction="sum")
        )
    assert whole.cross_entropy == pytest.approx(plain / (6 * 17), rel=1e-4)
