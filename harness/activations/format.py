"""The file formats of a store of activations: `store.json`, the index, and the names and hashes in them."""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.activations.shards import ActivationsDamaged, ActivationsError, open_shard, shard_remedy
from harness.digest import digest_of

SCHEMA_VERSION = 1

INDEX_SCHEMA = pl.Schema(
    {
        "game_id": pl.String,
        "seq": pl.Int64,
        "seat": pl.Int16,
        "site": pl.String,
        "subject": pl.Int16,  # the seat that the site is about, or null
        "variant": pl.String,  # "original", or how the context was changed
        "token_index": pl.Int32,  # first token of the site, in the whole context
        "n_tokens": pl.Int32,  # tokens averaged
        "token_hash": pl.String,  # of the context up to and including the site's last token
        "shard": pl.String,
        "row": pl.Int32,
        "checksum": pl.String,  # blake2b of the row's bytes over all layers
    }
)

KEY = ("game_id", "seq", "site", "subject", "variant", "token_index")


class StoreInfo(msgspec.Struct, frozen=True):
    """The content of `store.json`; every writer must agree with it."""

    model: str
    """`name@hash`."""
    layers: tuple[str, ...]
    """Names of the rows' first axis: `embed`, `resid_post.0`, ..., `attn_out.0`, `mlp_out.0`."""
    d_model: int
    dtype: str
    schema_version: int = SCHEMA_VERSION


NAMES = "names.safetensors"
"""File beside the shards: the unembedding of each player's name, `(d_model,)` (`harness.activations.unembedding`)."""
SITES = (
    "prompt_last",
    "output_last",
    "output_mean",
    "speech_last",
    "speech_mean",
    "reasoning_mean",
    "mention",
    "mention_told",
    "option",
    "role_line",
    "belief_mention",
    "tokens:output",
    "tokens:speech",
    "tokens:reasoning",
    "tokens:role_line",
    "tokens:question",
)
"""The named sites (`harness.activations.sites` says what each is)."""


def no_site(name: str) -> str:
    """The error text for a site that does not exist: the nearest name, and all names."""
    near = difflib.get_close_matches(name, SITES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? There are" if near else "there are"
    return f"no site is called {name!r}; {hint}: {', '.join(SITES)}, mention:SEAT, mention_told:SEAT, option:SEAT"


def token_hash(ids: Sequence[int] | NDArray[np.integer]) -> str:
    """blake2b (32 hex digits) of the token ids as little-endian int32."""
    return blake2b(np.asarray(ids, dtype="<i4").tobytes(), digest_size=16).hexdigest()


def store_folders(run: Path) -> list[Path]:
    """The stores of a run folder: `activations`, `activations-untrained`, those of other checkpoints."""
    return sorted(path for path in run.glob("activations*") if path.is_dir())


BELIEF_MENTION = "belief_mention"
"""The site on forks: a seat's name in the question about that seat (`harness.capture.belief_forks`)."""


ContextKey = tuple[str, int, str, int | None]
"""(game_id, seq, variant, None) names a decision's whole context; with a seat in place of None, the fork on which the
deciding seat is asked about that seat."""


def split_site(name: str) -> tuple[str, int | None]:
    """`mention:3` -> (`mention`, 3); `prompt_last` -> (`prompt_last`, None)."""
    head, colon, tail = name.rpartition(":")
    if colon and tail.isdigit():
        return head, int(tail)
    return name, None


def layer_name(layer: int | str) -> str:
    """The stored name: a number is the residual stream after that block, `resid_post.<number>`."""
    return f"resid_post.{layer}" if isinstance(layer, int) or layer.isdecimal() else layer


def block_of(layer: str) -> int | None:
    """The block of a stored layer, `resid_post.3` -> 3; None for the embeddings and for what is no such name."""
    number = layer.rpartition(".")[2]
    return int(number) if number.isdecimal() else None


def read_part(part: Path) -> pl.DataFrame:
    """One index part. Raises ActivationsDamaged where its bytes differ from what the shard's metadata recorded."""
    shard = part.parent.parent / "shards" / f"{part.stem}.safetensors"
    try:
        data = part.read_bytes()
        found, written = digest_of(data), _index_hash(shard)
        if written is not None and found != written:
            raise ActivationsDamaged(
                f"index part {part} has changed: its hash is {found}, it was written with {written}; "
                f"{shard_remedy(shard)}"
            )
        lines = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ActivationsDamaged(
            f"index part {part} cannot be read ({error}); {shard_remedy(shard)}"
        ) from error
    if lines.schema != INDEX_SCHEMA:
        raise ActivationsDamaged(
            f"index part {part} has columns {lines.schema}, expected {INDEX_SCHEMA}; {shard_remedy(shard)}"
        )
    return lines


def _index_hash(shard: Path) -> str | None:
    """The hash of its index part that a shard records; None where the shard cannot be read, or is too old to record
    one."""
    try:
        return open_shard(shard).metadata.get("index")
    except ActivationsDamaged:
        return None


def read_info(path: Path) -> StoreInfo:
    """`store.json` of a store. Raises ActivationsError."""
    file = path / "store.json"
    if not file.is_file():
        raise ActivationsError(
            f"{path} holds no activations (no store.json); run `wolfscope capture` on the run first"
        )
    try:
        version = json.loads(file.read_bytes()).get("schema_version")
        if version != SCHEMA_VERSION:
            raise ActivationsError(
                f"{file} has schema version {version}, this version reads {SCHEMA_VERSION}; "
                "capture again into a new folder, or use the version that wrote it"
            )
        return msgspec.json.decode(file.read_bytes(), type=StoreInfo)
    except (ValueError, AttributeError) as error:  # msgspec's errors are ValueErrors
        raise ActivationsDamaged(
            f"{file} is damaged ({error}); restore it, or delete it and capture again as before"
        ) from error
