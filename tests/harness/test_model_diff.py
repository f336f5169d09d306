"""What two checkpoints are said to differ in is what was changed between them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

from agents.hooks.model import load_hooked_model
from agents.models.small import SMALL_MODEL
from harness.activations.sites import views
from harness.activations.store import open_activations
from harness.capture.run import capture_run
from harness.compare.contexts import longest
from harness.compare.run import diff_models
from harness.errors import ConfigurationError
from harness.run.folder import load_run
from tests.fixtures.tiny_models import save_tiny_model
from tests.harness.test_variants import played


def shared_run(factory: pytest.TempPathFactory) -> Path:
    """A run of two games that is played once in a session."""
    path = factory.getbasetemp() / "compared" / "run"
    return path if path.exists() else played(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_run(tmp_path_factory)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """The small model whose last block writes more along one direction, and that direction."""
    folder = tmp_path_factory.mktemp("changed") / "model"
    shutil.copytree(SMALL_MODEL, folder, ignore=shutil.ignore_patterns("training"))
    weights = load_torch(folder / "model.safetensors")
    name = max(k for k in weights if k.endswith("mlp.down_proj.weight"))
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(weights[name].shape[0], generator=generator)
    direction /= direction.norm()
    push = torch.randn(weights[name].shape[1], generator=generator) / 2
    weights[name] = weights[name] + torch.outer(direction, push).to(weights[name].dtype)
    save_torch(weights, folder / "model.safetensors", {"format": "pt"})
    return folder, direction.numpy()


def read(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    return pl.read_parquet(folder / "tokens.parquet"), pl.read_parquet(folder / "layers.parquet")


def test_a_model_does_not_differ_from_itself(run: Path) -> None:
    tokens, layers = read(diff_models(run, "small", device="cpu", parts=("words",)))
    assert tokens["kl"].abs().max() < 1e-5
    assert layers["moved"].max() < 1e-6
    assert layers["cosine"].min() > 1 - 1e-6


def test_a_planted_change_is_found_in_its_layer_and_along_its_direction(
    run: Path, changed: tuple[Path, np.ndarray]
) -> None:
    folder, direction = changed
    out = diff_models(run, folder, device="cpu", parts=("words",))
    tokens, layers = read(out)
    assert layers["moved"].to_list()[:-1] == pytest.approx([0.0] * (len(layers) - 1), abs=1e-6)
    last = layers.row(-1, named=True)
    assert last["moved"] > 0.01
    assert last["explained"][0] > 0.99
    found = load_file(out / "directions.safetensors")[last["layer"]]
    assert abs(found[0] @ direction) > 0.99
    assert tokens["kl"].min() > -1e-5
    assert tokens["kl"].mean() > 1e-5  # a hundred times what rounding leaves between equal models
    info = json.loads((out / "diff.json").read_text())
    assert info["a"].split("@")[0] == "small" and info["b"].split("@")[0] == "model"


def test_divergence_and_log_probabilities_are_those_of_a_plain_pass_over_one_context(
    run: Path, changed: tuple[Path, np.ndarray]
) -> None:
    folder, _ = changed
    tokens, _ = read(diff_models(run, folder, device="cpu", parts=("words",), games=1, batch_tokens=900))
    opened = load_run(run)
    game_id, records = next(iter(opened.logs()))
    view = longest(game_id, list(views(records, opened.manifest.models["small"])))[0].view
    pair = [load_hooked_model(path, device="cpu") for path in (SMALL_MODEL, folder)]
    with torch.inference_mode():
        a, b = (torch.log_softmax(m.model(torch.tensor([view.ids])).logits[0].double(), -1) for m in pair)
    mine = tokens.filter((pl.col("seat") == view.decision.seat) & (pl.col("game_id") == game_id))
    assert mine["token_id"].to_list() == list(view.ids[1:])
    kl = (a.exp() * (a - b)).sum(-1)[:-1]
    np.testing.assert_allclose(mine["kl"].to_numpy(), kl.numpy(), atol=1e-4)
    said = torch.tensor(view.ids[1:])
    expected = b[torch.arange(len(said)), said]
    np.testing.assert_allclose(mine["logp_b"].to_numpy(), expected.numpy(), atol=1e-3)


def test_every_token_of_a_seat_counts_once(run: Path) -> None:
    tokens, _ = read(diff_models(run, "small", device="cpu", parts=("words",)))
    keys = tokens.select("game_id", "seat", "token_index")
    assert keys.n_unique() == len(keys)
    assert {"role_line", "question", "mention"} <= set(tokens["kind"])
    opened = load_run(run)
    said = sum(
        len(d.trace.output_ids)
        for _, records in opened.logs()
        for d in records
        if getattr(d, "trace", None) is not None
    )
    assert tokens["emitted"].sum() == said


def test_models_of_another_architecture_are_refused(run: Path, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "tiny")
    with pytest.raises(ConfigurationError, match="only checkpoints of one architecture"):
        diff_models(run, other, device="cpu", parts=("words",))


def test_another_checkpoint_reads_the_same_contexts_into_a_store_of_its_own(
    run: Path, changed: tuple[Path, np.ndarray]
) -> None:
    capture_run(run, device="cpu", layers=("all",))
    out = capture_run(run, device="cpu", layers=("all",), model=changed[0])
    assert out.name == f"activations-{changed[0].name}"
    own, other = open_activations(run / "activations"), open_activations(out)
    lines = own.index()
    keys = ["game_id", "seq", "site", "subject", "token_index", "token_hash"]
    assert other.index().select(keys).equals(lines.select(keys))
    assert other.info.model.split("@")[0] == changed[0].name
    a, b = own.read_rows(lines), other.read_rows(other.index())
    np.testing.assert_allclose(a[:, :-1], b[:, :-1], atol=1e-5)  # the last block alone was changed
    assert np.abs(a[:, -1] - b[:, -1]).max() > 0.01


def test_a_checkpoint_with_other_words_reads_nothing(run: Path, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "tiny")
    with pytest.raises(ConfigurationError, match="has other words than"):
        capture_run(run, device="cpu", model=other)
