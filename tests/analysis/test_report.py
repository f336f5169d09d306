from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import polars as pl
import pytest

from analysis.data.frames import Logs
from analysis.evaluation.evaluate import Settings
from analysis.evaluation.prepare import prepare
from analysis.report import figures
from analysis.report.report import result_lines, write_report
from analysis.stats.errors import AnalysisError
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run

FAST = Settings(
    n_permutations=60, n_boot=200, trees=2, rung_games=20
)  # p of 1 in 61 survives Holm over three
BARE = replace(FAST, audits=False, rung_games=0, character=False)


@pytest.fixture(scope="module")
def signal(tmp_path_factory):
    run = planted_run(tmp_path_factory.mktemp("signal") / "run", 40, 1.2, beliefs=True, untrained=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "CHECKED", True)
        return write_report([run], settings=FAST)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    run = planted_run(tmp_path_factory.mktemp("noise") / "run", 40, 0.0, seed=3)
    return write_report([run], settings=BARE)


@pytest.fixture(scope="module")
def two_presets(tmp_path_factory):
    return planted_run(tmp_path_factory.mktemp("by") / "run", 20, 1.2, seed=8)


def rungs_in(page, target="subject_is_werewolf"):
    frame = pl.read_parquet(page.with_suffix("") / "S1_rungs.parquet")
    return {r["rung"]: r for r in frame.filter(target=target).to_dicts()}


def answer_in(page):
    return " ".join(result_lines(page))


def test_a_planted_answer_is_found_beyond_the_surface_and_not_called_an_inference(signal):
    rungs = rungs_in(signal)
    assert [rungs[n]["verdict"] for n in (1, 2)] == ["yes", "yes"]
    assert rungs[3]["verdict"] != "yes"
    assert answer_in(signal).startswith("In part: more can be read of who is a werewolf")


def test_each_role_asked_about_is_held_against_observers_of_that_role(signal):
    scores = pl.read_parquet(signal.with_suffix("") / "T2_scores.parquet")
    for target in ("subject_is_werewolf", "subject_is_seer"):
        auroc = dict(scores.filter(target=target).select("name", "auroc").iter_rows())
        assert auroc["scripted-policy posterior"] > auroc["rules posterior"] + 0.1, target
        assert auroc["fitted observer"] > auroc["rules posterior"] + 0.05, target


def test_noise_gets_other_words_than_a_signal(noise):
    rungs = rungs_in(noise)
    assert rungs[1]["verdict"] in ("no", "unclear")
    assert rungs[2]["verdict"] in ("no", "unclear")
    assert answer_in(noise).startswith(("Nothing that can be claimed", "Not settled"))


def test_few_games_give_no_verdict(tmp_path):
    page = write_report([planted_run(tmp_path / "run", 8, 0.0, seed=4)], settings=FAST)
    assert {r["verdict"] for r in rungs_in(page).values()} == {"not tested"}
    assert "play more games" in answer_in(page)


def test_runs_are_read_together_at_the_site_that_most_of_them_have(tmp_path):
    both = planted_run(tmp_path / "both", 16, 1.2, seed=5, sites=("mention", "belief_mention"))
    one = planted_run(tmp_path / "one", 4, 1.2, seed=6)
    together = prepare(Logs([("1:", load_run(both)), ("2:", load_run(one))]), BARE).targets
    assert {target.n_games for target in together if target.name == "subject_is_werewolf"} == {20}
    named = write_report(
        [both, one], settings=replace(BARE, site="belief_mention"), out=tmp_path / "named.html"
    )
    assert rungs_in(named)[1]["n_games"] == 16
    assert "1 of 2 runs have no rows at site belief_mention: they are left out" in named.read_text()


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


def test_every_figure_and_table_has_a_question_an_n_and_an_identifier_used_once(signal):
    text = signal.read_text()
    found = re.findall(r'<figure id="([^"]+)">(.*?)</figure>', text, flags=re.DOTALL)
    ids = re.findall(r'\bid="([^"]+)"', re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))
    assert len(ids) == len(set(ids))
    assert {"S1", "F1", "F2", "F3", "F12", "R3", "R4", "T3", "T4", "T5"} <= {name for name, _ in found}
    for name, body in found:
        if "<svg" not in body:
            continue
        assert re.search(r'class="question">[^<]{10,}', body), name
        assert re.search(r"n = [\d,]+|Games:|games", body), name


def test_figures_lie_beside_the_page_as_svg(signal):
    drawn = {path.stem for path in (signal.with_suffix("") / "figures").glob("*.svg")}
    shown = set(
        re.findall(
            r'<figure id="([^"]+)"><div class="question">[^<]*</div><div class="[^"]*"><svg',
            signal.read_text(),
        )
    )
    assert shown
    assert drawn == shown
    for path in (signal.with_suffix("") / "figures").glob("*.svg"):
        assert ET.fromstring(path.read_text()).tag.endswith("svg")


def test_the_page_refuses_all_content_from_elsewhere_and_says_how_it_was_made(signal):
    text = signal.read_text()
    assert "default-src 'none'" in unescape(text)
    foot = text[text.index('id="foot"') :]
    for word in ("written", "games played with", "configuration", "models", "planted@0000", "command"):
        assert word in foot


def test_what_was_not_captured_stands_in_one_line_and_has_no_section(noise):
    text = noise.read_text()
    assert "Not in this report" in text
    assert text.count("stated belief: none was asked for") >= 1
    assert 'id="training"' not in text


def test_by_a_factor_the_rungs_stand_level_by_level(two_presets):
    page = write_report([two_presets], out=two_presets / "by.html", settings=BARE, by="agent")
    levels = pl.read_parquet(page.with_suffix("") / "S2_levels.parquet")
    assert set(levels["level"]) == {"small"}
    said = []
    with pytest.raises(
        AnalysisError, match=r"'weather' is no factor .*; there are: agent, model, run, preset, lexicon"
    ):
        write_report(
            [two_presets], out=two_presets / "other.html", settings=BARE, by="weather", say=said.append
        )
    assert said == []  # nothing was read or fitted for it


def test_the_numbers_lie_beside_the_page(signal):
    folder = signal.with_suffix("")
    scores = pl.read_parquet(folder / "T2_scores.parquet")
    mine = scores.filter(pl.col("target") == "subject_is_werewolf")
    expected = {"probe", "seat", "name", "turn", "length", "public events", "public events, boosted", "TF-IDF",
                "shuffled roles", "embedding layer", "untrained model", "stated belief", "rules posterior",
                "all confounds together", "confounds and probe", "scripted-policy posterior",
                "fitted observer"}  # fmt: skip
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
    assert {r["verdict"] for r in rungs_in(page).values()} == {"not tested"}


def test_a_run_without_any_model_still_gets_a_report(tmp_path):
    page = write_report([planted_run(tmp_path / "run", 6, 0.0, capture=False, model_seats=0)], settings=FAST)
    assert "No seat was played by a model" in page.read_text()


def test_an_existing_report_is_not_overwritten_silently(signal):
    with pytest.raises(AnalysisError, match="exists"):
        write_report([signal.parent], settings=FAST)


def test_no_run_is_an_error():
    with pytest.raises(AnalysisError, match="no run"):
        write_report([])
