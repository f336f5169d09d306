"""Products by another library are those of torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.hooks import linear
from agents.hooks.linear import OneDnnLinear, faster_linear

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN"
)


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Sequential, nn.Sequential]:
    monkeypatch.setattr(linear, "mkl_is_slow", lambda: True)
    monkeypatch.setattr(linear, "SMALL", 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(24, 40), nn.Linear(40, 8, bias=False))
    fast = nn.Sequential(nn.Linear(24, 40), nn.Linear(40, 8, bias=False))
    fast.load_state_dict(plain.state_dict())
    faster_linear(fast)
    assert all(type(module) is OneDnnLinear for module in fast)
    return plain, fast


@pytest.mark.parametrize("large", [0, 2**40])
@pytest.mark.parametrize("shape", [(1,), (3,), (64,), (5, 33), (2, 3, 40)])
def test_products_are_those_of_torch(
    maps: tuple[nn.Sequential, nn.Sequential],
    shape: tuple[int, ...],
    large: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, fast = maps
    monkeypatch.setattr(linear, "LARGE", large)
    x = torch.randn(*shape, 24, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)
        strided = x.expand(2, *x.shape).transpose(0, -2)
        torch.testing.assert_close(fast(strided), plain(strided), atol=1e-5, rtol=1e-5)


def test_a_changed_weight_is_the_one_that_multiplies(maps: tuple[nn.Sequential, nn.Sequential]) -> None:
    plain, fast = maps
    x = torch.randn(50, 24, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        fast(x)
        for model in maps:
            next(model.parameters()).mul_(2.0)
        torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)
    assert fast.state_dict().keys() == plain.state_dict().keys()


def test_gradients_are_those_of_torch(maps: tuple[nn.Sequential, nn.Sequential]) -> None:
    x = torch.randn(50, 24, generator=torch.Generator().manual_seed(1))
    for model in maps:
        model(x).square().sum().backward()
    for ours, theirs in zip(maps[1].parameters(), maps[0].parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_models_of_other_numbers_are_left_as_they_are_and_moved_ones_multiply_in_theirs(
    maps: tuple[nn.Sequential, nn.Sequential],
) -> None:
    half = nn.Sequential(nn.Linear(24, 40)).to(torch.bfloat16)
    faster_linear(half)
    assert type(half[0]) is nn.Linear
    plain, fast = (model.to(torch.bfloat16) for model in maps)
    x = torch.randn(50, 24, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), plain(x))
