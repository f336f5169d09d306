"""The layer finder knows decoders by their structure, and says what it does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agents.hooks.hooks import Hooks, Reads, choose_points
from agents.hooks.layers import UnknownArchitecture, find_layout, select_layers
from agents.hooks.model import hook_model
from tests.fixtures.tiny_models import D_MODEL, N_LAYERS, tiny_model

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "mistral", "gpt_neox", "phi", "phi3", "gpt2")
IDS = torch.tensor([[5, 9, 17, 33, 60, 4, 8, 71]])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_found_and_read_where_transformers_says(family: str) -> None:
    model = tiny_model(family)
    layout = find_layout(model)
    assert (layout.n_layers, layout.d_model) == (N_LAYERS, D_MODEL)
    hooks = Hooks(layout, choose_points(layout, embed=True, attn_out=True, mlp_out=True))
    everywhere = Reads(torch.zeros(8, dtype=torch.long), torch.arange(8), torch.arange(8), 8)
    with torch.inference_mode(), hooks.attached():
        hooks.plan(everywhere)
        expected = torch.cat(model(input_ids=IDS, output_hidden_states=True).hidden_states)
        found = hooks.take().transpose(0, 1)
    # hidden_states: embed, outputs of blocks 0 .. n - 2, and the last one after the final norm
    torch.testing.assert_close(found[:N_LAYERS], expected[:N_LAYERS])
    assert not torch.allclose(found[N_LAYERS], expected[N_LAYERS])


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gpt_neox", "phi", "phi3", "gpt2"])
def test_attention_and_mlp_add_up_to_the_stream(family: str) -> None:
    model = tiny_model(family)
    layout = find_layout(model)
    hooks = Hooks(layout, choose_points(layout, embed=True, attn_out=True, mlp_out=True))
    with torch.inference_mode(), hooks.attached():
        hooks.plan(Reads(torch.tensor([0]), torch.tensor([5]), torch.tensor([0]), 1))
        model(input_ids=IDS)
        embed, resid, attention, mlp = hooks.take()[0].split([1, N_LAYERS, N_LAYERS, N_LAYERS])
    before = torch.cat([embed, resid[:-1]])
    torch.testing.assert_close(before + attention + mlp, resid, rtol=1e-4, atol=1e-5)


def test_the_decoder_alone_gives_the_same_stream_as_the_whole_model() -> None:
    for family in FAMILIES:
        model = tiny_model(family)
        layout = find_layout(model)
        hooks = Hooks(layout, choose_points(layout))
        reads = Reads(torch.tensor([0]), torch.tensor([7]), torch.tensor([0]), 1)
        with torch.inference_mode(), hooks.attached():
            hooks.plan(reads)
            model(input_ids=IDS, use_cache=False)
            whole = hooks.take()
            hooks.plan(reads, stop_early=True)
            hooks.run(layout.decoder, input_ids=IDS, use_cache=False)
            torch.testing.assert_close(hooks.take(), whole)


def test_stopping_early_saves_the_layers_above() -> None:
    model = tiny_model()
    layout = find_layout(model)
    seen: list[int] = []
    for i, layer in enumerate(layout.layers):
        layer.register_forward_hook(lambda *_, i=i: seen.append(i))
    hooks = Hooks(layout, choose_points(layout, 1))
    with torch.inference_mode(), hooks.attached():
        hooks.plan(Reads(torch.tensor([0]), torch.tensor([7]), torch.tensor([0]), 1), stop_early=True)
        hooks.run(layout.decoder, input_ids=IDS, use_cache=False)
        assert hooks.take().shape == (1, 1, D_MODEL)
    assert 2 not in seen


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("all", (0, 1, 2, 3, 4)),
        (2, (2,)),
        (0.5, (2,)),
        (1.0, (4,)),
        ([0.0, 3, 3, 1.0], (0, 3, 4)),
        (np.array([1, 2]).tolist(), (1, 2)),
    ],
)
def test_layers_by_index_fraction_list_or_all(spec: Any, expected: tuple[int, ...]) -> None:
    assert select_layers(spec, 5) == expected


@pytest.mark.parametrize(
    ("spec", "says"),
    [(5, "0 to 4"), (-1, "0 to 4"), (1.5, "0.0 to 1.0"), ("last", "last"), ([], "empty"), ([True], "True")],
)
def test_layers_that_do_not_exist_are_refused(spec: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        select_layers(spec, 5)


def test_what_is_no_decoder_is_refused_with_what_was_found() -> None:
    import transformers as tf

    t5 = tf.T5ForConditionalGeneration(
        tf.T5Config(d_model=16, num_layers=1, num_heads=2, d_kv=8, d_ff=16, vocab_size=8)
    )
    with pytest.raises(UnknownArchitecture, match="encoder-decoder"):
        find_layout(t5)
    mamba = tf.MambaForCausalLM(
        tf.MambaConfig(hidden_size=16, num_hidden_layers=2, vocab_size=8, state_size=4)
    )
    with pytest.raises(UnknownArchitecture, match=r"backbone\.layers \(2 x MambaBlock\)"):
        find_layout(mamba)
    with pytest.raises(UnknownArchitecture, match="no config"):
        find_layout(nn.Linear(2, 2))


def test_a_block_without_an_mlp_module_is_refused_for_mlp_out_alone() -> None:
    import transformers as tf

    config = tf.OPTConfig(
        vocab_size=96,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        word_embed_proj_dim=32,
        max_position_embeddings=64,
    )
    model = hook_model(tf.OPTForCausalLM(config).eval(), "opt@0")
    assert model.layout.n_layers == 2
    choose_points(model.layout, attn_out=True)
    with pytest.raises(ValueError, match="no MLP submodule"):
        choose_points(model.layout, mlp_out=True)
