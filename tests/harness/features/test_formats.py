"""Dictionaries of others: read as they were trained, held to our own rows, refused or stamped where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.errors import RunDamaged
from harness.features.dictionary import Card, Dictionary, FeaturesError
from harness.features.fit import check_fit, check_place, check_site, fit_of
from harness.features.formats import layer_of_hook, read_dictionary
from harness.features.load import load_for
from harness.features.saved import load_dictionary, save_dictionary
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run

D, WIDTH = 8, 16
RNG = np.random.default_rng(0)
DIRECTIONS = np.concatenate([np.eye(D), -np.eye(D)]).astype(np.float32)
MEAN = RNG.normal(size=D).astype(np.float32)


def rows(n: int = 200, length: float = 1.0) -> np.ndarray:
    return (length * (RNG.normal(size=(n, D)) + MEAN)).astype(np.float32)


def saelens(folder: Path, *, weights: dict | None = None, **changes: object) -> Path:
    """A folder as SAELens 6 writes it: a perfect dictionary of `rows()`, plus and minus each axis about the mean."""
    folder.mkdir(parents=True)
    config = {
        "architecture": "standard", "d_in": D, "d_sae": WIDTH, "dtype": "float32", "apply_b_dec_to_input": True,
        "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.54.12", "model_name": "planted", "hook_name": "blocks.1.hook_resid_post"},
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config | changes))
    tensors = {
        "W_enc": DIRECTIONS.T.copy(),
        "b_enc": np.zeros(WIDTH, "f4"),
        "W_dec": DIRECTIONS,
        "b_dec": MEAN,
    }
    save_file(tensors | (weights or {}), folder / "sae_weights.safetensors")
    return folder


def explained(found: Dictionary, x: np.ndarray) -> float:
    return fit_of(found, x).variance_explained


def test_a_relu_dictionary_of_saelens_is_read_as_it_was_trained(tmp_path: Path) -> None:
    found = read_dictionary(saelens(tmp_path / "s"))
    assert (found.card.layer, found.card.model, found.card.activation) == ("resid_post.1", "planted", "relu")
    assert explained(found, rows()) > 0.999


def test_the_decoder_bias_is_taken_off_the_input_only_where_the_file_says_so(tmp_path: Path) -> None:
    off = saelens(tmp_path / "s", apply_b_dec_to_input=False, weights={"b_enc": -DIRECTIONS @ MEAN})
    assert explained(read_dictionary(off), rows()) > 0.999


def test_a_topk_dictionary_keeps_k_latents_and_is_refused_without_its_k(tmp_path: Path) -> None:
    found = read_dictionary(saelens(tmp_path / "k", architecture="topk", k=3))
    assert ((found.encode(rows()) > 0).sum(axis=1) == 3).all()
    old = read_dictionary(saelens(tmp_path / "old", activation_fn_str="topk", activation_fn_kwargs={"k": 2}))
    assert ((old.encode(rows()) > 0).sum(axis=1) == 2).all()
    with pytest.raises(FeaturesError, match="no k"):
        read_dictionary(saelens(tmp_path / "without", architecture="topk"))


def test_decoder_lengths_are_folded_in(tmp_path: Path) -> None:
    lengths = np.linspace(0.5, 3, WIDTH).astype(np.float32)
    long = {"W_dec": DIRECTIONS * lengths[:, None], "W_enc": (DIRECTIONS / lengths[:, None]).T.copy()}
    found = read_dictionary(
        saelens(tmp_path / "s", architecture="topk", k=8, rescale_acts_by_decoder_norm=True, weights=long)
    )
    assert np.allclose(np.linalg.norm(found.w_dec, axis=1), 1, atol=1e-5)
    assert explained(found, rows()) > 0.999


def test_jumprelu_needs_its_threshold(tmp_path: Path) -> None:
    level = {"threshold": np.full(WIDTH, 0.5, "f4")}
    found = read_dictionary(saelens(tmp_path / "s", architecture="jumprelu", weights=level))
    codes = found.encode(rows())
    assert codes[codes > 0].min() > 0.5
    with pytest.raises(FeaturesError, match="'threshold'"):
        read_dictionary(saelens(tmp_path / "without", architecture="jumprelu"))


def test_an_average_length_that_the_file_does_not_keep_is_estimated_from_our_rows(tmp_path: Path) -> None:
    folder = saelens(tmp_path / "s", normalize_activations="expected_average_only_in")
    with pytest.raises(FeaturesError, match="estimated"):
        read_dictionary(folder)
    x = rows(2000, length=50.0)
    found = read_dictionary(folder, rows=x)
    assert np.linalg.norm(x * found.card.scale, axis=1).mean() == pytest.approx(np.sqrt(D), rel=1e-4)
    assert explained(found, x) > 0.9


@pytest.mark.parametrize("norm", ["constant_norm_rescale", "layer_norm"])
def test_rows_that_are_normalised_one_by_one_come_back_in_their_own_units(tmp_path: Path, norm: str) -> None:
    found = read_dictionary(saelens(tmp_path / "s", normalize_activations=norm))
    assert explained(found, rows(length=30.0)) > 0.99
    with pytest.raises(FeaturesError, match="use reconstruct"):
        found.decode(found.encode(rows()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "gated"}, "architecture 'gated'"),
        ({"normalize_activations": "covariance_whitening"}, "covariance_whitening"),
        ({"d_in": 9}, "the weights are 8 by 16"),
        ({"metadata": {"hook_name": "blocks.1.attn.hook_z"}}, "no stream"),
        ({"finetuning_scaling_factor": True}, "finetuning_scaling_factor"),
    ],
)
def test_what_saelens_files_mean_otherwise_is_refused_by_name(tmp_path: Path, changes, words: str) -> None:
    with pytest.raises(FeaturesError, match=words):
        read_dictionary(saelens(tmp_path / "s", **changes))


def test_gemma_scope_files_are_read_with_the_layer_of_their_path(tmp_path: Path) -> None:
    folder = tmp_path / "gemma-scope-2b-pt-res" / "layer_1" / "width_16k" / "average_l0_5"
    folder.mkdir(parents=True)
    tensors = {"W_enc": DIRECTIONS.T, "b_enc": -DIRECTIONS @ MEAN, "W_dec": DIRECTIONS, "b_dec": MEAN}
    np.savez(folder / "params.npz", **tensors, threshold=np.full(WIDTH, 0.01, "f4"))
    found = read_dictionary(folder, site="mention")
    assert (found.card.layer, found.card.k, found.card.centred) == ("resid_post.1", 5.0, False)
    assert explained(found, rows()) > 0.99
    with pytest.raises(FeaturesError, match="asked for"):
        read_dictionary(folder, layer="resid_post.2")


@pytest.mark.parametrize(
    ("hook", "layer"),
    [
        ("blocks.3.hook_resid_post", "resid_post.3"), ("blocks.3.hook_resid_pre", "resid_post.2"),
        ("blocks.0.hook_resid_pre", "embed"), ("blocks.2.hook_mlp_out", "mlp_out.2"), ("blocks.2.attn.hook_z", ""),
    ],
)  # fmt: skip
def test_hooks_of_others_are_named_by_the_block_whose_output_they_are(hook: str, layer: str) -> None:
    assert layer_of_hook(hook) == layer


def card(**changes: object) -> Card:
    given = {
        "kind": "topk", "model": "planted@0000", "site": "mention", "layer": "resid_post.1", "d_model": D,
        "width": WIDTH, "activation": "relu", "k": 0, "normalisation": "none",
    }  # fmt: skip
    return Card(**(given | changes))  # type: ignore[arg-type]


def test_a_dictionary_that_explains_less_than_its_card_states_is_stamped_and_one_that_explains_little_refused() -> (
    None
):
    good = Dictionary(
        card(), DIRECTIONS.T.copy(), np.zeros(WIDTH, "f4"), DIRECTIONS, MEAN, np.zeros(WIDTH, "f4")
    )
    fit = fit_of(good, rows())
    assert check_fit(card(variance_explained=0.99), fit) == ()
    assert (
        "explains"
        in check_fit(card(variance_explained=0.99), msgspec.structs.replace(fit, variance_explained=0.7))[0]
    )
    with pytest.raises(FeaturesError, match="its card states 99%"):
        check_fit(card(variance_explained=0.99), msgspec.structs.replace(fit, variance_explained=-2.0))


def test_a_dictionary_of_another_place_is_refused_or_stamped() -> None:
    here = {"model": "planted@0000", "layer": "resid_post.1", "d_model": D}
    assert check_place(card(), **here) == ()
    assert check_place(card(model="hub/planted"), **here) == ()
    assert "names the model other" in check_place(card(model="other"), **here)[0]
    assert check_site(card(site=""), "mention") == check_site(card(), "mention") == ()
    assert "every" not in check_site(card(site="tokens:output"), "mention")[0]
    with pytest.raises(FeaturesError, match="trained on rows of option, these are of mention"):
        check_site(card(site="option"), "mention")
    for changes, words in (
        ({"d_model": 9}, "reads width 9"),
        ({"layer": "resid_post.2"}, "trained at resid_post.2"),
        ({"model": "planted@1111"}, "mean nothing there"),
    ):
        with pytest.raises(FeaturesError, match=words):
            check_place(card(**changes), **here)


def test_what_is_saved_is_what_is_loaded_and_damage_is_named(tmp_path: Path) -> None:
    found = read_dictionary(saelens(tmp_path / "s"), site="mention")
    save_dictionary(found, tmp_path / "kept")
    again = load_dictionary(tmp_path / "kept")
    x = rows()
    assert again.card == found.card
    assert np.array_equal(again.encode(x), found.encode(x))
    (tmp_path / "kept" / "dictionary.safetensors").write_bytes(b"x")
    with pytest.raises(RunDamaged, match=r"dictionary\.safetensors is damaged"):
        load_dictionary(tmp_path / "kept")
    (tmp_path / "kept" / "digests.json").unlink()
    with pytest.raises(FeaturesError, match="cannot be read"):
        load_dictionary(tmp_path / "kept")
    with pytest.raises(FeaturesError, match="is no dictionary"):
        read_dictionary(tmp_path)


def test_a_loaded_dictionary_is_kept_with_what_it_does_on_the_runs_rows(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 3, 1.0, d_model=D)
    x = load_run(run).activations().select("resid_post.1", site="mention")[1]
    folder = saelens(tmp_path / "sae", weights={"b_dec": x.mean(axis=0)})
    kept, fit = load_for(folder, run, site="mention")
    found = load_dictionary(kept)
    assert kept == run / "features" / "mention-resid_post.1" / "standard-sae"
    assert found.card.model == "planted@0000"
    assert fit.variance_explained > 0.999
    broken = saelens(tmp_path / "broken", weights={"W_enc": np.zeros((D, WIDTH), "f4")})
    with pytest.raises(FeaturesError, match="--force"):
        load_for(broken, run, site="mention")
    kept, _ = load_for(broken, run, site="mention", force=True)
    assert "forced" in load_dictionary(kept).card.stamps[0]


def test_a_dictionary_of_another_site_is_refused_and_kept_with_a_stamp_by_force(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 3, 1.0, d_model=D, sites=("mention", "belief_mention"))
    x = load_run(run).activations().select("resid_post.1", site="mention")[1]
    kept, _ = load_for(saelens(tmp_path / "sae", weights={"b_dec": x.mean(axis=0)}), run, site="mention")
    with pytest.raises(FeaturesError, match="trained on rows of mention, these are of belief_mention"):
        load_for(kept, run, site="belief_mention")
    again, _ = load_for(kept, run, site="belief_mention", force=True)
    found = load_dictionary(again).card
    assert found.site == "belief_mention" and "forced" in found.stamps[0]
