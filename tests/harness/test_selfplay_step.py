"""One step of the policy gradient, on a tiny model of a usual architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.backends.base import Prompt, Sampling
from harness.training.selfplay.contexts import LearnerContext, Own
from harness.training.selfplay.learner import Learner, logits_at
from harness.training.selfplay.sampler import Sampler
from harness.training.selfplay.settings import ObjectiveSection, SelfPlayConfig, SelfPlayError
from harness.training.selfplay.step import batches, collate, objective
from tests.fixtures.tiny_models import save_tiny_model, tiny_model

PLAIN = ObjectiveSection(kl_weight=0.0)


def learner_of(folder: Path, family: str, **more: Any) -> Learner:
    if more.get("lora"):
        pytest.importorskip("peft")
    return Learner(SelfPlayConfig(model=str(save_tiny_model(folder, family)), **more))


def drawn(learner: Learner, advantages: tuple[float, ...]) -> list[LearnerContext]:
    """A context of two drawn decisions for each two advantages."""
    sampler = Sampler(learner.model.eval(), "tiny", tokenizer=learner.tokenizer)
    contexts = []
    for i in range(0, len(advantages), 2):
        ids, own = list(range(4, 12 + i)), []
        for k in range(2):
            prompt = Prompt(tuple(ids), Sampling(max_tokens=3, seed=i + k), session=f"g/{i}")
            (answer,) = sampler.answer([prompt])
            own.append(
                Own(
                    k,
                    "ballot",
                    len(ids),
                    len(ids) + len(answer.output_ids),
                    answer.logprobs,
                    "",
                    advantages[i + k],
                )
            )
            ids += [*answer.output_ids, 20, 21]
        contexts.append(LearnerContext(ids, own, 0, "werewolf", i, 0, "", True, "w"))
    return contexts


@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen2"])
def test_logits_at_some_places_are_the_models_own(family: str) -> None:
    model = tiny_model(family)
    ids = torch.arange(4, 24).view(2, 10)
    rows, columns = torch.tensor([0, 1, 1]), torch.tensor([9, 0, 4])
    with torch.no_grad():
        whole = model(input_ids=ids).logits[rows, columns]
        torch.testing.assert_close(logits_at(model, rows, columns, input_ids=ids), whole)


@pytest.mark.parametrize("lora", [None, {"rank": 4}])
def test_the_ratio_is_1_and_the_divergence_0_at_the_first_step(tmp_path: Path, lora: Any) -> None:
    learner = learner_of(tmp_path, "qwen2", lora=lora)
    contexts = drawn(learner, (1.0, -1.0, 0.5, 0.2))
    _, seen = objective(learner, collate(contexts), ObjectiveSection(kl_weight=1.0), 1.0, True)
    np.testing.assert_allclose(seen.ratio, 1.0, atol=1e-4)
    np.testing.assert_allclose(seen.kl, 0.0, atol=1e-5)
    assert seen.gap.max() < 1e-4
    assert (seen.entropy > 0).all()


@pytest.mark.parametrize("lora", [None, {"rank": 4}])
def test_a_step_makes_what_turned_out_well_likelier_and_what_did_not_less(tmp_path: Path, lora: Any) -> None:
    learner = learner_of(tmp_path, "qwen2", lora=lora)
    contexts = drawn(learner, (1.0, -1.0))
    start = {n: p.clone() for n, p in learner.model.named_parameters()}
    batch = collate(contexts)
    before = learner.start_logits(batch.rows, batch.columns, batch.ids).clone()
    optimiser = torch.optim.SGD(learner.parameters(), lr=0.02)
    for _ in range(2):  # the first moves but one of each pair of low-rank matrices
        loss, _ = objective(learner, batch, PLAIN, 1.0, False)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    _, seen = objective(learner, batch, ObjectiveSection(kl_weight=1.0, clip=9.0), 1.0, True)
    assert seen.ratio[0] > 1.0 > seen.ratio[1]
    assert seen.kl.sum() > 0
    moved = {n for n, p in learner.model.named_parameters() if not torch.equal(p, start[n])}
    assert moved
    assert moved <= set(learner.state())
    if lora:
        assert all("lora" in name for name in moved)
    torch.testing.assert_close(learner.start_logits(batch.rows, batch.columns, batch.ids), before)


def test_a_ratio_beyond_the_clip_has_no_gradient(tmp_path: Path) -> None:
    learner = learner_of(tmp_path, "llama")
    contexts = drawn(learner, (1.0, 1.0))
    for c in contexts:
        for own in c.own:
            own.logprobs = tuple(x - 1.0 for x in own.logprobs)
    loss, _ = objective(learner, collate(contexts), PLAIN, 1.0, False)
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in learner.parameters())


def test_batches_and_order_of_contexts_change_no_gradient(tmp_path: Path) -> None:
    learner = learner_of(tmp_path, "llama")
    contexts = drawn(learner, (1.0, -1.0, 0.5, 0.2, -0.3, 0.7))
    grads = []
    for some, tokens in ((contexts, 10_000), (contexts[::-1], 20)):
        for batch in batches(some, tokens):
            objective(learner, batch, PLAIN, 1.0, False)[0].backward()
        grads.append(torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None]))
        learner.model.zero_grad()
    torch.testing.assert_close(grads[0], grads[1], atol=1e-5, rtol=1e-4)


def test_low_rank_matrices_for_layers_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SelfPlayError, match="linear layers are called"):
        learner_of(tmp_path, "llama", lora={"modules": ("c_attn",)})


def test_a_model_that_sees_but_a_window_is_refused() -> None:
    with pytest.raises(SelfPlayError, match="full attention"):
        Sampler(tiny_model("gemma2"), "windowed", tokenizer=None)
