"""Interventions do what their formula says, where they were asked to, and cannot silently do nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.hooks.hooks import Edit, Hooks, Reads, choose_points, named_points
from agents.hooks.layers import find_layout
from agents.hooks.steering import Intervention, Steering, SteeringError
from tests.fixtures.tiny_models import D_MODEL, N_LAYERS, tiny_model

IDS = torch.tensor([[5, 9, 17, 33, 60, 4, 8, 71], [7, 7, 20, 21, 22, 90, 91, 92]])
DIRECTION = torch.tensor(np.random.default_rng(5).normal(size=D_MODEL), dtype=torch.float32)
UNIT = DIRECTION / DIRECTION.norm()


def everywhere() -> Reads:
    rows = torch.arange(2).repeat_interleave(8)
    return Reads(rows, torch.arange(8).repeat(2), torch.arange(16), 16)


def run(model: Any, edits: list[Edit], embed: bool = False) -> tuple[Tensor, Tensor, int]:
    """(streams (n_points, 2, 8, d_model), logits, positions touched)."""
    layout = find_layout(model)
    hooks = Hooks(layout, choose_points(layout, embed=embed), editing=True)
    with torch.inference_mode(), hooks.attached():
        hooks.plan(everywhere(), edits)
        logits = model(input_ids=IDS, use_cache=False).logits
        return hooks.take().transpose(0, 1).reshape(-1, 2, 8, D_MODEL), logits, hooks.touched


def edit(
    kind: Any, value: Tensor = DIRECTION, layer: int = 1, scale: float = 1.0, point: Any = "resid_post"
) -> Edit:
    """At positions 3 and 5 of row 1."""
    return Edit(kind, point, layer, torch.tensor([1, 1]), torch.tensor([3, 5]), value, scale)


def test_adding_a_direction_is_scaled_by_the_norm_of_each_position() -> None:
    model = tiny_model()
    plain, *_ = run(model, [])
    found, _, touched = run(model, [edit("add", scale=0.3)])
    h = plain[1, 1, [3, 5]]
    torch.testing.assert_close(found[1, 1, [3, 5]], h + 0.3 * h.norm(dim=-1, keepdim=True) * UNIT)
    assert touched == 2


def test_ablation_removes_the_component_and_nothing_else() -> None:
    model = tiny_model()
    plain, *_ = run(model, [])
    found, *_ = run(model, [edit("ablate")])
    h = found[1, 1, [3, 5]]
    assert float((h @ UNIT).abs().max()) < 1e-5
    torch.testing.assert_close(h + (plain[1, 1, [3, 5]] @ UNIT).unsqueeze(1) * UNIT, plain[1, 1, [3, 5]])


def test_a_patch_from_another_run_makes_the_layers_above_equal() -> None:
    model = tiny_model()
    plain, logits, _ = run(model, [])
    whole = Edit(
        "patch", "resid_post", 0, torch.zeros(8, dtype=torch.long), torch.arange(8), plain[0, 1].clone()
    )
    found, patched, _ = run(model, [whole])
    torch.testing.assert_close(found[:, 0], plain[:, 1])
    torch.testing.assert_close(patched[0], logits[1])


def test_an_edit_leaves_other_rows_earlier_tokens_and_lower_layers_alone() -> None:
    model = tiny_model()
    plain, *_ = run(model, [])
    found, *_ = run(model, [edit("add", scale=5.0)])
    torch.testing.assert_close(found[:, 0], plain[:, 0])
    torch.testing.assert_close(found[0], plain[0])
    torch.testing.assert_close(found[:, 1, :3], plain[:, 1, :3])
    assert not torch.allclose(found[2, 1, 6], plain[2, 1, 6])


@pytest.mark.parametrize("point", ["embed", "attn_out", "mlp_out"])
@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_neox", "gpt2"])
def test_every_point_can_be_edited(point: str, family: str) -> None:
    model = tiny_model(family)
    plain, before, _ = run(model, [], embed=True)
    layer = 0 if point == "embed" else 1
    found, after, touched = run(model, [edit("add", layer=layer, scale=3.0, point=point)], embed=True)
    assert touched == 2
    assert not torch.allclose(before[1, 5], after[1, 5])
    torch.testing.assert_close(before[0], after[0])
    if point == "embed":
        h = plain[0, 1, 3]
        torch.testing.assert_close(found[0, 1, 3], h + 3.0 * h.norm() * UNIT)


def test_edits_and_hooks_are_gone_afterwards() -> None:
    model = tiny_model()
    with torch.inference_mode():
        before = model(input_ids=IDS).logits
    run(model, [edit("add", scale=9.0)])
    with torch.inference_mode():
        torch.testing.assert_close(model(input_ids=IDS).logits, before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_bfloat16_streams_are_edited_in_float32_and_stay_bfloat16() -> None:
    model = tiny_model().to(torch.bfloat16)
    found, *_ = run(model, [edit("ablate")])
    assert found.dtype == torch.bfloat16
    h = found[1, 1, 3].float()
    assert float((h @ UNIT).abs() / h.norm()) < 0.005


def test_positions_of_one_slot_are_averaged() -> None:
    model = tiny_model()
    layout = find_layout(model)
    plain, *_ = run(model, [])
    hooks = Hooks(layout, choose_points(layout))
    with torch.inference_mode(), hooks.attached():
        hooks.plan(Reads(torch.tensor([0, 1, 1]), torch.tensor([2, 4, 6]), torch.tensor([0, 1, 1]), 2))
        model(input_ids=IDS)
        found = hooks.take()
    torch.testing.assert_close(found[0], plain[:, 0, 2])
    torch.testing.assert_close(found[1], plain[:, 1, [4, 6]].mean(1))


def test_taking_what_was_never_read_is_an_error() -> None:
    hooks = Hooks(layout := find_layout(tiny_model()), choose_points(layout))
    with hooks.attached(), pytest.raises(RuntimeError, match="nothing was read"):
        hooks.take()


def test_edits_need_hooks_made_for_editing() -> None:
    layout = find_layout(tiny_model())
    with pytest.raises(ValueError, match="editing=True"):
        Hooks(layout, choose_points(layout, 2)).plan(None, [edit("add", layer=0)])


def test_words_of_a_configuration_name_streams() -> None:
    layout = find_layout(tiny_model())
    assert named_points(layout, ("all",)).names() == tuple(f"resid_post.{i}" for i in range(N_LAYERS))
    assert named_points(layout, ("embed", "2")).names() == ("embed", "resid_post.2")
    assert named_points(layout, ("all", "embed")).names()[:2] == ("embed", "resid_post.0")
    with pytest.raises(ValueError, match="'top'"):
        named_points(layout, ("top",))


def steering(*interventions: Intervention, n_prompt: int = 6) -> Steering:
    return Steering([list(interventions)], [n_prompt], D_MODEL, N_LAYERS)


def columns(made: list[Edit]) -> list[int]:
    return [int(c) for e in made for c in e.columns]


def test_positions_are_found_across_cached_and_padded_passes() -> None:
    one = steering(Intervention("add", 1, DIRECTION, positions=(1, 4)))
    assert columns(one.edits([0], [-2], 8, [2])) == [3, 6]  # two columns of padding
    assert one.checked() == [2]


@pytest.mark.parametrize(
    ("positions", "prefill", "step"),
    [("all", [2, 3, 4, 5, 6, 7], [0]), ("prompt", [2, 3, 4, 5, 6, 7], []), ("generated", [7], [0])],
)
def test_named_stretches(positions: Any, prefill: list[int], step: list[int]) -> None:
    one = steering(Intervention("add", 1, DIRECTION, positions=positions))
    assert columns(one.edits([0], [-2], 8, [2])) == prefill
    assert columns(one.edits([0], [6], 1, [0])) == step
    assert one.checked() == [len(prefill) + len(step)]


def test_an_intervention_that_touched_nothing_raises() -> None:
    one = steering(Intervention("add", 1, DIRECTION))
    with pytest.raises(SteeringError, match="touched 0 positions"):
        one.checked()
    two = steering(Intervention("add", 1, DIRECTION, positions=(1, 4)))
    two.edits([0], [2], 4, [0])  # the first two tokens came from a cache
    with pytest.raises(SteeringError, match="touched 1 positions, expected 2"):
        two.checked()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Intervention("add", 1, np.ones(7)), r"\(7,\), the stream of this model takes \(128,\)"),
        (Intervention("add", 1, np.zeros(D_MODEL)), "zero"),
        (Intervention("add", 1, np.full(D_MODEL, np.nan)), "128 of 128 values that are not finite"),
        (Intervention("patch", 1, np.full(D_MODEL, np.inf)), "128 of 128 values that are not finite"),
        (Intervention("add", 1, np.ones(D_MODEL), scale=float("nan")), "scale nan"),
        (Intervention("ablate", 1, np.ones(D_MODEL), scale=float("inf")), "scale inf"),
        (Intervention("ablate", 9, np.ones(D_MODEL)), "layer 9, the model has layers 0 to 2"),
        (
            Intervention("patch", 1, np.ones((3, D_MODEL)), positions=(1, 2)),
            r"\(3, 128\), the stream of this model takes \(128,\) or \(2, 128\)",
        ),
        (Intervention("add", 1, np.ones(D_MODEL), positions=(6,)), "0 to 5"),
        (Intervention("add", 1, np.ones(D_MODEL), positions=()), "0 to 5"),
    ],
)
def test_impossible_interventions_are_refused_before_anything_runs(bad: Intervention, says: str) -> None:
    with pytest.raises(SteeringError, match=says):
        steering(bad)


@pytest.mark.parametrize("length", [1e-30, 1e30])
def test_a_direction_of_any_length_steers_alike(length: float) -> None:
    found = []
    for vector in (DIRECTION, length * np.asarray(DIRECTION, dtype=np.float32)):
        (made,) = steering(Intervention("add", 1, vector, positions=(2,))).edits([0], [0], 6, [0])
        found.append(made.apply(torch.ones(1, D_MODEL)))
    torch.testing.assert_close(found[1], found[0])
    assert not torch.allclose(found[0], torch.ones(1, D_MODEL))


def test_a_patch_takes_its_values_in_the_order_of_its_positions() -> None:
    rows = np.stack([np.full(D_MODEL, 4.0), np.full(D_MODEL, 1.0)])
    one = steering(Intervention("patch", 0, rows, positions=(4, 1)))
    (made,) = one.edits([0], [0], 6, [0])
    assert [(int(c), float(v[0])) for c, v in zip(made.columns, made.value, strict=True)] == [
        (4, 4.0),
        (1, 1.0),
    ]
