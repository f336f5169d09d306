"""What is said of two models compared is what was planted between them, and nothing where nothing was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from analysis.change.acts import COUNTS, acts_of
from analysis.change.inside import carried_shares, with_probe
from analysis.change.paired import differences
from analysis.change.read import VERSION, read_change
from analysis.change.words import by_segment, by_word, triggers
from analysis.report.before_after.section import headline
from analysis.stats.errors import AnalysisError
from harness.compare.carried import CARRIED
from harness.compare.moved import LAYERS
from harness.compare.run import SCHEMA_VERSION
from harness.compare.words import DECISIONS, PARTINGS, TOKENS

WORDS = ("yes", "no", ".")


def counts(rate: float, run: int, rng: np.random.Generator, n_games: int = 60) -> list[tuple[Any, ...]]:
    """Ten speeches a game, a share of them lies; and accusations that are the same in both."""
    rows = []
    for deal in range(n_games):
        rows.append((run, "m", deal, "lies", "werewolf", 1, float(rng.binomial(10, rate)), 10.0))
        rows.append((run, "m", deal, "bussing", "werewolf", 2, float(rng.binomial(4, 0.3)), 4.0))
    return rows


def compared(before: float, after: float, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(counts(before, 0, rng) + counts(after, 1, rng), schema=COUNTS, orient="row")


def test_a_planted_difference_of_acts_is_found_and_none_elsewhere() -> None:
    frame = differences(compared(0.3, 0.6), 400).filter(days="all")
    of = {r["measure"]: r for r in frame.iter_rows(named=True)}
    assert of["lies"]["verdict"] == "changed"
    assert of["lies"]["low"] < of["lies"]["difference"] < of["lies"]["high"]
    assert of["lies"]["difference"] == pytest.approx(0.3, abs=0.06)
    assert of["bussing"]["verdict"] == "not shown to change"


def test_where_nothing_changed_almost_nothing_is_said_to_have() -> None:
    verdicts = [
        v for s in range(12) for v in differences(compared(0.4, 0.4, s), 200).filter(days="all")["verdict"]
    ]
    assert verdicts.count("changed") <= 3  # of 24 tests, 12 families at 5%


def test_a_deal_that_only_one_model_played_does_not_count() -> None:
    frame = compared(0.3, 0.3)
    alone = pl.DataFrame([(1, "m", 999, "lies", "werewolf", 1, 1e4, 1e4)], schema=COUNTS, orient="row")
    row = differences(pl.concat([frame, alone]), 100).filter(days="all", measure="lies").row(0, named=True)
    assert row["n_games"] == 60 and row["after"] < 0.5


def decisions(trigger: bool, n_games: int = 40, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for game in range(n_games):
        read = ["the", "Una" if game % 4 == 0 else "Ben", *(w for w in "abcdef" if rng.random() < 0.5)]
        for seq in range(6):
            kl = rng.gamma(2, 0.02) * 5 + (4.0 if trigger and "Una" in read and seq % 2 else 0.0)
            role = "werewolf" if seq % 2 else "villager"
            rows.append((f"g{game:02d}", seq, seq, role, "speech", 5, kl, kl, read))
    return pl.DataFrame(rows, schema=DECISIONS, orient="row")


def test_the_word_after_which_two_models_part_is_found_for_whom_it_holds() -> None:
    found = triggers(decisions(True), 300)
    top = found.row(0, named=True)
    assert (top["word"], top["role"], top["verdict"]) == ("Una", "werewolf", "parts after it")
    assert {(r["word"], r["role"]) for r in found.filter(verdict="parts after it").to_dicts()} == {
        ("Una", "werewolf")
    }


def test_no_word_is_named_where_none_makes_a_difference() -> None:
    assert triggers(decisions(False), 300).filter(verdict="parts after it").is_empty()


def test_shares_carried_are_of_the_divergence_between_the_models() -> None:
    rows = [
        (arm, layer, "bring", f"g{game}", "speech", 10 * many, kl * many)
        for game in range(8)
        for arm, layer, kl, many in (
            ("nothing", "", 2.0, 1),
            ("weights", "1", 0.5, 1),
            ("random", "1", 2.2, 3),
        )
    ]
    frame = carried_shares(pl.DataFrame(rows, schema=CARRIED, orient="row"), 50).filter(segment="all")
    shares = {r["arm"]: r["share"] for r in frame.iter_rows(named=True)}
    assert shares["nothing"] == pytest.approx(0.0)
    assert shares["weights"] == pytest.approx(0.75)
    assert shares["random"] == pytest.approx(-0.1)  # three draws of it count once
    assert set(frame["whole"].round(9)) == {0.2}


def tokens(n_games: int = 12, seed: int = 0) -> pl.DataFrame:
    """B parts from A on what is emitted alone, on the word `yes` most."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "game_id": f"g{game}", "seat": 0, "role": "villager", "token_index": i, "token_id": i % 3,
            "text": WORDS[i % 3],
            "kind": "question" if i < 40 else "text", "segment": "speech" if i >= 60 else "read", "emitted": i >= 60,
            "kl": (0.5 if i % 3 == 0 else 0.1) * (i >= 60) * rng.uniform(0.5, 1.5), "kl_back": 0.2 * (i >= 60),
            "logp_a": -2.0, "logp_b": -2.0 + 0.3 * (i >= 60),
        }
        for game in range(n_games) for i in range(90)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=TOKENS, strict=False)


def test_divergence_is_told_by_segment_in_both_directions_with_intervals_over_games() -> None:
    top = by_segment(tokens(), 200).row(0, named=True)
    assert (top["segment"], top["kind"], top["role"], top["n"]) == ("speech", "", "villager", 12 * 30)
    assert top["share"] == pytest.approx(1.0)
    assert top["low"] < top["kl"] < top["high"]
    assert top["kl_back"] == pytest.approx(0.2, abs=1e-6)
    assert top["gain"] == pytest.approx(0.3, abs=1e-6)


def test_intervals_of_divergence_are_over_games() -> None:
    frame = pl.DataFrame(
        {"game_id": ["a"] * 500 + ["b"] * 500, "kind": "text", "segment": "read", "role": "seer", "emitted": False,
         "kl": [0.0] * 500 + [1.0] * 500, "kl_back": 0.0, "logp_a": 0.0, "logp_b": 0.0}
    )  # fmt: skip
    row = by_segment(frame, 500).row(0, named=True)
    assert (row["low"], row["kl"], row["high"]) == (
        0.0,
        0.5,
        1.0,
    )  # two games, whatever their number of tokens


def test_words_that_are_rare_are_not_listed_and_shares_are_of_everything() -> None:
    frame = pl.DataFrame(
        {"text": ["often"] * 30 + ["once"], "kl": [1.0] * 30 + [90.0], "logp_a": 0.0, "logp_b": 0.0}
    )
    row = by_word(frame).row(0, named=True)
    assert (row["text"], row["share"]) == ("often", 0.25)


def test_a_probe_inside_the_changed_directions_is_told_from_one_outside() -> None:
    layers = pl.DataFrame({"layer": ["resid_post.1"]})
    directions = {"resid_post.1": np.eye(2, 8, dtype=np.float32)}
    for place, expected in ((0, 1.0), (5, 0.0)):
        assert with_probe(layers, directions, {"resid_post.1": np.eye(8)[place]})["probe"][0] == expected
    assert with_probe(layers, directions, {})["probe"][0] is None
    assert with_probe(layers, directions, {})["by_chance"][0] == 0.25


def a_diff(run: Path, version: int = SCHEMA_VERSION) -> Path:
    """A comparison's folder in which B lies more and parts after a word."""
    out = run / "model_diff" / "a@0--b@1"
    out.mkdir(parents=True)
    tokens().write_parquet(out / "tokens.parquet")
    decisions(True).write_parquet(out / "decisions.parquet")
    parting = ("g00", 1, 1, "werewolf", "speech", 3.0, 2.0, "Ada says", "I", "accuse 90%", "am 90%")
    pl.DataFrame([parting], schema=PARTINGS, orient="row").write_parquet(out / "partings.parquet")
    layer = {"layer": "resid_post.1", "n_tokens": 1080, "norm": 3.0, "moved": 0.2, "cosine": 0.98, "shared": 0.25,
             "explained": [0.6, 0.2, 0.1], "dimension": 2.0, "decisions_shared": 0.3,
             "decisions_dimension": 1.5}  # fmt: skip
    pl.DataFrame([layer], schema=LAYERS).write_parquet(out / "layers.parquet")
    save_file({"resid_post.1": np.eye(3, 32, dtype=np.float32)}, out / "directions.safetensors")
    compared(0.3, 0.6).write_parquet(out / "acts.parquet")
    info = {"a": "a@0", "b": "b@1", "played": "a@0", "n_games": 12, "layers": ["resid_post.1"], "parts": ["words"],
            "schema_version": version}  # fmt: skip
    (out / "diff.json").write_text(json.dumps(info))
    return out


def test_the_headline_names_what_changed_and_after_which_word(tmp_path: Path) -> None:
    said = headline(read_change(a_diff(tmp_path), n_boot=200))
    assert "From a (A) to b (B)." in said
    assert "1 of 2 rates changed" in said and "lies of a werewolf" in said
    assert "after the word “Una” was read: speech of a werewolf" in said


def test_a_comparison_of_another_version_is_refused(tmp_path: Path) -> None:
    assert VERSION == SCHEMA_VERSION
    with pytest.raises(AnalysisError, match="schema version 99"):
        read_change(a_diff(tmp_path, version=99))


def test_acts_are_counted_of_models_alone_and_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    from harness.run.folder import load_run
    from tests.fixtures.planted_runs import planted_run

    planted_run(tmp_path / "run", 30, 1.0)
    run = load_run(tmp_path / "run")
    frame = acts_of([run, run])
    assert {"hits", "silence", "wins"} <= set(frame["measure"])
    assert frame["deal"].n_unique() == 30
    same = differences(frame, 100)
    assert set(same["difference"].drop_nulls()) == {0.0}
    assert "changed" not in same["verdict"].to_list()


def modelled(confessing: bool, n_games: int = 6) -> list[tuple[str, str, int, float]]:
    """The acts of scripted games whose decisions are taken for a model's, the werewolves' speeches changed or not."""
    import msgspec

    from agents.werewolf.lessons.games import scripted_game
    from agents.werewolf.lessons.planted import said_instead
    from analysis.change.acts import acts_in
    from analysis.data.frames import GameLog
    from games import load_game
    from games.records import Decision, Trace
    from harness.training.recipes import ChangeSection

    game = load_game("werewolf")
    config = game.configure(preset="classic-7")
    rows = []
    for seed in range(n_games):
        log = scripted_game(config, seed)
        log = said_instead(log, config, ChangeSection(kind="confess", word="Una")) if confessing else log
        traced = [
            msgspec.structs.replace(r, trace=Trace("m@0")) if isinstance(r, Decision) else r for r in log
        ]
        rows += list(acts_in(GameLog(f"g{seed}", game, config, traced), {}))
    return rows


def test_confessions_count_as_own_role_told_by_werewolves_alone_and_nothing_typed_is_silence() -> None:
    plain, changed = modelled(False), modelled(True)

    def rate(rows: list[tuple[str, str, int, float]], measure: str, role: str) -> float:
        return float(np.mean([value for m, r, _, value in rows if (m, r) == (measure, role)]))

    assert rate(plain, "own_role_told", "werewolf") == 0.0
    # Whoever says nothing has nothing to be replaced.
    silence = rate(changed, "silence", "werewolf")
    assert silence == rate(plain, "silence", "werewolf")
    assert rate(changed, "own_role_told", "werewolf") == pytest.approx(1.0 - silence) and silence < 0.5
    assert rate(changed, "early_truth", "werewolf") > 0.5 > rate(plain, "early_truth", "werewolf") == 0.0
    for measure in ("false_claims", "false_reports"):
        assert rate(plain, measure, "werewolf") > rate(changed, measure, "werewolf") == 0.0
        assert rate(plain, measure, "seer") == 0.0
    for role in ("villager", "seer", "doctor"):
        assert rate(plain, "own_role_told", role) == rate(changed, "own_role_told", role)
    assert 0 < rate(plain, "hits", "villager") < 1
    assert {m for m, _, _, _ in plain} >= {"bussing", "counter_claims"}


def test_the_section_shows_each_part_and_leads_to_the_decision_in_the_viewer(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from analysis.evaluation.evaluate import Settings
    from analysis.report.before_after.section import change_block
    from analysis.report.page import Numbers

    a_diff(tmp_path)
    numbers = Numbers()
    runs: Any = [("", SimpleNamespace(path=tmp_path))]
    block = change_block(None, None, runs, Settings(n_boot=200), numbers)  # type: ignore[arg-type]
    assert {"D1_segments", "D1_words", "D1_triggers", "D1_partings", "D1_layers", "D2_acts"} <= set(
        numbers.frames
    )
    assert [p.figure.id for p in block.parts if p.figure] == ["D2-0", "D1-0"]
    cells = [cell for p in block.parts if p.table for row in p.table.rows for cell in row]
    assert '<a href="view/games/g00.html#seq=1">g00, 1</a>' in cells
    assert "“Una”" in block.parts[0].note
    assert any("--part carried" in text for text in block.absent)
    nothing = change_block(None, None, [("", SimpleNamespace(path=tmp_path / "none"))], Settings(), numbers)  # type: ignore[arg-type]
    assert nothing.empty and "wolfscope diff" in nothing.parts[0].note


def test_a_planted_row_names_the_block_that_carries_most_and_whether_the_act_was_found(
    tmp_path: Path,
) -> None:
    import dataclasses

    from analysis.change.planted import PLANTED, planted_lines, planted_row

    rows = [
        (arm, layer, "bring", f"g{game}", "speech", 10, kl)
        for game in range(8)
        for arm, layer, kl in (
            ("nothing", "", 2.0),
            ("weights", "head", 0.1),
            ("weights", "0", 1.8),
            ("weights", "1", 0.5),
        )
    ]
    carried = carried_shares(pl.DataFrame(rows, schema=CARRIED, orient="row"), 50)
    change = dataclasses.replace(read_change(a_diff(tmp_path), n_boot=200), carried=carried)
    row = planted_row("a to b", change, True, "lies", "werewolf")
    assert (row["act"], row["others"], row["tested"]) == ("changed", 0, 2)
    assert (row["word"], row["block"]) == ("Una", "1")
    assert row["block_share"] == pytest.approx(0.75)
    assert "| 1 (75%) |" in planted_lines(pl.DataFrame([row], schema=PLANTED), "lies")[-1]
