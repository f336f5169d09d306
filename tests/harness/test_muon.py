"""The optimizer of the small models' matrices."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from harness.training.muon import Muon, orthogonal  # noqa: E402


def matrices(seed: int) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(16, 16), (48, 16), (16, 48), (16, 16)]
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def test_muon_moves_every_matrix_as_torchs_does_but_for_the_rounding_of_bfloat16() -> None:
    ours, theirs = matrices(0), matrices(0)
    settings = {"lr": 0.01, "weight_decay": 0.01}
    optims = Muon(ours, **settings), torch.optim.Muon(theirs, **settings)
    for step in range(5):
        generator = torch.Generator().manual_seed(step)
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for optim in optims:
            optim.step()
    for start, a, b in zip(matrices(0), ours, theirs, strict=True):
        assert (a - b).norm() < 0.02 * (b - start).norm()


def test_a_matrix_without_a_gradient_stays_and_needs_no_state() -> None:
    still, moved = matrices(1)[:2]
    before = still.detach().clone()
    moved.grad = torch.ones_like(moved)
    optim = Muon([still, moved], lr=0.1)
    optim.step()
    assert torch.equal(still, before)
    assert len(optim.state) == 1


def test_muon_goes_on_from_the_state_of_torchs() -> None:
    ours, theirs = matrices(2), matrices(2)
    old = torch.optim.Muon(theirs, lr=0.01)
    for parameter in theirs:
        parameter.grad = torch.ones_like(parameter)
    old.step()
    new = Muon(ours, lr=0.01)
    new.load_state_dict(old.state_dict())
    held = [new.state[parameter]["momentum_buffer"] for parameter in ours]
    assert all(torch.allclose(h, torch.full_like(h, 0.05)) for h in held)


def test_orthogonal_brings_all_singular_values_near_one_whatever_the_shape() -> None:
    for shape in ((3, 8, 24), (3, 24, 8), (2, 12, 12)):
        given = torch.randn(shape, generator=torch.Generator().manual_seed(3))
        values = torch.linalg.svdvals(orthogonal(given, (3.4445, -4.7750, 2.0315), 5).float())
        assert values.min() > 0.3
        assert values.max() < 1.4
