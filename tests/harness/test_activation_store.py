"""The activation store gives back what was put in, says so when it cannot, and names damage."""

from __future__ import annotations

import json
import struct
import threading
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from harness.activations.seal import digests_file
from harness.activations.shards import open_shard, write_shard
from harness.activations.store import (
    INDEX_SCHEMA,
    ActivationOverflow,
    Activations,
    ActivationsDamaged,
    ActivationsError,
    StoreInfo,
    open_activations,
    token_hash,
)
from harness.activations.verify import verify
from harness.activations.writer import ActivationWriter, RowKey, remove_unfinished
from harness.errors import StorageError

LAYERS = ("embed", "resid_post.0", "resid_post.1")
D = 8
CONTEXT = tuple(range(10, 40))


def info(dtype: str = "float32", **changes: object) -> StoreInfo:
    return StoreInfo(**({"model": "tiny@abc", "layers": LAYERS, "d_model": D, "dtype": dtype} | changes))


def key(game: str = "g0", seq: int = 0, site: str = "prompt_last", subject: int | None = None) -> RowKey:
    return RowKey(game, seq, seq % 3, site, subject, 20, 1, token_hash(CONTEXT[:21]))


def values(n: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=(n, len(LAYERS), D))).astype(np.float32)


def filled(path: Path, dtype: str = "float32", n: int = 12) -> tuple[Activations, np.ndarray]:
    """Two writers, two shards each, games g0 and g1 by turns."""
    data = values(n)
    half = n // 2
    for w, rows in enumerate((range(half), range(half, n))):
        with ActivationWriter(path, info(dtype), name=f"w{w}") as out:
            for i in rows:
                out.add([key(f"g{i % 2}", i)], data[i : i + 1])
                if i == rows[half // 2]:
                    out.flush()
    return open_activations(path), data


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0.0), ("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_rows_come_back_within_the_dtypes_rounding(tmp_path: Path, dtype: str, error: float) -> None:
    store, data = filled(tmp_path / "a", dtype)
    lines = store.index()
    assert lines.schema == INDEX_SCHEMA
    order = lines["seq"].to_numpy()
    for layer, i in (("embed", 0), (0, 1), (1, 2)):
        found = store.read(lines, layer)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, data[order, i], rtol=error, atol=1e-7)
    np.testing.assert_allclose(store.read_rows(lines), data[order], rtol=error, atol=1e-7)
    assert verify(store) == []


def test_bfloat16_rounds_to_nearest_even_as_torch_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    data = values(50, scale=1e4)
    with ActivationWriter(tmp_path, info("bfloat16")) as out:
        out.add([key(seq=i) for i in range(50)], data)
    store = open_activations(tmp_path)
    expected = torch.from_numpy(data).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(store.read_rows(store.index()), expected)


def test_shards_are_ordinary_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    _, data = filled(tmp_path, "bfloat16")
    shard = sorted((tmp_path / "shards").glob("*.safetensors"))[0]
    tensors = safetensors.load_file(str(shard))
    assert set(tensors) == set(LAYERS)
    np.testing.assert_allclose(
        tensors["embed"].float().numpy(), data[: len(tensors["embed"]), 0], rtol=2.0**-8
    )


def test_one_layer_of_one_game_touches_no_other_shard(tmp_path: Path) -> None:
    data = values(6)
    for game in ("g0", "g1", "g2"):
        n = int(game[1])
        with ActivationWriter(tmp_path, info(), name=game) as out:
            out.add([key(game, 2 * n), key(game, 2 * n + 1)], data[2 * n : 2 * n + 2])
    for game in ("g0", "g2"):  # the others are gone, and it does not matter
        next((tmp_path / "shards").glob(f"{game}-*")).unlink()
    lines, found = open_activations(tmp_path).select(1, games=["g1"])
    assert lines["seq"].to_list() == [2, 3]
    np.testing.assert_array_equal(found, data[2:4, 2])


def test_the_tensor_is_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    tensor = store.tensor(store.index()["shard"][0], "embed")
    assert not tensor.flags.writeable
    base = tensor
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_sites_are_found_for_one_subject_or_all(tmp_path: Path) -> None:
    with ActivationWriter(tmp_path, info()) as out:
        out.add([key(site="mention", subject=s) for s in range(4)] + [key()], values(5))
    store = open_activations(tmp_path)
    assert store.index(site="mention")["subject"].to_list() == [0, 1, 2, 3]
    assert store.index(site="mention:2")["subject"].to_list() == [2]
    assert store.index(site="prompt_last")["subject"].to_list() == [None]


@pytest.mark.parametrize("read", ["index", "select"])
def test_site_that_does_not_exist_is_refused_with_the_nearest_name(read: str, tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    arguments = {"site": "menton"} if read == "index" else {"layer": 0, "site": "menton"}
    with pytest.raises(ActivationsError, match="no site is called 'menton'; did you mean 'mention'"):
        getattr(store, read)(**arguments)
    assert store.index(site="role_line").height == 0  # it exists, and was not captured


def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(n: int) -> None:
        with ActivationWriter(tmp_path, info(), shard_bytes=500) as out:  # the same name for all on purpose
            for i in range(20):
                out.add([key(f"g{n}", i)], np.full((1, len(LAYERS), D), 100 * n + i, np.float32))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = open_activations(tmp_path)
    lines, found = store.select("embed")
    assert lines.height == 160
    expected = [100 * int(g[1]) + s for g, s in lines.select("game_id", "seq").iter_rows()]
    np.testing.assert_array_equal(found[:, 0], expected)
    assert verify(store) == []


def test_float16_overflow_is_counted_and_refused(tmp_path: Path) -> None:
    data = values(3)
    data[1, 2, 5] = 70_000.0
    data[2, 0, 0] = -1e6
    with ActivationWriter(tmp_path, info("float16")) as out:
        with pytest.raises(
            ActivationOverflow,
            match=r"2 of 72 values.*1e\+06, first at resid_post.1 of game g0 seq 1 site .*bfloat16.*--dtype",
        ):
            out.add([key(seq=i) for i in range(3)], data)
        out.add([key(seq=9)], values(1))
    assert open_activations(tmp_path).index()["seq"].to_list() == [9]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_not_a_number_is_refused_in_every_dtype(tmp_path: Path, dtype: str) -> None:
    data = values(1)
    data[0, 1, 1] = np.nan
    with (
        ActivationWriter(tmp_path, info(dtype)) as out,
        pytest.raises(ActivationOverflow, match="not finite"),
    ):
        out.add([key()], data)


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", "other@1"), ("layers", LAYERS[:2]), ("d_model", 4), ("dtype", "float16")],
)
def test_a_writer_with_other_settings_is_refused_with_both_values(
    tmp_path: Path, field: str, value: object
) -> None:
    filled(tmp_path)
    with pytest.raises(ActivationsError, match=field) as caught:
        ActivationWriter(tmp_path, info(**{field: value}))
    there = getattr(info(), field)
    for one in (there, value):
        assert (one[-1] if isinstance(one, tuple) else str(one)) in str(caught.value)


def test_a_truncated_shard_is_named_by_reading_and_by_verify(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    shard = sorted((tmp_path / "shards").glob("*"))[0]
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(ActivationsDamaged, match=f"{shard.name}.*truncated"):
        store.select(0)
    damage = verify(store)
    assert [d.kind for d in damage] == ["broken_shard"]
    assert shard.name in damage[0].message


def test_a_flipped_bit_is_named_with_its_row(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    shard = sorted((tmp_path / "shards").glob("*"))[0]
    data = bytearray(shard.read_bytes())
    data[8 + struct.unpack("<Q", data[:8])[0] + 4 * D + 3] ^= 1  # layer 0, row 1
    shard.write_bytes(bytes(data))
    damage = verify(store)
    assert [(d.kind, d.where) for d in damage] == [("changed_bytes", f"{shard.name} row 1")]
    assert "game_id=g1, seq=1" in damage[0].message


def test_missing_rows_shards_and_parts_are_named(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    part = store.parts()[0]
    lines = pl.read_parquet(part)
    pl.concat([lines.slice(1), lines.slice(0, 1).with_columns(row=pl.lit(77, pl.Int32))]).write_parquet(part)
    assert [(d.kind, d.where) for d in verify(store)] == [("broken_index", part.name)]
    forget_the_index(tmp_path / "shards" / f"{part.stem}.safetensors")
    assert sorted(d.kind for d in verify(store)) == ["missing_row", "unindexed_row"]
    part.unlink()
    assert [d.kind for d in verify(store)] == ["unindexed_shard"]
    shard = sorted((tmp_path / "shards").glob("*"))[-1]
    shard.unlink()
    assert sorted(d.kind for d in verify(store)) == ["missing_shard", "unindexed_shard"]


def forget_the_index(path: Path) -> None:
    """Write a shard as stores had it before shards held the hash of their index part, and had digests."""
    shard = open_shard(path)
    raw = np.stack([shard.tensors[layer] for layer in shard.layers], axis=1)
    write_shard(
        path,
        raw,
        shard.layers,
        shard.dtype,
        {k: v for k, v in shard.metadata.items() if k not in ("index", "sealed")},
    )
    digests_file(path).unlink()


def test_what_a_killed_writer_has_left_is_named_never_read_and_removed(tmp_path: Path) -> None:
    store, data = filled(tmp_path)
    part = store.parts()[0]
    n_lost, lost = pl.read_parquet(part).height, part.stem
    part.unlink()  # as if the writer had been killed between a shard and its part
    (tmp_path / "index" / ".w9-00000.parquet.x.part").write_bytes(b"half")
    assert store.index().height == len(data) - n_lost
    assert [(d.kind, d.where) for d in verify(store)] == [("unindexed_shard", f"{lost}.safetensors")]
    assert remove_unfinished(tmp_path) == [f"{lost}.safetensors"]
    assert verify(store) == [] and not list((tmp_path / "index").glob(".*"))
    assert remove_unfinished(tmp_path) == [] and remove_unfinished(tmp_path / "nowhere") == []
    assert store.index().height == len(data) - n_lost


def test_a_killed_writer_loses_no_more_than_the_rows_of_its_last_seconds(tmp_path: Path) -> None:
    data = values(2)
    for folder, seconds, kept in (("at-once", 0.0, 2), ("later", 3600.0, 0)):
        out = ActivationWriter(tmp_path / folder, info(), shard_seconds=seconds)
        for i in range(2):
            out.add([key(seq=i)], data[i : i + 1])  # and nothing is flushed or closed: the process is gone
        assert len(list((tmp_path / folder).glob("shards/*.safetensors"))) == kept
    assert verify(open_activations(tmp_path / "at-once")) == []


def test_any_changed_byte_of_an_index_part_is_named(tmp_path: Path) -> None:
    store, _ = filled(tmp_path, n=4)
    part = store.parts()[0]
    whole = part.read_bytes()
    for at in range(0, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        part.write_bytes(damaged)
        assert [(d.kind, d.where) for d in verify(store)] == [("broken_index", part.name)], at
        with pytest.raises(ActivationsDamaged, match=f"{part.name} has changed"):
            store.check_readable()
    part.write_bytes(whole)
    assert verify(store) == []


@pytest.mark.parametrize("left", [0, 100])
def test_reading_beside_a_cut_index_part_names_it_and_the_remedy(tmp_path: Path, left: int) -> None:
    store, _ = filled(tmp_path)
    part = store.parts()[0]
    part.write_bytes(part.read_bytes()[:left])
    shard = tmp_path / "shards" / f"{part.stem}.safetensors"
    for read in (store.index, store.keys, store.check_readable):
        with pytest.raises(
            ActivationsDamaged, match=f"index part {part} has changed.*delete {shard} and {part}"
        ):
            read()
    assert [d.kind for d in verify(store)] == ["broken_index"]


def test_keys_are_told_for_some_games_alone(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    assert {key[0] for key in store.keys(None)} == {"g0", "g1"}
    assert {key[1] for key in store.keys(["g1"])} == {1, 3, 5, 7, 9, 11}


def test_a_lost_store_json_is_made_anew_for_the_same_settings_alone(tmp_path: Path) -> None:
    store, data = filled(tmp_path)
    (tmp_path / "store.json").unlink()
    with pytest.raises(ActivationsError, match=r"layers = embed .* move .* away"):
        ActivationWriter(tmp_path, info(layers=LAYERS[:2]))
    with ActivationWriter(tmp_path, info()) as out:
        out.add([key(seq=99)], values(1))
    assert open_activations(tmp_path).info == store.info
    assert open_activations(tmp_path).index().height == len(data) + 1


def test_a_writer_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    with ActivationWriter(tmp_path / "a", info()):
        pass
    assert not (tmp_path / "a").exists()


def test_the_same_row_twice_is_named(tmp_path: Path) -> None:
    for _ in range(2):
        with ActivationWriter(tmp_path, info()) as out:
            out.add([key()], values(1))
    assert [d.kind for d in verify(open_activations(tmp_path))] == ["duplicate_key"]


def test_rows_of_other_tokens_are_named(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    contexts = {(f"g{i % 2}", i, "original", None): CONTEXT for i in range(12)}
    assert verify(store, contexts) == []
    contexts["g1", 3, "original", None] = (*CONTEXT[:5], 99, *CONTEXT[6:])
    damage = verify(store, contexts)
    assert [d.kind for d in damage] == ["wrong_tokens"]
    assert "seq=3" in damage[0].message


def test_a_row_that_claims_a_token_before_its_own_is_named(tmp_path: Path) -> None:
    early = msgspec.structs.replace(key(), token_index=key().token_index - 1)
    with ActivationWriter(tmp_path, info()) as out:
        out.add([early], values(1))
    where = (early.game_id, early.seq, early.variant, None)
    damage = verify(open_activations(tmp_path), {where: CONTEXT})
    assert [d.kind for d in damage] == ["wrong_tokens"]


def test_another_schema_version_and_no_store_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ActivationsError, match="wolfscope capture"):
        open_activations(tmp_path)
    filled(tmp_path)
    file = tmp_path / "store.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 7}))
    with pytest.raises(ActivationsError, match="schema version 7, this version reads 1"):
        open_activations(tmp_path)
    file.write_text("{")
    with pytest.raises(ActivationsDamaged, match="damaged"):
        open_activations(tmp_path)


def test_an_unknown_layer_names_those_there_are(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    with pytest.raises(ActivationsError, match=r"resid_post\.7.*embed, resid_post\.0"):
        store.select(7)


def test_batches_cover_the_rows_in_order(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    lines = store.index()
    pieces = list(store.batches(lines, 1, size=5))
    assert [len(v) for _, v in pieces] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate([v for _, v in pieces]), store.read(lines, 1))


def test_a_full_disk_says_so_and_loses_nothing_written_before(tmp_path: Path) -> None:
    resource, signal = pytest.importorskip("resource"), pytest.importorskip("signal")
    data = values(4000)
    out = ActivationWriter(tmp_path, info())
    out.add([key(seq=0)], data[:1])
    out.flush()
    out.add([key(seq=i) for i in range(1, 4000)], data[1:])
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # the kernel's EFBIG stands for a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        with pytest.raises(StorageError, match=r"no room to write .*safetensors"):
            out.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    store = open_activations(tmp_path)
    assert store.index()["seq"].to_list() == [0]
    assert verify(store) == []
    out.flush()  # room again: the rows are still held
    lines = store.index()
    np.testing.assert_array_equal(store.read_rows(lines), data[lines["seq"].to_numpy()])
    assert verify(store) == []
