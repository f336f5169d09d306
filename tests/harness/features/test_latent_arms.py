"""Latents as arms of an experiment: what they contribute is taken off, what the dictionary misses stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from harness.experiment.arms import expand
from harness.experiment.design import Design, ExperimentError, parse_design
from harness.experiment.directions import read_direction
from harness.experiment.folder import read_manifest
from harness.experiment.run import run_experiment
from harness.features.dictionary import Card, Dictionary, FeaturesError
from harness.features.saved import save_dictionary
from harness.run.folder import Run, load_run
from tests.harness.test_capture_playing import config_of, played

D, WIDTH, LAYER = 128, 12, 3


def dictionary(folder: Path, **changes: Any) -> Path:
    """Latents that are on wherever a row points their way; the last one never is."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(WIDTH, D)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    card = Card(
        kind="topk", model="", site="mention", layer=f"resid_post.{LAYER}", d_model=D, width=WIDTH, k=0,
        activation="threshold", normalisation="scale", scale=0.5,
    )  # fmt: skip
    level = np.where(np.arange(WIDTH) == WIDTH - 1, 1e9, 0.0).astype(np.float32)
    zeros = np.zeros(WIDTH, np.float32)
    found = Dictionary(card, directions.T.copy(), zeros, directions, np.zeros(D, np.float32), level)
    return save_dictionary(found, folder)


def design(folder: Path, latents: tuple[int, ...], **more: Any) -> Design:
    plain: dict[str, Any] = {
        "name": "latents", "question": "?", "moments": {"n": 4, "per_game": 2},
        "directions": {"f": {"dictionary": str(folder), "latents": list(latents)}},
        "arms": [{"name": "off", "kind": "latents", "direction": "f", "at": "mentions"},
                 {"name": "more", "kind": "latents", "direction": "f", "do": "add", "at": "mentions"}],
        "controls": {"random": 2, "orthogonal": 1}, "test": {"smallest": 1.0},
    }  # fmt: skip
    return parse_design(plain | more)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(played(tmp_path_factory.mktemp("latents") / "run", config_of(games=4)))


def test_a_row_without_some_latents_keeps_all_else_and_what_is_not_reconstructed(tmp_path: Path) -> None:
    from harness.features.saved import load_dictionary

    found = load_dictionary(dictionary(tmp_path / "d"))
    x = np.random.default_rng(1).normal(size=(30, D)).astype(np.float32)
    error = x - found.reconstruct(x)
    codes = found.encode(x)
    codes[:, [2, 5]] = 0
    assert np.allclose(x - found.part(x, (2, 5)), found.decode(codes) + error, atol=1e-5)
    assert not found.part(x, (WIDTH - 1,)).any()
    with pytest.raises(FeaturesError, match="does not exist"):
        found.part(x, (WIDTH,))


def test_every_ablation_of_latents_has_controls_that_move_as_far(tmp_path: Path) -> None:
    made = design(dictionary(tmp_path / "d"), (2, 5))
    directions = {name: read_direction(name, section) for name, section in made.directions.items()}
    arms, vectors, _ = expand(made, directions, 8, D)
    own = [a for a in arms if a.of == "off"]
    assert [a.control for a in own] == ["", "other_subject", "random", "random", "orthogonal"]
    assert {a.layer for a in own} == {LAYER}
    assert {a.do for a in own if a.control in ("random", "orthogonal")} == {"as_far"}
    assert abs(float(vectors[own[-1].vector or 0] @ directions["f"].vector)) < 1e-5
    assert {a.kind for a in arms if a.of == "more"} == {"direction"}


def test_ablated_latents_change_answers_and_a_latent_that_is_never_on_changes_none(
    run: Run, tmp_path: Path
) -> None:
    folder = dictionary(tmp_path / "d")
    moved = {}
    for name, latents in (("on", (0, 1, 2, 3)), ("never", (WIDTH - 1,))):
        out = run_experiment(design(folder, latents), [run.path], tmp_path / name, force=True)
        rows = pl.read_parquet(out / "outcomes.parquet")
        plain, off = (
            rows.filter(arm=arm).sort("moment")["logprobs"].to_list() for arm in ("unchanged", "off")
        )
        moved[name] = max(abs(np.subtract(a, b)).max() for a, b in zip(plain, off, strict=True))
        assert "latents" in read_manifest(out).directions["f"]
    assert moved["on"] > 1e-3
    assert moved["never"] < 1e-3


def test_latents_of_no_dictionary_and_other_layers_are_refused(tmp_path: Path) -> None:
    folder = dictionary(tmp_path / "d")
    with pytest.raises(ValueError, match="go together"):
        parse_design(design(folder, (1,)).model_dump() | {"directions": {"f": {"dictionary": "x"}}})
    vector = {"f": {"vector": "v.npy", "layer": 1}}
    with pytest.raises(ValueError, match="is of no dictionary"):
        design(folder, (1,), directions=vector)
    made = design(folder, (1,), arms=[{"name": "off", "kind": "latents", "direction": "f", "layer": 1}])
    directions = {name: read_direction(name, section) for name, section in made.directions.items()}
    with pytest.raises(ExperimentError, match="where their dictionary reads"):
        expand(made, directions, 8, D)


def test_a_design_of_before_there_were_dictionaries_or_turns_keeps_its_hash() -> None:
    plain = {
        "name": "old", "question": "?", "directions": {"v": {"vector": "v.npy", "layer": 3}},
        "arms": [{"name": "push", "kind": "direction", "direction": "v"}],
    }  # fmt: skip
    dumped = parse_design(plain).model_dump(mode="json")
    from harness.config.hashing import hash_of

    for section in dumped["directions"].values():
        del section["dictionary"], section["latents"]
    for arm in dumped["arms"]:
        del arm["lexicon"]
    del dumped["turns"]
    assert parse_design(plain).hash() == hash_of(dumped)
