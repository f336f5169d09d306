"""Training of dictionaries: planted directions are found, a row's code is its own, a stopped training goes on."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.features import rows as rows_module
from harness.features import train as training_module
from harness.features.dictionary import Dictionary, FeaturesError
from harness.features.fit import fit_of
from harness.features.modules import Learner, Plan
from harness.features.rows import rows_of
from harness.features.saved import load_dictionary
from harness.features.train import Training, rate_of, train_on
from tests.fixtures.sparse_stores import LAYER, sparse_rows, unit_directions, write_store

DIRECTIONS = unit_directions(48, 24)
KINDS = ("batchtopk", "topk", "matryoshka")


def plan(**changes: object) -> Training:
    given = {"site": "mention", "layer": LAYER, "widths": (64,), "l0": (4,), "rows": 60_000, "batch": 128}
    return Training(**(given | {"dead_after": 4_000, "hold_out": 0.2, "lr": 1e-2} | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    return write_store(tmp_path_factory.mktemp("rows") / "store", sparse_rows(6000, DIRECTIONS, 4 / 48)[0])


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dictionary]:
    out = tmp_path_factory.mktemp("features")
    folders = train_on(store, plan(kinds=KINDS), out)
    assert [f.name for f in folders] == [f"{kind}-w64-l4-s0" for kind in KINDS]
    return {kind: load_dictionary(folder) for kind, folder in zip(KINDS, folders, strict=True)}


@pytest.mark.parametrize("kind", KINDS)
def test_planted_directions_are_found_and_held_out_rows_are_explained(trained, kind: str) -> None:
    found = trained[kind]
    assert found.card.variance_explained > 0.7
    assert 3 < found.card.l0 < 5
    cosine = np.abs(found.w_dec @ DIRECTIONS.T) / np.linalg.norm(found.w_dec, axis=1, keepdims=True)
    # a Matryoshka spends its first latents on what many directions share
    assert (cosine.max(axis=0) > 0.9).mean() > (0.1 if kind == "matryoshka" else 0.7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_has_the_code_that_it_has_in_a_batch(trained, kind: str) -> None:
    x = sparse_rows(50, DIRECTIONS, 4 / 48, seed=5)[0]
    together = trained[kind].encode(x)
    alone = np.concatenate([trained[kind].encode(x[i : i + 1]) for i in range(len(x))])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.array_equal(together > 0, alone > 0)


def test_rows_in_three_dimensions_count_as_rows(trained) -> None:
    x = sparse_rows(60, DIRECTIONS, 4 / 48, seed=6)[0]
    flat, deep = fit_of(trained["batchtopk"], x), fit_of(trained["batchtopk"], x.reshape(5, 12, -1))
    assert flat == deep
    assert trained["batchtopk"].encode(x.reshape(5, 12, -1)).shape == (5, 12, 64)


def test_dead_latents_are_those_that_no_held_out_row_turns_on(trained) -> None:
    found, x = trained["batchtopk"], sparse_rows(400, DIRECTIONS, 4 / 48, seed=7)[0]
    never = (found.encode(x) > 0).sum(axis=0) == 0
    assert fit_of(found, x).dead == pytest.approx(never.mean())
    # a direction as long as any other counts as dead where its threshold lets nothing through
    high = np.where(np.arange(64) < 16, 1e9, found.threshold).astype(np.float32)
    closed = Dictionary(found.card, found.w_enc, found.b_enc, found.w_dec, found.b_dec, high)
    assert fit_of(closed, x).dead >= 0.25


def test_the_first_latents_of_a_matryoshka_reconstruct_by_themselves(trained) -> None:
    x = sparse_rows(500, DIRECTIONS, 4 / 48, seed=8)[0]

    def by_first(kind: str) -> float:
        found = trained[kind]
        codes = found.encode(x)
        codes[:, 32:] = 0
        return float(((x - found.decode(codes)) ** 2).mean())

    assert by_first("matryoshka") < by_first("batchtopk")


def test_latents_that_never_fire_begin_anew() -> None:
    x = torch.from_numpy(sparse_rows(512, DIRECTIONS, 4 / 48, seed=9)[0])
    learner = Learner(Plan("batchtopk", 64, 4, 0), 24, x.mean(dim=0), dead_after=100)
    with torch.no_grad():
        learner.b_enc[:32] = -100.0
        learner.since[:32] = 1_000.0
    replanted = learner.replant(x)
    assert replanted == list(range(32))
    assert (learner.before(x)[:, :32] > 0).any(dim=0).all()


def test_short_trainings_take_larger_steps_and_long_ones_the_usual() -> None:
    long, short = (
        rate_of(plan(rows=n, batch=128, lr=None), Plan("batchtopk", 1024, 16, 0)) for n in (10**7, 250_000)
    )
    assert long == pytest.approx(8e-4)
    assert short == pytest.approx(8e-4 * (50_000 / 1953) ** 0.5, rel=1e-3)
    assert rate_of(plan(rows=128, batch=128, lr=None), Plan("batchtopk", 1024, 16, 0)) == pytest.approx(
        6.4e-3
    )


def test_a_dictionary_that_hardly_left_its_random_start_says_so(store, trained, tmp_path: Path) -> None:
    assert all(not found.card.stamps for found in trained.values())
    said: list[str] = []
    (folder,) = train_on(store, plan(rows=1_000, lr=1e-3), tmp_path, said.append)
    (stamp,) = load_dictionary(folder).card.stamps
    assert stamp.startswith("hardly trained") and "--rows" in stamp
    assert any(stamp in line for line in said)


def test_a_stopped_training_ends_as_one_that_was_not_stopped(store, tmp_path: Path, monkeypatch) -> None:
    whole = train_on(store, plan(rows=12_000), tmp_path / "whole")
    one, steps = training_module._Session._one, []

    def stops(self, x) -> None:
        if len(steps) == 40:
            self.keep()
            raise KeyboardInterrupt
        steps.append(1)
        one(self, x)

    monkeypatch.setattr(training_module._Session, "_one", stops)
    with pytest.raises(KeyboardInterrupt):
        train_on(store, plan(rows=12_000), tmp_path / "stopped")
    monkeypatch.setattr(training_module._Session, "_one", one)
    said: list[str] = []
    resumed = train_on(store, plan(rows=12_000), tmp_path / "stopped", said.append)
    assert any("going on at step 40" in line for line in said)
    a, b = load_dictionary(whole[0]), load_dictionary(resumed[0])
    assert np.allclose(a.w_dec, b.w_dec, atol=1e-6)
    assert not list((tmp_path / "stopped").glob("training.*"))


def test_a_stopped_training_with_other_settings_is_refused(store, tmp_path: Path, monkeypatch) -> None:
    def stops(self, x) -> None:
        self.keep()
        raise KeyboardInterrupt

    monkeypatch.setattr(training_module._Session, "_one", stops)
    with pytest.raises(KeyboardInterrupt):
        train_on(store, plan(), tmp_path)
    with pytest.raises(FeaturesError, match="other settings"):
        train_on(store, plan(batch=64), tmp_path)


def test_held_out_games_are_never_trained_on_and_rows_come_in_an_order_of_their_own(store) -> None:
    rows = rows_of(store, "mention", LAYER, 0.3)
    assert len(rows.games) == 3
    assert not set(rows.train["game_id"]) & set(rows.games)
    first, again, other = (np.concatenate(list(rows.batches(100, 0, epoch))) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    order = np.lexsort(store.read(rows.train, LAYER).T)
    assert len(np.unique(first, axis=0)) == len(first) == len(order) // 100 * 100


def test_of_a_large_store_only_a_piece_is_in_memory_at_a_time(tmp_path: Path, monkeypatch) -> None:
    x = np.random.default_rng(0).normal(size=(20_000, 128)).astype(np.float32)
    rows = rows_of(write_store(tmp_path / "store", x), "mention", LAYER, 0.2)
    monkeypatch.setattr(rows_module, "BUFFER_BYTES", x.nbytes // 20)
    tracemalloc.start()
    seen = sum(len(batch) for batch in rows.batches(128, 0, 0))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == rows.train.height // 128 * 128
    assert most < x.nbytes / 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"site": "option"}, "has no rows at site"),
        ({"layer": "resid_post.9"}, "is not in"),
        ({"l0": (65,)}, "between 1 and the width"),
        ({"batch": 100_000, "rows": 100_000}, "rows to train on"),
        ({"hold_out": 1.5}, "a share between 0 and 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(store, tmp_path: Path, changes, words: str) -> None:
    with pytest.raises(FeaturesError, match=words):
        train_on(store, plan(**changes), tmp_path)
