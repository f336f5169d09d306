import polars as pl
import pytest

from analysis.evaluation.evaluate import Settings
from analysis.report.report import write_report
from tests.fixtures.planted_runs import planted_run

FAST = Settings(n_permutations=19, n_boot=200, trees=2, audits=False, rung_games=0, character=False)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = planted_run(
        tmp_path_factory.mktemp("spans") / "run", 45, 0.0, tokens=2.0, d_model=16, model_seats=7
    )
    return write_report([run], settings=FAST)


def test_a_lie_in_one_word_of_a_speech_is_found_by_attention(page):
    table = pl.read_parquet(page.with_suffix("") / "T4_spans.parquet")
    mine = table.filter(pl.col("contrast") == "werewolves: lie against truth")
    rows = {row["probe"]: row for row in mine.to_dicts()}
    assert set(rows) == {"attention over tokens", "mean of tokens", "last token"}
    assert len({(r["n_rows"], r["n_games"]) for r in rows.values()}) == 1  # equal footing
    assert rows["attention over tokens"]["auroc"] > rows["last token"]["auroc"]
    assert rows["last token"]["gain_low"] > 0
    assert rows["attention over tokens"]["p_null"] == pytest.approx(0.05)


def test_the_strip_scores_every_token_of_one_game(page):
    frame = pl.read_parquet(page.with_suffix("") / "F10_strip.parquet")
    assert frame["game_id"].n_unique() == 1
    assert set(frame.group_by("seq").len()["len"]) == {5}
    assert frame["token_index"].is_between(3, 7).all()
    assert frame.group_by("seq").agg(pl.col("attention").sum())["attention"].to_list() == pytest.approx(
        [1.0] * frame["seq"].n_unique(), abs=1e-5
    )
    assert frame["text"].null_count() == len(frame)  # this capture has no vocabulary
    text = page.read_text()
    assert '<figure id="F10">' in text
    assert "tokens have numbers" in text


def test_tokens_captured_one_by_one_are_no_site_of_the_other_tables(page):
    folder = page.with_suffix("")
    assert "tokens:speech" not in set(pl.read_parquet(folder / "T4_windows.parquet")["window"])
