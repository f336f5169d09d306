"""Two models of one architecture on the same rollouts: where they diverge, what moved inside, what carries the
change.

    RUN/model_diff/<a>--<b>/
        diff.json                names of both models, layers, schema version
        tokens.parquet           one row a predicted token
        decisions.parquet        one row a decision: divergence at its tokens, and the context so far
        partings.parquet         the decisions of largest divergence, readable
        layers.parquet           one row a layer: how far and how alike the streams moved, along how many directions
        directions.safetensors   `<layer>` (n_directions, d_model): principal directions of B minus A;
                                 `mean.<layer>` (d_model,): the difference of the means before a token of an answer
        carried.parquet          arms: weights transplanted, directions added and taken away
        change.toml, change.npy  a design of `wolfscope experiment` with the direction that brings most, on ballots
        features.parquet, crosscoder.safetensors   where asked for: `harness.compare.features`

The contexts are those of a run's model decisions, each seat's longest, so that no token counts twice. Token t is
predicted from the tokens before it. Import it where it is used: it brings torch.
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

from agents.hooks.model import HookedModel
from harness.atomic import replacing, storage, write_whole
from harness.capture.job import chosen_backend
from harness.compare.carried import carry
from harness.compare.contexts import Compared, batches_of, one_of_each_game
from harness.compare.design import write_design
from harness.compare.moved import LAYERS, Moved, finish
from harness.compare.pair import check_comparable, load_model, places, read
from harness.compare.words import DECISIONS, PARTINGS, Words, vocabulary_of
from harness.config.files import parse_config
from harness.config.models import model_folder, points_of
from harness.errors import ConfigurationError
from harness.run.folder import Run, load_run
from harness.seals import seal

SCHEMA_VERSION = 2
PARTS = ("words", "carried", "features")
TABLES = ("tokens", "decisions", "partings", "layers")
CARRIED_FILES = ("carried.parquet", "change.toml", "change.npy")
FEATURE_FILES = ("features.parquet", "features_carried.parquet", "crosscoder.safetensors")
CARRIED_TOKENS = 6_000
"""About how many context tokens the arms are measured on at most: every arm reads them all."""


class DiffInfo(msgspec.Struct, frozen=True):
    """The content of `diff.json`."""

    a: str
    """`name@hash`."""
    b: str
    played: str
    """The model whose decisions are read."""
    n_games: int
    layers: tuple[str, ...]
    parts: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION


def diff_models(
    path: str | Path,
    b: str | Path,
    a: str | Path | None = None,
    *,
    layers: Sequence[str] = ("all",),
    parts: Sequence[str] = ("words", "carried"),
    null: str | Path | None = None,
    games: int | None = None,
    backend: str | None = None,
    batch_tokens: int | None = None,
    device: str = "auto",
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Compare the models `a` (None: the one that played) and `b` on a run's contexts; the folder written.

    a, b: model folders, or adapters in PEFT's format. layers: as `wolfscope capture` takes them. parts: of `PARTS`;
    words are always compared. null: a model that differs from `a` by its seed alone, for the null of the features
    (None: `a` itself). games: at most this many. backend: whose contexts, where the run has several models (None: that
    of `activations.backend`). batch_tokens: of a forward pass; by default as many as keep the probabilities of all
    words under 1 GB, at most 4,096. Raises ConfigurationError where the two models differ in vocabulary, depth or
    width, or for an unknown part or backend; ModelFilesError, RunFolderError, StorageError.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ConfigurationError(f"no part is called {unknown[0]!r}; there are: {', '.join(PARTS)}")
    run = load_run(path)
    config = parse_config(run.manifest.config, "manifest.json")
    backend = chosen_backend(config, backend or config.activations.backend)
    first = model_folder(config.backends[backend]) if a is None else a
    pair = [load_model(folder, device) for folder in (first, b)]
    check_comparable(*pair)
    out = Path(run.path) / "model_diff" / f"{pair[0].name}--{pair[1].name}".replace("/", "_")
    with storage(out):
        out.mkdir(parents=True, exist_ok=True)
    played = run.manifest.models[backend]
    size = batch_tokens or max(1, min(4096, 250_000_000 // pair[0].vocab_size))
    chosen = run.game_ids[:games]

    def batches() -> Any:
        return batches_of(run, played, chosen, size, pair[0].max_context)

    points = points_of(pair[0], layers)
    means, levels = _words_and_layers(pair, points, batches(), run, out, say)
    if "carried" in parts:
        some = one_of_each_game(batches(), CARRIED_TOKENS, seed)
        arms = carry(pair, some, means, levels, seed, say)
        with replacing(out / "carried.parquet") as file:
            arms.write_parquet(file)
        write_design(out, arms, means)
    if "features" in parts:
        from harness.compare.features import compare_features

        nothing = None if null is None else load_model(null, device)
        if nothing is not None:
            check_comparable(pair[0], nothing)
        compare_features(pair, batches, out, null=nothing, seed=seed, say=say)
    done = tuple(dict.fromkeys(("words", *parts)))
    info = DiffInfo(pair[0].name, pair[1].name, played, len(chosen), points.names(), done)
    write_whole(out / "diff.json", msgspec.json.format(msgspec.json.encode(info), indent=1) + b"\n")
    written = (*(f"{name}.parquet" for name in TABLES), "directions.safetensors", "diff.json")
    written += CARRIED_FILES if "carried" in parts else ()
    written += FEATURE_FILES if "features" in parts else ()
    seal(out, *(out / name for name in written if (out / name).is_file()), verb="diff")
    return out


def _words_and_layers(
    pair: Sequence[HookedModel], points: Any, batches: Any, run: Run, out: Path, say: Callable[[str], None]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Writes the tables of words and of layers; (layer -> difference of the means, A's mean along it) of the blocks."""
    seats = run.seats.select("game_id", "seat", "role").collect()
    roles = {(str(game), int(seat)): str(role) for game, seat, role in seats.iter_rows()}
    tokenizer = pair[0].tokenizer
    words = Words(vocabulary_of(pair[0]), roles, tokenizer.decode if tokenizer is not None else _numbers)
    names = points.names()
    everywhere = [Moved(pair[0].layout.d_model) for _ in names]
    decisions = [Moved(pair[0].layout.d_model) for _ in names]
    start = [np.zeros(pair[0].layout.d_model) for _ in names]
    for number, batch in enumerate(batches):
        a, b = (read(hooked, points, batch) for hooked in pair)
        words.add(batch, a.logs, b.logs)
        about = before_answers(batch)
        for i in range(len(names)):
            everywhere[i].add(a.streams[:, i], b.streams[:, i])
            decisions[i].add(a.streams[about, i], b.streams[about, i])
            start[i] += a.streams[about, i].double().sum(dim=0).numpy()
        if number % 20 == 19:
            say(f"{words.n_tokens:,} tokens compared")
    if not words.tokens:
        raise ConfigurationError(
            f"{run.path} holds no decision of a model that both {pair[0].name} and {pair[1].name} can read"
        )
    found = [finish(name, everywhere[i], decisions[i]) for i, name in enumerate(names)]
    for name, frame in (
        ("tokens", pl.concat(words.tokens)),
        ("decisions", pl.DataFrame(words.decisions, schema=DECISIONS)),
        ("partings", pl.DataFrame(words.partings, schema=PARTINGS)),
        ("layers", pl.DataFrame([row for row, _ in found], schema=LAYERS)),
    ):
        with replacing(out / f"{name}.parquet") as file:
            frame.write_parquet(file)
    with replacing(out / "directions.safetensors") as file:
        save_file({key: value for _, vectors in found for key, value in vectors.items()}, file)
    means, levels = {}, {}
    for i, name in enumerate(names):
        head, _, number = name.partition(".")
        if head == "resid_post":
            means[number] = decisions[i].mean()
            unit = means[number] / max(float(np.linalg.norm(means[number])), 1e-12)
            levels[number] = float(start[i] @ unit) / max(1, decisions[i].n)
    return means, levels


def before_answers(batch: Sequence[Compared]) -> torch.Tensor:
    """Which tokens of a batch are followed by one that the model emitted, bool `(n_all_tokens,)`."""
    rows, columns = places(batch)
    return torch.tensor([c + 1 in batch[r].emitted for r, c in zip(rows.tolist(), columns.tolist())])


def _numbers(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))
