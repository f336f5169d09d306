"""Rows written for other readers are what the model computes, under every convention, with controls beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from agents.hooks.model import load_hooked_model
from agents.models.small import SMALL_MODEL
from harness.activations.store import ActivationsError
from harness.capture.run import capture_run
from harness.config.files import parse_config
from harness.exchange.activations import FORMATS, export_activations
from harness.exchange.activations.layers import Names, check_names, names_of
from harness.run.folder import Run, load_run
from tests.harness.test_capture_playing import config_of, played


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = played(
        tmp_path_factory.mktemp("export") / "run",
        config_of(activations={"sites": ["mention", "prompt_last"]}),
    )
    capture_run(path, device="cpu")
    capture_run(path, device="cpu", variants=("swapped_role",))
    return load_run(path)


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("out")
    return {
        form: export_activations(
            run.path, home / form, format=form, site="mention", layer="resid_post.3", most=200
        )
        for form in FORMATS
    }


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("embed", Names("embed", None, 0, 0, "blocks.0.hook_resid_pre")),
        ("resid_post.0", Names("resid_post.0", 0, 1, 1, "blocks.0.hook_resid_post")),
        ("resid_post.7", Names("resid_post.7", 7, None, 8, "blocks.7.hook_resid_post")),
        ("mlp_out.2", Names("mlp_out.2", 2, None, None, "blocks.2.hook_mlp_out")),
    ],
)
def test_a_layer_has_its_number_in_every_convention(layer: str, expected: Names) -> None:
    assert names_of(layer, 8) == expected
    with pytest.raises(ActivationsError, match="0 to 7"):
        names_of("resid_post.8", 8)


def test_vectors_are_those_of_the_models_hidden_states_at_the_token_that_is_named(exported) -> None:
    x, table = np.load(exported["numpy"] / "rows.npy"), pl.read_parquet(exported["numpy"] / "rows.parquet")
    card = json.loads((exported["numpy"] / "card.json").read_text())
    model = load_hooked_model(SMALL_MODEL, device="cpu").model
    assert (x.dtype, card["layer"]["hidden_states"], card["layer"]["engine"]) == (np.float32, 4, 4)
    for i in (0, len(x) // 2, len(x) - 1):
        ids = table["token_ids"][i].to_list()
        assert len(ids) == table["position"][i] + 1
        with torch.inference_mode():
            states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        assert np.allclose(states[card["layer"]["hidden_states"]][0, -1].numpy(), x[i], atol=1e-3)
    assert max(card["largest_relative_error"].values()) < 1e-4
    assert set(card["largest_relative_error"]) == {"block output", "hidden_states[4]"}


def test_every_format_holds_the_same_rows(exported) -> None:
    x = np.load(exported["numpy"] / "rows.npy")
    theirs = pl.read_parquet(exported["saelens"] / "activations.parquet")
    assert np.array_equal(theirs["blocks.3.hook_resid_post"].to_numpy(), x)
    for form in ("nla", "oracle"):
        rows = [json.loads(line) for line in (exported[form] / "rows.jsonl").read_text().split("\n") if line]
        assert np.array_equal(np.array([row["vector"] for row in rows], dtype=np.float32), x)
        assert {row["block_output"] for row in rows} == {3}
    table = pl.read_parquet(exported["oracle"] / "rows.parquet")
    assert [row["answer"] == "yes" for row in rows] == table["answer"].to_list()


def test_controls_stand_beside_twins_with_other_role_lines_and_vectors_dealt_anew(exported) -> None:
    home = exported["numpy"]
    x, shuffled = np.load(home / "rows.npy"), np.load(home / "controls" / "shuffled" / "rows.npy")
    assert np.array_equal(np.sort(x, axis=0), np.sort(shuffled, axis=0))
    assert (np.abs(x - shuffled).max(axis=1) > 0).mean() > 0.9
    table, twins = (pl.read_parquet(f / "rows.parquet") for f in (home, home / "controls" / "twins"))
    assert set(twins["variant"]) == {"swapped_role"}
    keys = ["game_id", "seq", "seat", "subject"]
    assert twins.join(table, on=keys, how="anti").height == 0
    # their token ids are those that were read: the same words but for the role line
    both = twins.join(table, on=keys, how="left", maintain_order="left", suffix="_own")
    assert both["token_ids"].null_count() == 0
    pairs = list(both.select("token_ids", "token_ids_own").iter_rows())
    # a name that stands before the role line was read alike
    assert sum(theirs != own for theirs, own in pairs) > len(pairs) / 2
    assert all(
        theirs[-shared:] == own[-shared:] for theirs, own in pairs if (shared := min(len(own) - 80, 60)) > 0
    )
    vectors = np.load(home / "controls" / "twins" / "rows.npy")
    model = load_hooked_model(SMALL_MODEL, device="cpu").model
    with torch.inference_mode():
        states = model(input_ids=torch.tensor([both["token_ids"][0].to_list()]), output_hidden_states=True)
    assert np.allclose(states.hidden_states[4][0, -1].numpy(), vectors[0], atol=1e-3)


def test_rows_read_on_a_fork_have_the_tokens_of_their_question(tmp_path: Path) -> None:
    changes = {
        "beliefs": {"enabled": True, "before": ["ballot"]},
        "activations": {"sites": ["belief_mention"], "layers": [3]},
    }
    path = played(tmp_path / "run", parse_config(config_of().plain() | changes))
    capture_run(path, device="cpu")
    out = export_activations(
        path, tmp_path / "out", format="oracle", site="belief_mention", layer="resid_post.3"
    )
    table = pl.read_parquet(out / "rows.parquet")
    assert table["token_ids"].null_count() == 0
    assert (table["token_ids"].list.len() == table["position"] + table["n_tokens"]).all()
    card = json.loads((out / "card.json").read_text())
    assert card["checked_rows"] == 16
    assert max(card["largest_relative_error"].values()) < 1e-3
    asked = {json.loads(line)["question"] for line in (out / "rows.jsonl").read_text().split("\n") if line}
    assert asked == {"Is the player whose name was just read a werewolf?"}


def test_nothing_is_written_where_rows_are_not_the_models(run: Run, tmp_path: Path) -> None:
    hooked = load_hooked_model(SMALL_MODEL, device="cpu")
    lines = run.activations().index(site="prompt_last")[:2]
    contexts = [
        (run.context_ids(g, s), [at])
        for g, s, at in lines.select("game_id", "seq", "token_index").iter_rows()
    ]
    right = run.activations().read(lines, "resid_post.3")
    assert max(check_names(names_of("resid_post.3", 8), hooked, contexts, right, "float32").values()) < 1e-4
    off_by_one = run.activations().read(lines, "resid_post.4")
    with pytest.raises(ActivationsError, match="nothing was written"):
        check_names(names_of("resid_post.3", 8), hooked, contexts, off_by_one, "float32")
    wrong = Names("resid_post.3", 3, 3, 4, "")
    with pytest.raises(ActivationsError, match=r"hidden_states\[3\]"):
        check_names(wrong, hooked, contexts, right, "float32")
    with pytest.raises(ActivationsError, match="no rows at site"):
        export_activations(run.path, tmp_path / "x", format="numpy", site="option", layer="resid_post.3")
    assert not (tmp_path / "x").exists()
