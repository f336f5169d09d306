"""Which parts carry the change between two models: weights transplanted, directions added and taken away.

Every arm is one model with something of the other: `bring` begins with A and adds what B has, `take` begins with B and
takes it away. The measure is the divergence of the arm's answers from the other model's, KL in nats at the tokens
that the run's model emitted: KL(B || arm) for `bring`, beside KL(B || A); KL(A || arm) for `take`, beside KL(A || B).
An arm that carries all of the change is at 0. Controls are random vectors of the same length at the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import polars as pl
import torch

from agents.hooks.model import HookedModel
from harness.compare.contexts import Compared
from harness.compare.pair import divergence, speak

CARRIED: dict[str, Any] = {
    "arm": pl.String,  # nothing, weights, weights_up_to, direction, ablation, random
    "layer": pl.String,  # 0 = the first block; embed, head
    "way": pl.String,  # bring, take
    "game_id": pl.String, "segment": pl.String,
    "n": pl.Int64,  # emitted tokens
    "kl": pl.Float64,  # sum over them, nats
}  # fmt: skip
N_RANDOM = 2


class Arm(msgspec.Struct, frozen=True):
    """One model with a part of the other."""

    arm: str
    layer: str
    way: str
    """`bring`: A with something of B. `take`: B with something of A."""
    number: int = 0
    """Number of the random vector."""


def groups(hooked: HookedModel) -> dict[str, list[str]]:
    """The model's parameters by group: embed, each block by its number, head (everything after the blocks)."""
    found: dict[str, list[str]] = {"embed": []}
    found |= {str(k): [] for k in range(hooked.layout.n_layers)} | {"head": []}
    inside, seen = f"{hooked.layout.where}.", False
    for name, _ in hooked.model.named_parameters():
        if name.startswith(inside):
            found[name.removeprefix(inside).partition(".")[0]].append(name)
            seen = True
        else:
            found["head" if seen else "embed"].append(name)
    return {place: names for place, names in found.items() if names}


@contextmanager
def transplanted(into: HookedModel, source: HookedModel, names: Sequence[str]) -> Iterator[None]:
    """`into` with the named parameters of `source`; always restored at the end."""
    own, other = dict(into.model.named_parameters()), dict(source.model.named_parameters())
    kept = {name: own[name].detach().clone() for name in names}
    try:
        with torch.no_grad():
            for name in names:
                own[name].copy_(other[name])
        yield
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                own[name].copy_(value)


@contextmanager
def pushed(hooked: HookedModel, layer: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """The model with the output of one block changed, `change` of `(n_contexts, n_tokens, d_model)`."""

    def after(_: Any, args: Any, output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        moved = change(first)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = hooked.layout.layers[layer].register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def arms_of(n_layers: int, parts: Sequence[str], directions: Sequence[str]) -> list[Arm]:
    """All arms: `parts` are the groups of parameters, `directions` the layers that have a direction."""
    arms = []
    for way in ("bring", "take"):
        arms.append(Arm("nothing", "", way))
        arms += [Arm("weights", part, way) for part in parts]
        arms += [Arm("weights_up_to", str(k), way) for k in range(n_layers)]
        for layer in directions:
            arms.append(Arm("direction", layer, way))
            if way == "take":
                arms.append(Arm("ablation", layer, way))
            arms += [Arm("random", layer, way, k) for k in range(N_RANDOM)]
    return arms


@contextmanager
def carried_out(
    arm: Arm,
    pair: Sequence[HookedModel],
    means: Mapping[str, np.ndarray],
    levels: Mapping[str, float],
    seed: int,
) -> Iterator[HookedModel]:
    """The model of an arm, within the context manager.

    means: layer -> B minus A `(d_model,)`; levels: layer -> mean projection of A's stream on that direction.
    """
    start, other = pair if arm.way == "bring" else reversed(pair)
    if arm.arm == "nothing":
        yield start
        return
    if arm.arm in ("weights", "weights_up_to"):
        parts = groups(start)
        wanted = (
            [arm.layer]
            if arm.arm == "weights"
            else [p for p in parts if p == "embed" or (p.isdigit() and int(p) <= int(arm.layer))]
        )
        with transplanted(start, other, [name for part in wanted for name in parts[part]]):
            yield start
        return
    mean = np.asarray(means[arm.layer], dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if arm.arm == "random":
        drawn = np.random.default_rng([seed, int(arm.layer), arm.number]).normal(size=len(mean))
        mean = drawn / np.linalg.norm(drawn) * length
    vector = torch.tensor(mean, dtype=start.dtype, device=start.device)
    if arm.arm == "ablation":
        unit = vector / max(length, 1e-12)

        def change(h: torch.Tensor) -> torch.Tensor:
            return h - ((h @ unit) - levels[arm.layer]).unsqueeze(-1) * unit
    else:
        sign = 1.0 if arm.way == "bring" else -1.0

        def change(h: torch.Tensor) -> torch.Tensor:
            return h + sign * vector

    with pushed(start, int(arm.layer), change):
        yield start


def carry(
    pair: Sequence[HookedModel], batches: Sequence[Sequence[Compared]], means: Mapping[str, np.ndarray],
    levels: Mapping[str, float], seed: int = 0, say: Callable[[str], None] = lambda text: None,
) -> pl.DataFrame:  # fmt: skip
    """Every arm on the contexts (schema `CARRIED`), one row an arm, game and segment; random vectors are pooled."""
    arms = arms_of(pair[0].layout.n_layers, list(groups(pair[0])), list(means))
    targets = [{"bring": speak(pair[1], batch), "take": speak(pair[0], batch)} for batch in batches]
    rows: list[dict[str, Any]] = []
    for number, arm in enumerate(arms):
        with carried_out(arm, pair, means, levels, seed) as model:
            for batch, target in zip(batches, targets, strict=True):
                kl = divergence(target[arm.way], speak(model, batch)).numpy()
                rows += _sums(arm, batch, kl)
        if number % 10 == 9:
            say(f"{number + 1} of {len(arms)} arms carried out")
    keys = ["arm", "layer", "way", "game_id", "segment"]
    frame = pl.DataFrame(rows, schema=CARRIED)
    return frame.group_by(keys, maintain_order=True).agg(pl.col("n", "kl").sum())


def _sums(arm: Arm, batch: Sequence[Compared], kl: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for row, one in enumerate(batch):
        by_segment: dict[str, list[int]] = {}
        for i in one.emitted:
            if i > 0:
                by_segment.setdefault(one.segment(i), []).append(i - 1)
        rows += [
            {
                "arm": arm.arm, "layer": arm.layer, "way": arm.way, "game_id": one.game_id, "segment": segment,
                "n": len(at), "kl": float(kl[row, at].sum()),
            }
            for segment, at in by_segment.items()
        ]  # fmt: skip
    return rows
