"""Two checkpoints of one architecture on the same contexts: where their predictions part, and along which directions.

    RUN/model_diff/<a>--<b>/
        diff.json                names of both models, layers, schema version
        tokens.parquet           one row a predicted token
        layers.parquet           one row a layer: how far and how alike the streams moved
        directions.safetensors   `<layer>` (n_directions, d_model): principal directions of B minus A

The contexts are those of a run's model decisions, each seat's longest, so that no token counts twice. Token t is
predicted from the tokens before it: `kl` is KL(A || B) over the whole vocabulary in nats, `logp_a` and `logp_b` are the
log-probabilities of the token that stands there. Import it where it is used: it brings torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import torch
from safetensors.numpy import save_file

from agents.hooks.hooks import Hooks, Points, Reads
from agents.hooks.model import HookedModel, load_hooked_model
from agents.models.small import find_model
from harness.capture.job import chosen_backend
from harness.capture.whole_contexts import Context, batches_of, kinds_of
from harness.config.files import parse_config
from harness.config.models import model_folder, points_of
from harness.errors import ConfigurationError
from harness.run.folder import load_run

SCHEMA_VERSION = 1
TOKENS: dict[str, Any] = {
    "game_id": pl.String, "seat": pl.Int16, "token_index": pl.Int32, "token_id": pl.Int32, "text": pl.String,
    "kind": pl.String,  # of the innermost span that holds the token
    "emitted": pl.Boolean,  # by the run's model; else it was read
    "kl": pl.Float32, "logp_a": pl.Float32, "logp_b": pl.Float32,
}  # fmt: skip
LAYERS: dict[str, Any] = {
    "layer": pl.String, "n_tokens": pl.Int64,
    "norm": pl.Float64,  # mean length of A's stream
    "moved": pl.Float64,  # mean length of B minus A, in lengths of A's stream
    "cosine": pl.Float64,  # mean cosine of A's and B's stream
    "shared": pl.Float64,  # share of the squared difference that is one and the same shift of every token
    "explained": pl.List(pl.Float64),  # shares of what is left along each principal direction
}  # fmt: skip
N_DIRECTIONS = 8


class DiffInfo(msgspec.Struct, frozen=True):
    """What `diff.json` holds."""

    a: str
    """`name@hash`."""
    b: str
    played: str
    """The model whose decisions are read."""
    n_games: int
    layers: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION


def diff_models(
    path: str | Path,
    b: str | Path,
    a: str | Path | None = None,
    *,
    layers: Sequence[str] = ("all",),
    games: int | None = None,
    batch_tokens: int | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Compare the model folders `a` (None: the one that played) and `b` on a run's contexts; the folder written.

    layers: as `wolfscope capture` takes them. games: only so many. batch_tokens: of a forward pass; by default as many
    as keep the probabilities of all words under 1 GB, at most 4,096. Raises ConfigurationError where the two models
    differ in vocabulary, depth or width; ModelFilesError, RunFolderError.
    """
    run = load_run(path)
    config = parse_config(run.manifest.config, "manifest.json")
    backend = chosen_backend(config, config.activations.backend)
    first = model_folder(config.backends[backend]) if a is None else find_model(a)
    pair = [load_hooked_model(folder, device=device) for folder in (first, find_model(b))]
    check_comparable(*pair)
    points = points_of(pair[0], layers)
    out = Path(run.path) / "model_diff" / f"{pair[0].name}--{pair[1].name}".replace("/", "_")
    out.mkdir(parents=True, exist_ok=True)
    played = run.manifest.models[backend]
    words = _words(pair[0])
    parts: list[pl.DataFrame] = []
    sums = [Moved(pair[0].layout.d_model) for _ in points.names()]
    chosen = run.game_ids[:games]
    size = batch_tokens or max(1, min(4096, 250_000_000 // pair[0].vocab_size))
    for number, batch in enumerate(batches_of(run, played, chosen, size, pair[0].max_context)):
        parts.append(_compare(pair, points, batch, words, sums))
        if number % 50 == 0:
            say(f"{sum(map(len, parts)):,} tokens compared")
    if not parts:
        raise ConfigurationError(f"{path} holds no decision of {played} that both models can read")
    pl.concat(parts).write_parquet(out / "tokens.parquet")
    found = [one.finish(name) for one, name in zip(sums, points.names())]
    pl.DataFrame([row for row, _ in found], schema=LAYERS).write_parquet(out / "layers.parquet")
    save_file({name: v for name, (_, v) in zip(points.names(), found)}, out / "directions.safetensors")
    info = DiffInfo(pair[0].name, pair[1].name, played, len(chosen), points.names())
    (out / "diff.json").write_bytes(msgspec.json.format(msgspec.json.encode(info), indent=1) + b"\n")
    return out


def check_comparable(a: HookedModel, b: HookedModel) -> None:
    """Raises ConfigurationError unless both have the same depth, width and words."""
    for what, of in (
        ("layers", lambda m: m.layout.n_layers),
        ("width", lambda m: m.layout.d_model),
        ("vocabulary", lambda m: m.vocab_size),
    ):
        if of(a) != of(b):
            raise ConfigurationError(
                f"{a.name} has {what} {of(a)}, {b.name} has {of(b)}: only checkpoints of one architecture can be "
                "compared token by token"
            )
    if None not in (a.tokenizer, b.tokenizer) and a.tokenizer.get_vocab() != b.tokenizer.get_vocab():
        raise ConfigurationError(f"{a.name} and {b.name} give their token ids to other words; give checkpoints that "
                                 "share a tokenizer")  # fmt: skip


class Moved:
    """Second moments of the differences of one layer's streams."""

    def __init__(self, d_model: int) -> None:
        self.n = 0
        self.norm = self.ratio = self.cosine = 0.0
        self.total = np.zeros(d_model)
        self.gram = np.zeros((d_model, d_model))

    def add(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Streams `(n_tokens, d_model)` of both models at the same tokens."""
        a, b = a.double(), b.double()
        moved, length = b - a, a.norm(dim=1)
        self.n += len(a)
        self.norm += float(length.sum())
        self.ratio += float((moved.norm(dim=1) / length.clamp_min(1e-12)).sum())
        self.cosine += float(torch.nn.functional.cosine_similarity(a, b, dim=1).sum())
        self.total += moved.sum(dim=0).cpu().numpy()
        self.gram += (moved.T @ moved).cpu().numpy()

    def finish(self, layer: str) -> tuple[dict[str, Any], np.ndarray[Any, np.dtype[np.float32]]]:
        """The row of `LAYERS` and the directions `(N_DIRECTIONS, d_model)`, largest first."""
        mean = self.total / self.n
        left = self.gram / self.n - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(left)
        whole, most = float(np.trace(self.gram)) / self.n, min(N_DIRECTIONS, len(values))
        shares = values[::-1][:most] / max(float(values.sum()), 1e-12)
        row = {
            "layer": layer, "n_tokens": self.n, "norm": self.norm / self.n, "moved": self.ratio / self.n,
            "cosine": self.cosine / self.n, "shared": float(mean @ mean) / max(whole, 1e-12),
            "explained": shares.tolist(),
        }  # fmt: skip
        return row, np.ascontiguousarray(vectors[:, ::-1][:, :most].T.astype(np.float32))


def _words(hooked: HookedModel) -> list[str]:
    if hooked.tokenizer is None:
        return [str(i) for i in range(hooked.vocab_size)]
    known = len(hooked.tokenizer)
    return [hooked.tokenizer.decode([i]) if i < known else str(i) for i in range(hooked.vocab_size)]


@torch.inference_mode()
def _compare(
    pair: Sequence[HookedModel], points: Points, batch: Sequence[Context], words: Sequence[str],
    sums: Sequence[Moved],
) -> pl.DataFrame:  # fmt: skip
    width = max(len(one.view.ids) for one in batch)
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    for row, one in enumerate(batch):
        ids[row, : len(one.view.ids)] = torch.tensor(one.view.ids)
    rows, columns = torch.tensor([(r, c) for r, one in enumerate(batch) for c in range(len(one.view.ids))]).T
    streams, logs = [], []
    for hooked in pair:  # padded on the right, where causal attention cannot see it
        place = hooked.device
        reads = Reads(rows.to(place), columns.to(place), torch.arange(len(rows), device=place), len(rows))
        hooks = Hooks(hooked.layout, points)
        with hooks.attached():
            hooks.plan(reads)
            logits = hooked.model(input_ids=ids.to(place), use_cache=False).logits
        streams.append(hooks.take().float().cpu())
        logs.append(torch.log_softmax(logits.float(), dim=-1).cpu())
    for i, layer in enumerate(sums):
        layer.add(streams[0][:, i], streams[1][:, i])
    kl = (logs[0].exp() * (logs[0] - logs[1])).sum(dim=-1)
    parts = []
    for row, one in enumerate(batch):
        view, n = one.view, len(one.view.ids)
        said = ids[row, 1:n]
        parts.append(
            pl.DataFrame(
                {
                    "game_id": [one.game_id] * (n - 1), "seat": [view.decision.seat] * (n - 1),
                    "token_index": np.arange(1, n), "token_id": said.numpy(), "text": [words[i] for i in view.ids[1:]],
                    "kind": kinds_of(view)[1:],
                    "emitted": [i in one.emitted for i in range(1, n)], "kl": kl[row, : n - 1].numpy(),
                    "logp_a": logs[0][row, torch.arange(n - 1), said].numpy(),
                    "logp_b": logs[1][row, torch.arange(n - 1), said].numpy(),
                },
                schema=TOKENS, strict=False,
            )
        )  # fmt: skip
    return pl.concat(parts)
