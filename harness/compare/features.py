"""Features that only one of two models has, by a crosscoder with latent scaling.

A latent whose decoder is short for one model may still be there: the code's sparsity can have shrunk it into the error,
or other latents reconstruct it. So for each latent and model, its contribution is regressed on that model's error
(own contribution added back) and on its reconstruction; `nu_error` and `nu_reconstruction` are the scales in the
model with the shorter decoder over those in the other (Minder et al. 2025, "Overcoming sparsity artifacts in
crosscoders", latent scaling). Near 1: shared. A latent is exclusive to one model where both are low and its decoder
is short in the other; decoder norms alone never decide.

    features.parquet        one row a latent, of the pair and of the null
    features_carried.parquet    arms: what new-only latents write, brought into A, taken out of B, beside shared ones
    crosscoder.safetensors  the pair's
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_file

from agents.hooks.hooks import choose_points
from agents.hooks.model import HookedModel
from harness.atomic import replacing
from harness.compare.carried import CARRIED, pushed
from harness.compare.contexts import Compared
from harness.compare.crosscoder import Crosscoder, Settings, train_crosscoder
from harness.compare.pair import divergence, read, speak
from harness.compare.words import vocabulary_of

LATENTS: dict[str, Any] = {
    "null": pl.Boolean,  # of the null pair
    "layer": pl.Int32, "latent": pl.Int32,
    "fires": pl.Float64,  # share of held-out rows where it is active; 0: dead
    "length": pl.Float64,  # B's decoder norm over the sum of both: 0 A alone, 1 B alone
    "nu_error": pl.Float64, "nu_reconstruction": pl.Float64,
    "kind": pl.String,  # base-only, shared, new-only, dead
    "tokens": pl.String,  # the tokens at which it is most active
    "explained_a": pl.Float64, "explained_b": pl.Float64,  # variance of held-out rows explained, of the whole code
}  # fmt: skip
SHORT = 0.3
"""A decoder whose norm is at most this share of both is short."""
ERROR, RECONSTRUCTION = 0.3, 0.5
"""A latent whose scales in the other model are below these is absent there."""
MOST_ROWS = 40_000
ARM_BATCHES = 2


def compare_features(
    pair: Sequence[HookedModel], batches: Callable[[], Iterable[Sequence[Compared]]], out: Path, *,
    layer: int | None = None, settings: Settings | None = None, null: HookedModel | None = None, seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> pl.DataFrame:  # fmt: skip
    """Train, score and test; writes the files into `out` and returns the latents (schema `LATENTS`).

    layer: the block whose output is read; None: at two thirds of the depth. null: a model that differs from A by its
    seed alone; None: A itself, which shows the result where there is no difference.
    """
    settings = settings or Settings(n_latents=4 * pair[0].layout.d_model)
    at = round(2 / 3 * (pair[0].layout.n_layers - 1)) if layer is None else layer
    frames = []
    words = vocabulary_of(pair[0])
    for is_null, other in ((False, pair[1]), (True, null or pair[0])):
        streams, ids = gathered((pair[0], other), batches(), at)
        coder = train_crosscoder(streams, settings, seed + is_null, say)
        frames.append(
            scored(coder, streams, ids, words).with_columns(null=pl.lit(is_null), layer=pl.lit(at, pl.Int32))
        )
        if not is_null:
            pairs_coder, latents = coder, frames[-1]
    frame = pl.concat(frames).select(list(LATENTS)).cast(LATENTS)  # type: ignore[arg-type]
    with replacing(out / "features.parquet") as file:
        frame.write_parquet(file)
    with replacing(out / "crosscoder.safetensors") as file:
        save_file({k: v.contiguous() for k, v in pairs_coder.state_dict().items()}, str(file))
    arms = carried_by_latents(pair, pairs_coder, latents, at, batches(), seed)
    with replacing(out / "features_carried.parquet") as file:
        arms.write_parquet(file)
    return frame


def gathered(
    pair: Sequence[HookedModel], batches: Iterable[Sequence[Compared]], layer: int
) -> tuple[torch.Tensor, np.ndarray]:
    """The streams `(n_rows, 2, d_model)` of both models and the token ids `(n_rows,)`, of whole games in order."""
    points = choose_points(pair[0].layout, layer)
    parts, ids, n = [], [], 0
    for batch in batches:
        parts.append(torch.stack([read(hooked, points, batch).streams[:, 0] for hooked in pair], dim=1))
        ids += [i for one in batch for i in one.view.ids]
        n += len(parts[-1])
        if n >= MOST_ROWS:
            break
    return torch.cat(parts), np.array(ids)


@torch.no_grad()
def scored(coder: Crosscoder, streams: torch.Tensor, ids: np.ndarray, words: Sequence[str]) -> pl.DataFrame:
    """One row a latent, by the held-out rows (`LATENTS` without `null` and `layer`)."""
    first = int(len(streams) * (1 - coder.settings.held_out))
    x = coder.normal(streams[first:])
    z = coder.codes(x)
    back = coder.decoded(z)
    error, power = x - back, z.pow(2).sum(dim=0)
    lengths = coder.decoder.norm(dim=-1)
    share = lengths[:, 1] / lengths.sum(dim=1).clamp_min(1e-9)
    longer = (share >= 0.5).long()
    direction = coder.decoder[torch.arange(len(longer)), longer]
    norm = direction.pow(2).sum(dim=-1)
    # The scale of f * d in a target t is sum(f * d.t) / sum(f^2 |d|^2); a sum over rows is one product.
    scales = {}
    for name, target in (("error", error), ("reconstruction", back - coder.offset)):
        found = torch.stack([(z.T @ target[:, side] * direction).sum(dim=1) for side in (0, 1)], dim=1)
        scales[name] = found / (power * norm).clamp_min(1e-9)[:, None]
    # Own contribution added back: the error without the latent contains what its own decoder wrote.
    own = torch.einsum("lsd,ld->ls", coder.decoder, direction) / norm.clamp_min(1e-9)[:, None]
    scales["error"] = scales["error"] + own
    rows = torch.arange(len(longer))
    nu = {
        name: (both[rows, 1 - longer] / both[rows, longer].clamp_min(1e-6)).clamp(-2, 2)
        for name, both in scales.items()
    }
    fires = (z > 0).float().mean(dim=0)
    gone = (nu["error"] < ERROR) & (nu["reconstruction"] < RECONSTRUCTION)
    kinds = [
        "dead" if f == 0
        else "new-only" if g and s >= 1 - SHORT
        else "base-only" if g and s <= SHORT
        else "shared"
        for f, g, s in zip(fires.tolist(), gone.tolist(), share.tolist(), strict=True)
    ]  # fmt: skip
    spread = (x - x.mean(dim=0)).pow(2).sum(dim=(0, 2))
    explained = (1 - error.pow(2).sum(dim=(0, 2)) / spread).tolist()
    return pl.DataFrame(
        {
            "latent": range(len(longer)), "fires": fires.tolist(), "length": share.tolist(),
            "nu_error": nu["error"].tolist(), "nu_reconstruction": nu["reconstruction"].tolist(), "kind": kinds,
            "tokens": [_peaks(z[:, j].numpy(), ids[first:], words) for j in range(len(longer))],
            "explained_a": explained[0], "explained_b": explained[1],
        }
    )  # fmt: skip


def _peaks(values: np.ndarray, ids: np.ndarray, words: Sequence[str], most: int = 200) -> str:
    """The tokens at which a latent is most active, most frequent first."""
    top = np.argsort(-values, kind="stable")[:most]
    found, counts = np.unique(ids[top[values[top] > 0]], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:5]
    return ", ".join(
        f"{words[found[i]].strip() or '(line end)'} {counts[i] / counts.sum():.0%}" for i in order
    )


def carried_by_latents(
    pair: Sequence[HookedModel], coder: Crosscoder, latents: pl.DataFrame, layer: int,
    batches: Iterable[Sequence[Compared]], seed: int,
) -> pl.DataFrame:  # fmt: skip
    """Arms (schema `carried.CARRIED`): what the new-only latents write in B, added to A (`bring`) or taken out of B
    (`take`), beside as many shared latents that are active about as often."""
    new = latents.filter(kind="new-only")["latent"].to_numpy()
    rows: list[dict[str, Any]] = []
    shared = matched(latents, new, seed)
    for number, batch in enumerate(batches):
        if number >= ARM_BATCHES:
            break
        rows += _arms_of(pair, coder, layer, batch, {"nothing": None, "new_only": new, "shared": shared})
    frame = pl.DataFrame(rows, schema=CARRIED)
    keys = ["arm", "layer", "way", "game_id", "segment"]
    return frame.group_by(keys, maintain_order=True).agg(pl.col("n", "kl").sum())


def matched(latents: pl.DataFrame, chosen: np.ndarray, seed: int) -> np.ndarray:
    """As many shared latents as were chosen, each matched by how often it is active."""
    left = latents.filter(kind="shared").sort("latent", maintain_order=True)
    fires, names = left["fires"].to_numpy().copy(), left["latent"].to_numpy()
    rng, found = np.random.default_rng(seed), []
    wanted = latents.sort("latent", maintain_order=True)["fires"].to_numpy()
    for latent in rng.permutation(chosen):
        if not np.isfinite(fires).any():
            break
        at = int(np.argmin(np.abs(fires - wanted[latent])))
        found.append(names[at])
        fires[at] = np.inf
    return np.array(sorted(found), dtype=np.int64)


def _arms_of(
    pair: Sequence[HookedModel],
    coder: Crosscoder,
    layer: int,
    batch: Sequence[Compared],
    arms: dict[str, Any],
) -> list[dict[str, Any]]:
    points = choose_points(pair[0].layout, layer)
    both = [read(hooked, points, batch) for hooked in pair]
    with torch.no_grad():
        z = coder.codes(coder.normal(torch.stack([one.streams[:, 0] for one in both], dim=1)))
    width = max(len(one.view.ids) for one in batch)
    rows = []
    for arm, latents in arms.items():
        for way, start, target in (("bring", 0, both[1].logs), ("take", 1, both[0].logs)):
            if latents is None:
                logs = both[start].logs
            else:
                wrote = (z[:, latents] @ coder.decoder[latents, 1]).detach() * coder.scale[1]
                delta = torch.zeros(len(batch), width, wrote.shape[1])
                first = 0
                for row, one in enumerate(batch):
                    n = len(one.view.ids)
                    delta[row, :n] = wrote[first : first + n]
                    first += n
                hooked, sign = pair[start], 1.0 if way == "bring" else -1.0
                moved = (sign * delta).to(hooked.device, hooked.dtype)
                with pushed(hooked, layer, moved.add):
                    logs = speak(hooked, batch)
            kl = divergence(target, logs).numpy()
            for row, one in enumerate(batch):
                for segment in dict.fromkeys(one.segment(i) for i in sorted(one.emitted)):
                    at = [i - 1 for i in one.emitted if i > 0 and one.segment(i) == segment]
                    rows.append(
                        {
                            "arm": arm, "layer": str(layer), "way": way, "game_id": one.game_id, "segment": segment,
                            "n": len(at), "kl": float(kl[row, at].sum()),
                        }
                    )  # fmt: skip
    return rows
