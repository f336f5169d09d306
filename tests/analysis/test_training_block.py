"""What is said of checkpoints and of two models compared, where both are planted."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from analysis.evaluation.evaluate import Settings
from analysis.models.checkpoints import tokens_trained
from analysis.models.model_diffs import by_kind, by_word, with_probe
from analysis.report.report import write_report
from analysis.stats.errors import AnalysisError
from harness.capture.diff import LAYERS, SCHEMA_VERSION, TOKENS
from tests.fixtures.planted_runs import planted_run

FAST = Settings(n_permutations=19, n_boot=200, trees=2)


def a_diff(run, version=SCHEMA_VERSION, n_games=12, seed=0):
    """A comparison in which B parts from A on the answers alone, on the word `yes` most."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "game_id": f"g{game}", "seat": 0, "token_index": i, "token_id": i % 3, "text": ("yes", "no", ".")[i % 3],
            "kind": "question" if i < 40 else "text", "emitted": i >= 60,
            "kl": (0.5 if i % 3 == 0 else 0.1) * (i >= 60) * rng.uniform(0.5, 1.5), "logp_a": -2.0,
            "logp_b": -2.0 + 0.3 * (i >= 60),
        }
        for game in range(n_games) for i in range(90)
    ]  # fmt: skip
    out = run / "model_diff" / "a@0--b@1"
    out.mkdir(parents=True)
    pl.DataFrame(rows, schema=TOKENS, strict=False).write_parquet(out / "tokens.parquet")
    layer = {"layer": "resid_post.1", "n_tokens": 1080, "norm": 3.0, "moved": 0.2, "cosine": 0.98, "shared": 0.25,
             "explained": [0.6, 0.2, 0.1]}  # fmt: skip
    pl.DataFrame([layer], schema=LAYERS).write_parquet(out / "layers.parquet")
    save_file({"resid_post.1": np.eye(3, 32, dtype=np.float32)}, out / "directions.safetensors")
    info = {"a": "a@0", "b": "b@1", "played": "a@0", "n_games": n_games, "layers": ["resid_post.1"],
            "schema_version": version}  # fmt: skip
    (out / "diff.json").write_text(json.dumps(info))
    return out


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = tmp_path_factory.mktemp("course") / "run"
    planted_run(run, 36, 1.2, checkpoints={"tokens-1000": 0.0, "tokens-250000": 0.5, "tokens-4000000": 1.0})
    a_diff(run)
    return write_report([run], settings=FAST)


def test_checkpoints_of_too_few_games_are_not_said_to_be_missing(tmp_path):
    run = tmp_path / "run"
    planted_run(run, 6, 1.2, checkpoints={"tokens-1000": 0.0, "tokens-250000": 0.5})
    text = write_report([run], settings=FAST).read_text()
    assert "No course over training: the headline target was not evaluated" in text
    assert "fewer than two other checkpoints" not in text


def test_a_read_out_that_grows_over_training_is_shown_growing(page):
    frame = pl.read_parquet(page.with_suffix("") / "F11_checkpoints.parquet")
    own = frame.filter(pl.col("what") == "own probe")
    assert own["tokens"].to_list() == [1000, 250_000, 4_000_000, None]
    first, middle, late, _ = own.to_dicts()
    assert first["low"] < 0.5 < first["high"]
    assert first["value"] < middle["value"] < late["value"]
    assert late["low"] > 0.6
    assert '<figure id="F11">' in page.read_text()


def test_the_final_direction_reads_a_checkpoint_that_has_it_and_not_one_that_has_not(page):
    frame = pl.read_parquet(page.with_suffix("") / "F11_checkpoints.parquet")
    carried = frame.filter(pl.col("what") == "final model's direction")
    values = dict(carried.select("tokens", "value").iter_rows())
    assert abs(values[1000] - 0.5) < 0.06
    assert values[4_000_000] > 0.7
    assert carried["n_rows"].n_unique() == 1  # the same rows through every checkpoint


def test_the_tokens_of_high_divergence_are_named(page):
    folder = page.with_suffix("")
    kinds = pl.read_parquet(folder / "D1_kinds.parquet")
    top = kinds.row(0, named=True)
    assert (top["kind"], top["n"]) == ("answers", 12 * 30)
    assert top["share"] == pytest.approx(1.0)
    assert top["low"] < top["kl"] < top["high"]
    assert top["gain"] == pytest.approx(0.3, abs=1e-6)
    assert pl.read_parquet(folder / "D1_words.parquet")["text"][0] == "yes"
    text = page.read_text()
    assert "a (A) and b (B)" in text
    assert '<figure id="D1-0">' in text


def test_words_that_are_rare_are_not_listed_and_shares_are_of_everything():
    frame = pl.DataFrame(
        {"text": ["often"] * 30 + ["once"], "kl": [1.0] * 30 + [90.0], "logp_a": 0.0, "logp_b": 0.0}
    )
    row = by_word(frame).row(0, named=True)
    assert (row["text"], row["share"]) == ("often", 0.25)


def test_intervals_of_divergence_are_over_games():
    frame = pl.DataFrame(
        {"game_id": ["a"] * 500 + ["b"] * 500, "kind": "text", "emitted": False, "kl": [0.0] * 500 + [1.0] * 500,
         "logp_a": 0.0, "logp_b": 0.0}
    )  # fmt: skip
    row = by_kind(frame).row(0, named=True)
    assert (row["low"], row["kl"], row["high"]) == (
        0.0,
        0.5,
        1.0,
    )  # two games, whatever their number of tokens


def test_a_probe_inside_the_changed_directions_is_told_from_one_outside():
    layers = pl.DataFrame({"layer": ["resid_post.1"]})
    directions = {"resid_post.1": np.eye(2, 8, dtype=np.float32)}
    for place, expected in ((0, 1.0), (5, 0.0)):
        w = np.eye(8)[place]
        assert with_probe(layers, directions, {"resid_post.1": w})["probe"][0] == expected
    assert with_probe(layers, directions, {})["probe"][0] is None
    assert with_probe(layers, directions, {})["by_chance"][0] == 0.25


def test_tokens_trained_are_read_from_the_name():
    assert tokens_trained("000000234375@1f2e") == 234_375
    assert tokens_trained("wolf-7b-tokens-1000@0") == 1000
    assert tokens_trained("small@7a7a") is None


def test_a_comparison_of_another_version_is_refused(tmp_path):
    run = planted_run(tmp_path / "run", 6, 0.0)
    a_diff(run, version=99)
    with pytest.raises(AnalysisError, match="schema version 99"):
        write_report([run], settings=FAST)
