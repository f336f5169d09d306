"""Dictionaries while they are trained: BatchTopK, TopK, Matryoshka, in torch.

BatchTopK (Bussmann, Leask and Nanda 2024) keeps the `k * batch` largest activations of a batch, TopK (Gao et al. 2024)
the k largest of each row, Matryoshka (Bussmann et al. 2025) is BatchTopK whose prefixes of latents must also
reconstruct alone. An auxiliary loss revives latents that have not fired for a while: the largest of them reconstruct
the residual (Gao et al. 2024, appendix A.2). Directions keep length 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["batchtopk", "topk", "matryoshka"]
AUX_SHARE = 1 / 32
"""Weight of the auxiliary loss."""
PREFIXES = (16, 8, 4, 2, 1)
"""Matryoshka: a sixteenth, an eighth, ... of the latents, and all of them."""


@dataclass(frozen=True)
class Plan:
    """The settings of one dictionary to train."""

    kind: Kind
    width: int
    k: int
    """Latents on in an average row."""
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.kind}-w{self.width}-l{self.k}-s{self.seed}"

    @property
    def prefixes(self) -> tuple[int, ...]:
        """Sizes of the nested dictionaries; the whole one alone where it is no Matryoshka."""
        if self.kind != "matryoshka":
            return (self.width,)
        return tuple(sorted({max(1, self.width // part) for part in PREFIXES}))


def first_directions(plan: Plan, d_model: int) -> Tensor:
    """(width, d_model): the random initial directions, of norm 1."""
    draw = torch.Generator().manual_seed(plan.seed)
    directions = torch.randn(plan.width, d_model, generator=draw)
    return directions / directions.norm(dim=1, keepdim=True)


class Learner(nn.Module):
    """A dictionary in training."""

    def __init__(self, plan: Plan, d_model: int, mean: Tensor, dead_after: int) -> None:
        """mean: (d_model,) of the normalised rows. dead_after: rows without firing after which a latent is revived."""
        super().__init__()
        self.plan, self.dead_after = plan, dead_after
        directions = first_directions(plan, d_model)
        self.w_dec = nn.Parameter(directions)
        self.w_enc = nn.Parameter(directions.T.contiguous().clone())
        self.b_enc = nn.Parameter(torch.zeros(plan.width))
        self.b_dec = nn.Parameter(mean.clone())
        self.since: Tensor
        self.register_buffer("since", torch.zeros(plan.width))  # rows since each latent fired

    @property
    def near_start(self) -> float:
        """Median cosine between the directions and their initial values: 1 where nothing was learnt."""
        start = first_directions(self.plan, self.w_dec.shape[1])
        return float((self.w_dec.detach() * start).sum(dim=1).median())

    def before(self, x: Tensor) -> Tensor:
        """(n_rows, width): activations before any are dropped."""
        return torch.relu((x - self.b_dec) @ self.w_enc + self.b_enc)

    def kept(self, before: Tensor) -> Tensor:
        """The activations that training keeps."""
        if self.plan.kind == "topk":
            values, where = before.topk(min(self.plan.k, before.shape[1]), dim=1)
            return torch.zeros_like(before).scatter(1, where, values)
        flat = before.flatten()
        values, where = flat.topk(min(self.plan.k * len(before), flat.numel()), sorted=False)
        return torch.zeros_like(flat).scatter(0, where, values).reshape(before.shape)

    def loss(self, x: Tensor) -> Tensor:
        """Mean squared error over the nested dictionaries, and the auxiliary loss; updates the latents' firing
        counts."""
        before = self.before(x)
        codes = self.kept(before)
        with torch.no_grad():
            self.since += len(x)
            self.since[(codes > 0).any(dim=0)] = 0
        whole = ((x - x.mean(dim=0)) ** 2).sum(dim=1).mean() + 1e-12
        made, total, start = self.b_dec.expand_as(x), x.new_zeros(()), 0
        for size in self.plan.prefixes:
            made = made + codes[:, start:size] @ self.w_dec[start:size]
            total, start = total + ((x - made) ** 2).sum(dim=1).mean() / whole, size
        return total / len(self.plan.prefixes) + AUX_SHARE * self._revived(x - made, before)

    def _revived(self, left: Tensor, before: Tensor) -> Tensor:
        """The share of the residual that the largest dead latents do not reconstruct."""
        dead = self.since > self.dead_after
        n = min(int(dead.sum()), max(1, before.shape[1] // 2))
        if not n:
            return left.new_zeros(())
        left = left.detach()
        values, where = before.masked_fill(~dead, float("-inf")).topk(n, dim=1)
        codes = torch.zeros_like(before).scatter(1, where, values)
        error = ((left - codes @ self.w_dec) ** 2).sum(dim=1).mean()
        return torch.nan_to_num(error / ((left**2).sum(dim=1).mean() + 1e-12))

    @torch.no_grad()
    def drop_parallel(self) -> None:
        """Remove the component of the directions' gradient that would change their norm."""
        if self.w_dec.grad is not None:
            along = (self.w_dec.grad * self.w_dec).sum(dim=1, keepdim=True)
            self.w_dec.grad -= along * self.w_dec

    @torch.no_grad()
    def shorten(self) -> None:
        """Renormalise the directions to length 1."""
        self.w_dec.div_(self.w_dec.norm(dim=1, keepdim=True).clamp_min(1e-8))

    @torch.no_grad()
    def replant(self, x: Tensor) -> list[int]:
        """Reinitialise latents that stayed dead at badly reconstructed rows; returns the latents' numbers.

        The auxiliary loss has no gradient for a latent that no row brings above zero.
        """
        stuck = torch.nonzero(self.since > 3 * self.dead_after).flatten()[: len(x)]
        if not len(stuck):
            return []
        left = x - (self.kept(self.before(x)) @ self.w_dec + self.b_dec)
        worst = (left**2).sum(dim=1).argsort(descending=True)[: len(stuck)]
        directions = left[worst] / left[worst].norm(dim=1, keepdim=True).clamp_min(1e-8)
        alive = self.since <= self.dead_after
        length = self.w_enc[:, alive].norm(dim=0).mean() if alive.any() else torch.tensor(1.0)
        self.w_dec[stuck] = directions
        self.w_enc[:, stuck] = (directions * length).T
        self.b_enc[stuck] = 0.0
        self.since[stuck] = 0.0
        return [int(i) for i in stuck]
