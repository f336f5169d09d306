"""Which parts carry a change, and which features one model alone has, are what was planted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.hooks.model import load_hooked_model
from agents.models.folder import ModelFilesError
from agents.models.small import SMALL_MODEL
from analysis.change.read import read_change
from harness.compare.carried import carry, groups, transplanted
from harness.compare.contexts import batches_of
from harness.compare.crosscoder import Settings, train_crosscoder
from harness.compare.features import scored
from harness.compare.pair import load_model
from harness.compare.run import diff_models
from harness.errors import ConfigurationError
from harness.run.folder import load_run
from tests.harness.test_model_diff import shared_run

CHANGED = 5
"""The block whose weights are changed."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_run(tmp_path_factory)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with other weights in one block."""
    folder = tmp_path_factory.mktemp("changed") / "model"
    shutil.copytree(SMALL_MODEL, folder, ignore=shutil.ignore_patterns("training", "checkpoints"))
    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name in [k for k in weights if f"layers.{CHANGED}.mlp" in k]:
        noise = torch.randn(weights[name].shape, generator=generator) * weights[name].float().std()
        weights[name] = (weights[name].float() + 0.5 * noise).to(weights[name].dtype)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def adapter(
    folder: Path, seed: int, scale: float = 0.1, module: str = "model.layers.1.self_attn.q_proj"
) -> Path:
    """A LoRA of rank 2 in PEFT's format on the small model."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    name = f"base_model.model.{module}"
    tensors = {
        f"{name}.lora_A.weight": torch.randn(2, 128, generator=generator),
        f"{name}.lora_B.weight": scale * torch.randn(128, 2, generator=generator),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    card = {
        "base_model_name_or_path": str(SMALL_MODEL), "peft_type": "LORA", "r": 2, "lora_alpha": 4,
        "target_modules": [module],
    }  # fmt: skip
    for part in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SMALL_MODEL / part, folder / part)
    (folder / "adapter_config.json").write_text(json.dumps(card))
    return folder


def test_the_block_that_was_changed_carries_all_of_the_change_and_no_other_block_any(
    run: Path, changed: Path
) -> None:
    pair = [load_hooked_model(folder, device="cpu") for folder in (SMALL_MODEL, changed)]
    kept = {k: v.clone() for k, v in pair[0].model.state_dict().items()}
    opened = load_run(run)
    batch = next(iter(batches_of(opened, opened.manifest.models["small"], opened.game_ids[:1], 1500, 4096)))
    means = {"5": np.ones(128, dtype=np.float32)}
    frame = carry(pair, [batch], means, {"5": 0.0})
    sums = frame.group_by("arm", "layer", "way", maintain_order=True).agg(pl.col("kl").sum())
    of = {(r["arm"], r["layer"], r["way"]): r["kl"] for r in sums.to_dicts()}
    for way in ("bring", "take"):
        whole = of["nothing", "", way]
        assert whole > 1e-3
        assert of["weights", str(CHANGED), way] == pytest.approx(0.0, abs=1e-4)
        assert of["weights", "0", way] == pytest.approx(whole, rel=1e-3)
        assert of["weights_up_to", str(CHANGED - 1), way] == pytest.approx(whole, rel=1e-3)
        assert of["weights_up_to", str(CHANGED), way] == pytest.approx(0.0, abs=1e-4)
        assert of["direction", "5", way] != pytest.approx(whole, rel=1e-3)
    after = pair[0].model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in kept.items())


def test_every_parameter_belongs_to_one_part_and_is_put_back_even_after_an_error(changed: Path) -> None:
    pair = [load_hooked_model(folder, device="cpu") for folder in (SMALL_MODEL, changed)]
    parts = groups(pair[0])
    names = [name for part in parts.values() for name in part]
    assert sorted(names) == sorted(name for name, _ in pair[0].model.named_parameters())
    assert list(parts) == ["embed", *map(str, range(8)), "head"]
    before = {k: v.clone() for k, v in pair[0].model.state_dict().items()}

    def fail() -> None:
        with transplanted(pair[0], pair[1], parts[str(CHANGED)]):
            assert any(not torch.equal(before[n], pair[0].model.state_dict()[n]) for n in parts[str(CHANGED)])
            raise KeyError("stands for any error")

    with pytest.raises(KeyError):
        fail()
    assert all(torch.equal(before[k], v) for k, v in pair[0].model.state_dict().items())


def test_two_adapters_on_one_base_are_compared_and_only_their_module_moves(run: Path, tmp_path: Path) -> None:
    a, b = adapter(tmp_path / "before", 1), adapter(tmp_path / "after", 2)
    out = diff_models(run, b, a, device="cpu", games=1, parts=("words",))
    layers = pl.read_parquet(out / "layers.parquet")
    moved = dict(layers.select("layer", "moved").iter_rows())
    assert moved["embed"] == moved["resid_post.0"] == 0.0 < moved["resid_post.1"]
    change = read_change(out, n_boot=50)
    assert change.a.startswith("before@") and change.b.startswith("after@")
    assert len(change.partings) and set(change.segments["segment"]) >= {"speech", "ballot", "read"}
    decisions = pl.read_parquet(out / "decisions.parquet")
    assert decisions["role"].is_not_null().all()
    tokens = pl.read_parquet(out / "tokens.parquet").filter("emitted")
    assert decisions["n"].sum() == len(tokens)
    assert tokens["kl_back"].min() > -1e-5


def test_a_merged_adapter_is_its_base_with_the_scaled_product_added(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "one", 1)
    merged, base = load_model(folder, "cpu"), load_model("small", "cpu")
    tensors = load_file(folder / "adapter_model.safetensors")
    down, up = (next(v for k, v in tensors.items() if f"lora_{x}" in k) for x in "AB")
    name = "model.layers.1.self_attn.q_proj.weight"
    added = dict(merged.model.named_parameters())[name] - dict(base.model.named_parameters())[name]
    torch.testing.assert_close(added.detach(), 2.0 * up @ down, atol=1e-5, rtol=1e-4)
    assert merged.name != base.name


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"scale": 0.0}, "changes nothing"), ({"module": "model.layers.99.mlp"}, "cannot be put into its base")],
)
def test_an_adapter_that_would_change_nothing_is_refused(
    change: dict[str, float], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFilesError, match=complaint):
        load_model(adapter(tmp_path / "bad", 1, **change), "cpu")  # type: ignore[arg-type]


def test_a_part_that_there_is_not_is_refused(run: Path) -> None:
    with pytest.raises(ConfigurationError, match="no part is called 'thoughts'"):
        diff_models(run, "small", device="cpu", parts=("thoughts",))
    with pytest.raises(ConfigurationError, match="'nobody' is not one of them"):
        diff_models(run, "small", device="cpu", backend="nobody")


def planted(new: bool, n_rows: int = 6000, d_model: int = 24) -> torch.Tensor:
    """Streams of two models with twelve sparse features each, the last of which A lacks where `new`."""
    generator = torch.Generator().manual_seed(3)
    directions = torch.nn.functional.normalize(torch.randn(12, d_model, generator=generator), dim=-1)
    on = torch.rand(n_rows, 12, generator=generator) < 0.15
    f = on * (1 + torch.rand(n_rows, 12, generator=generator))
    both = torch.stack([f @ directions, f @ directions], dim=1)
    if new:
        both[:, 0] -= f[:, 11:] * directions[11]
    return both + 0.02 * torch.randn(both.shape, generator=generator)


def test_a_feature_that_one_model_alone_has_is_found_and_none_where_both_have_all() -> None:
    settings = Settings(n_latents=24, k=2, steps=600, batch=512, rate=3e-3)
    for new in (True, False):
        streams = planted(new)
        coder = train_crosscoder(streams, settings, seed=0)
        frame = scored(coder, streams, np.zeros(len(streams), dtype=int), ["x"])
        kinds = frame.filter(pl.col("fires") > 0.05)["kind"].to_list()
        assert (kinds.count("new-only") > 0) == new, frame
        assert "base-only" not in kinds
        assert kinds.count("shared") >= 8
        assert frame["explained_a"][0] > 0.8
        x = coder.normal(streams[:50])
        alone = torch.cat([coder.codes(row[None]) for row in x])
        torch.testing.assert_close(coder.codes(x), alone)  # no row's code depends on its neighbours


def test_the_design_that_is_written_for_an_experiment_can_be_read_and_names_the_direction_that_brings_most(
    tmp_path: Path,
) -> None:
    from harness.compare.carried import CARRIED
    from harness.compare.design import write_design
    from harness.experiment.design import load_design
    from harness.experiment.directions import read_direction

    rows = [
        ("direction", layer, "bring", "g", "speech", 10, kl)
        for layer, kl in (("0", 3.0), ("1", 1.0), ("2", 0.5))
    ]
    means = {str(k): np.full(8, k + 1.0, dtype=np.float32) for k in range(3)}
    write_design(tmp_path, pl.DataFrame(rows, schema=CARRIED, orient="row"), means)
    design = load_design(tmp_path / "change.toml")
    direction = read_direction("change", design.directions["change"])
    assert direction.layer == 1  # what leaves the last block is read by no later token
    np.testing.assert_allclose(direction.vector, np.full(8, 8**-0.5), rtol=1e-5)


def test_the_arms_are_measured_on_one_context_of_each_game(run: Path) -> None:
    from harness.compare.contexts import one_of_each_game

    opened = load_run(run)
    batches = list(batches_of(opened, opened.manifest.models["small"], opened.game_ids, 100_000, 4096))
    some = [one for batch in one_of_each_game(batches, 10**6, seed=1) for one in batch]
    assert [one.game_id for one in some] == opened.game_ids
    assert some == [one for batch in one_of_each_game(batches, 10**6, seed=1) for one in batch]
    assert len(one_of_each_game(batches, 10**6, seed=1, side=1)) == 2
