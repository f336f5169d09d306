from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import polars as pl
import pytest

from analysis.evaluation.evaluate import Settings, verdict
from analysis.report.report import write_report
from analysis.stats.bootstrap import Interval
from analysis.stats.errors import AnalysisError
from tests.fixtures.planted_runs import planted_run

FAST = Settings(n_permutations=60, n_boot=400)


@pytest.fixture(scope="module")
def signal(tmp_path_factory):
    run = planted_run(tmp_path_factory.mktemp("signal") / "run", 70, 1.2, beliefs=True, untrained=True)
    return write_report([run], settings=FAST)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    run = planted_run(tmp_path_factory.mktemp("noise") / "run", 70, 0.0, seed=3)
    return write_report([run], settings=FAST)


def verdict_of(page, target="subject_is_werewolf"):
    frame = pl.read_parquet(page.with_suffix("") / "T2_verdicts.parquet")
    return frame.filter(pl.col("target") == target).row(0, named=True)


def test_a_planted_signal_is_supported(signal):
    assert verdict_of(signal)["verdict"] == "supported"
    assert ">supported</span>" in signal.read_text()


def test_a_supported_claim_says_where_no_observer_was_among_its_baselines(signal):
    scores = pl.read_parquet(signal.with_suffix("") / "T2_scores.parquet")
    names = scores.filter(target="subject_is_werewolf")["name"].to_list()
    observed = "fitted observer" in names or "scripted-policy posterior" in names
    answer = re.search(r"Another player is a werewolf</b>.*?</div>", signal.read_text(), re.DOTALL)
    assert answer is not None
    assert ("No observer that inverts the players' behaviour" in unescape(answer[0])) is not observed


def test_each_role_asked_about_is_held_against_observers_of_that_role(signal):
    scores = pl.read_parquet(signal.with_suffix("") / "T2_scores.parquet")
    for target in ("subject_is_werewolf", "subject_is_seer"):
        auroc = dict(scores.filter(target=target).select("name", "auroc").iter_rows())
        assert auroc["scripted-policy posterior"] > auroc["rules posterior"] + 0.1, target
        assert auroc["fitted observer"] > auroc["rules posterior"] + 0.05, target


def test_noise_is_not_beyond_baseline(noise):
    row = verdict_of(noise)
    assert row["verdict"] == "not beyond baseline"
    assert row["p_null"] > 0.01
    assert ">supported</span>" not in noise.read_text()


def test_the_detectable_increment_shrinks_with_games(signal, noise):
    assert 0.005 < verdict_of(noise)["detectable"] < 0.2


def test_runs_captured_differently_are_read_at_the_site_that_most_have(tmp_path):
    both = planted_run(tmp_path / "both", 16, 1.2, seed=5, sites=("mention", "belief_mention"))
    one = planted_run(tmp_path / "one", 4, 1.2, seed=6)
    page = write_report([both, one], settings=FAST, out=tmp_path / "auto.html")
    assert verdict_of(page)["n_games"] == 20
    named = write_report(
        [both, one], settings=replace(FAST, site="belief_mention"), out=tmp_path / "named.html"
    )
    assert verdict_of(named)["n_games"] == 16
    assert "1 of 2 runs have no rows at site belief_mention: they are left out" in named.read_text()


def test_few_games_are_underpowered_and_not_called_null(tmp_path):
    page = write_report([planted_run(tmp_path / "run", 8, 0.0, seed=4)], settings=FAST)
    assert ">underpowered</span>" in page.read_text()
    assert ">not beyond baseline</span>" not in page.read_text()


@pytest.mark.parametrize(
    ("increment", "p", "null_p", "n_games", "expected"),
    [
        (Interval(0.10, 0.06, 0.14, 0.001), 0.002, 0.002, 100, "supported"),
        (Interval(0.10, 0.06, 0.14, 0.001), 0.2, 0.002, 100, "underpowered"),  # does not survive Holm
        (
            Interval(0.10, 0.06, 0.14, 0.001),
            0.002,
            0.3,
            100,
            "underpowered",
        ),  # the best of many layers by chance
        (Interval(0.01, -0.02, 0.04, 0.5), 0.5, 0.002, 100, "not beyond baseline"),
        (Interval(-0.2, -0.3, -0.1, 0.001), 0.002, 0.002, 100, "not beyond baseline"),
        (Interval(0.03, -0.05, 0.11, 0.4), 0.4, 0.002, 100, "underpowered"),
        (Interval(0.10, 0.06, 0.14, 0.001), 0.002, 0.002, 10, "underpowered"),
    ],
)
def test_the_verdict_is_one_of_three(increment, p, null_p, n_games, expected):
    assert verdict(increment, p, null_p, n_games) == expected


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [
            value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset") and value
        ]


def test_the_page_needs_no_network_and_no_script(signal):
    page, text = Page(), signal.read_text()
    page.feed(text)
    assert signal.stat().st_size < 10_000_000
    assert not {"script", "iframe", "link", "object", "embed"} & set(page.tags)
    assert all(link.startswith("#") for link in page.links)
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_page_is_readable_in_dark_and_light(signal):
    text = signal.read_text()
    assert "prefers-color-scheme: dark" in text
    used = set(re.findall(r"var\((--[a-z-]+)\)", text))
    light, dark = text.split("prefers-color-scheme: dark")[:2]
    dark = dark.split("</style>")[0]
    assert all(f"{name}:" in light and f"{name}:" in dark for name in used)
    assert not re.search(r"#0102[0-9a-f]{2}", text)  # no marker colour left unreplaced


def test_every_figure_has_question_n_and_caption(signal):
    figures = re.findall(r'<figure id="([^"]+)">(.*?)</figure>', signal.read_text(), flags=re.DOTALL)
    assert {"F1", "F2", "F3"} <= {name for name, _ in figures}
    for _, body in figures:
        assert re.search(r'class="question">[^<]{10,}', body)
        assert "<svg" in body
        assert re.search(r"n = [\d,]+|Games:|From", body)


def test_the_numbers_lie_beside_the_page(signal):
    folder = signal.with_suffix("")
    scores = pl.read_parquet(folder / "T2_scores.parquet")
    mine = scores.filter(pl.col("target") == "subject_is_werewolf")
    expected = {"probe", "prior", "seat", "name", "turn", "length", "public events", "TF-IDF", "shuffled roles",
                "embedding layer", "untrained model", "stated belief", "rules posterior",
                "everything public", "scripted-policy posterior", "fitted observer"}  # fmt: skip
    assert set(mine["name"]) == expected
    for name in (
        "F1_layers",
        "F2_sites",
        "F3_over_time",
        "F9_learning",
        "T3_leakage",
        "T5_selectivity",
        "T1_agents",
    ):
        assert len(pl.read_parquet(folder / f"{name}.parquet"))


def test_what_is_absent_is_named(noise):
    text = noise.read_text()
    assert "stated belief: none was asked for" in text
    assert "untrained model: no second capture" in text


def test_a_run_without_activations_still_gets_a_report(tmp_path):
    page = write_report([planted_run(tmp_path / "run", 6, 0.0, capture=False)], settings=FAST)
    text = page.read_text()
    assert "holds no activations" in text
    assert ">not tested</span>" in text
    assert "Not drawn" in text


def test_a_run_without_any_model_still_gets_a_report(tmp_path):
    page = write_report([planted_run(tmp_path / "run", 6, 0.0, capture=False, model_seats=0)], settings=FAST)
    assert "No seat was played by a model" in page.read_text()


def test_two_runs_are_analysed_together(tmp_path):
    runs = [planted_run(tmp_path / f"run-{i}", 12, 1.0, seed=i) for i in range(2)]
    page = write_report(runs, out=tmp_path / "both.html", settings=FAST)
    assert verdict_of(page)["n_games"] == 24


def test_an_existing_report_is_not_overwritten_silently(signal):
    with pytest.raises(AnalysisError, match="exists"):
        write_report([signal.parent], settings=FAST)


def test_no_run_is_an_error():
    with pytest.raises(AnalysisError, match="no run"):
        write_report([])
