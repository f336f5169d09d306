"""A model that is not what its folder says, or whose numbers are none, is refused where it is loaded or first asked."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.backends.base import ModelBroken, Prompt, Sampling
from agents.backends.hooked.backend import load_hooked_backend
from agents.hooks.broken import not_a_number_on_disk
from agents.hooks.model import load_hooked_model
from agents.models.folder import ModelFilesError
from harness.config.models import model_folder
from harness.config.sections import BackendSection
from tests.fixtures.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def changed(whole: Path, path: Path, change) -> Path:
    shutil.copytree(whole, path)
    tensors = load_file(path / "model.safetensors")
    save_file(change(tensors), path / "model.safetensors", {"format": "pt"})
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {f"_orig_mod.{k}": v for k, v in t.items()}, "torch.compile"),
        (lambda t: {f"module.{k}": v for k, v in t.items()}, "parallel wrapper"),
        (
            lambda t: {k: v for k, v in t.items() if "layers.1.mlp" not in k},
            r"3 missing \(model.layers.1.mlp.down_proj.weight",
        ),
        (lambda t: {**t, "extra.weight": torch.ones(2)}, r"1 without a place in the model \(extra.weight\)"),
        (lambda t: {**t, "model.norm.weight": torch.ones(5)}, "model.norm.weight|mismatch"),
    ],
    ids=["compiled", "parallel", "missing", "left over", "other shape"],
)
def test_weights_that_are_not_those_of_the_config_are_refused(change, said, whole, tmp_path):
    with pytest.raises(ModelFilesError, match=said):
        load_hooked_model(changed(whole, tmp_path / "model", change))


def test_wrapped_weights_are_refused_before_any_engine_starts(whole, tmp_path):
    folder = changed(whole, tmp_path / "model", lambda t: {f"_orig_mod.{k}": v for k, v in t.items()})
    for kind in ("vllm", "transformers"):
        with pytest.raises(ModelFilesError, match="_orig_mod"):
            model_folder(BackendSection(kind=kind, model=str(folder)))


def nan_in(name: str):
    return lambda tensors: {
        k: torch.full_like(v, float("nan")) if k == name else v for k, v in tensors.items()
    }


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    ("tensor", "layer"),
    [("model.embed_tokens.weight", "embed"), ("model.layers.1.mlp.up_proj.weight", "layer 1"),
     ("lm_head.weight", "the head")],
)  # fmt: skip
def test_first_nan_is_refused_with_model_and_layer(tensor, layer, temperature, whole, tmp_path):
    folder = changed(whole, tmp_path / "model", nan_in(tensor))
    backend = load_hooked_backend(folder)

    async def ask() -> None:
        try:
            await backend.generate(
                [Prompt((1, 5, 6), Sampling(temperature=temperature, max_tokens=4, seed=1))]
            )
        finally:
            await backend.close()

    with pytest.raises(ModelBroken) as broken:
        asyncio.run(ask())
    assert str(broken.value).startswith("model@")
    assert f"the first NaN is in the output of {layer}; NaN stands in the weights {tensor}" in str(
        broken.value
    )
    assert f"NaN stands in the weights {tensor}" in not_a_number_on_disk(folder)


def test_whole_model_is_loaded(whole):
    assert load_hooked_model(whole).layout.n_layers == 3
