"""The viewer's pages, in a real browser: what they show, to whom, and that nobody's words can do anything in them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from games.records import Decision
from games.seat_view.views import in_log
from harness.branch.branch import Choose, branch
from harness.errors import RunFolderError, WolfscopeError
from harness.replay.posteriors import posteriors_of
from harness.replay.replay import Replay, open_replay
from harness.run.folder import load_run
from harness.view import write_view
from harness.view.html import embedded, page
from tests.fixtures.browser import Page, browser
from tests.fixtures.view_runs import NASTY, nasty_run, scripted_run

pytestmark = pytest.mark.xdist_group("browser")
ASSETS = Path(__file__).resolve().parents[2] / "harness" / "view" / "assets"
HOSTILE = re.compile(r"<script>window|<img src=x onerror|<svg onload")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("view")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    path = scripted_run(folder / "run", games=5)
    replay = open_replay(path, "0")
    said = [r for r in replay.records if isinstance(r, Decision) and r.kind == "speech"]
    rows = [
        (replay.game_id, said[0].seq, said[0].seat, None, i, "deception", i / 5, word)
        for i, word in enumerate(("I ", "accuse ", "you", "."))
    ]
    rows += [
        (replay.game_id, s.seq, s.seat, (s.seat + 1) % 7, None, "wolf", 0.25 + 0.1 * k, None)
        for k, s in enumerate(said[:4])
    ]
    schema = {
        "game_id": pl.String, "seq": pl.Int32, "seat": pl.Int16, "subject": pl.Int16, "token_index": pl.Int32,
        "probe": pl.String, "score": pl.Float64, "token": pl.String,
    }  # fmt: skip
    (path / "derived").mkdir()
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(path / "derived" / "probe_scores.parquet")
    write_view(path, posteriors=posteriors_of(load_run(path)))
    return path


@pytest.fixture(scope="module")
def replay(run: Path) -> Replay:
    return open_replay(run, "0")


@pytest.fixture(scope="module")
def nasty(folder: Path) -> Path:
    path = nasty_run(folder / "nasty")
    write_view(path)
    return path


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture
def tab(chrome: Any) -> Iterator[Page]:
    opened = Page(chrome)
    yield opened
    opened.close()
    assert opened.complaints == []
    assert all(url.startswith(("file:", "about:", "data:")) for url in opened.requests)


def game_page(run: Path, number: str = "0") -> Path:
    return run / "view" / "games" / f"{open_replay(run, number).game_id}.html"


def shown_lines(page: Any) -> list[str]:
    """The lines of the timeline as a seat reads them, without marks of their own."""
    return page.eval_on_selector_all(
        ".timeline .pill, .timeline .said .text, .timeline .note .text, .timeline .event .text",
        "nodes => nodes.map(n => n.textContent)",
    )


# --- a seat sees what it saw ---


def test_seats_page_holds_exactly_the_lines_of_its_prompts(tab: Page, run: Path, replay: Replay) -> None:
    page = tab.open(game_page(run))
    for seat in (0, 3, 6):
        page.select_option("select[aria-label='see as']", str(seat))
        wanted = [
            line.removesuffix(".") if re.fullmatch(r"(day|night) \d+\.", line) else line
            for line in replay.lines(seat)
        ]
        assert shown_lines(page) == wanted


def test_seat_is_shown_no_truth_labels_and_no_other_roles(tab: Page, run: Path) -> None:
    page = tab.open(game_page(run), "#as=2")
    assert page.locator(".act, .timeline .role").count() == 0
    assert page.locator("aside.cast .seat small").all_inner_texts().count("villager") <= 1
    assert page.locator("table.matrix tbody tr").count() == 1
    assert not page.locator(".badge.truth").is_visible()


def test_moderator_sees_every_statement_with_its_label(tab: Page, run: Path, replay: Replay) -> None:
    page = tab.open(game_page(run))
    labels = [s.label for rows in replay.statements.values() for s in rows]
    assert page.locator(".act").count() == len(labels)
    for label, cls in (("lie", "lie"), ("honest mistake", "mistake"), ("truth", "truth")):
        assert page.locator(f".act.{cls}").count() == labels.count(label)


# --- moving through a game ---


def test_link_to_an_event_opens_it_as_a_seat(tab: Page, run: Path, replay: Replay) -> None:
    own = next(m.seq for m in replay.moments(1) if m.kind == "speech")
    seq = in_log(replay.records, 1, own)  # the page of the whole log goes by its numbers
    page = tab.open(game_page(run), f"#seq={seq}&as=player_1")
    chosen = page.locator(".entry.sel")
    assert chosen.get_attribute("data-seq") == str(seq)
    assert page.locator("aside.cast .seat[aria-pressed=true] .name").inner_text() == replay.seats[1].name


def test_keys_move_and_the_address_follows(tab: Page, run: Path) -> None:
    page = tab.open(game_page(run))
    page.keyboard.press("j")
    first = page.locator(".sel").get_attribute("data-seq")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.locator(".sel").get_attribute("data-seq") == first
    page.keyboard.press("]")
    assert "phase" in (page.locator(".sel").get_attribute("class") or "")
    page.keyboard.press("4")
    assert "as=3" in page.evaluate("location.hash")
    page.keyboard.press("0")
    assert "as=" not in page.evaluate("location.hash")


def test_matrix_moves_with_the_timeline(tab: Page, run: Path, replay: Replay) -> None:
    end = replay.records[-1].seq
    page = tab.open(game_page(run), f"#seq={end}")
    page.get_by_role("button", name="exact", exact=True).click()
    late = page.locator("table.matrix").inner_text()
    page.evaluate("location.hash = '#seq=9'")
    page.wait_for_function("document.querySelector('.where').textContent.startsWith('#9 ')")
    assert page.locator("table.matrix").inner_text() != late


def test_sources_stand_beside_each_other(tab: Page, run: Path) -> None:
    page = tab.open(game_page(run))
    names = page.locator("[aria-label=source] button").all_inner_texts()
    assert names == ["exact", "rules", "probe: wolf"]
    page.get_by_role("button", name="rules", exact=True).click()
    page.locator("table.matrix td button").first.click()
    assert page.locator("svg.chart path").count() >= 2


def test_words_are_tinted_by_a_probes_scores(tab: Page, run: Path) -> None:
    page = tab.open(game_page(run))
    page.select_option("select[aria-label='tint words by']", "deception")
    tokens = page.locator(".tinted .tok")
    assert "".join(tokens.all_inner_texts()) == "I accuse you."
    colours = tokens.evaluate_all("nodes => nodes.map(n => getComputedStyle(n).backgroundColor)")
    assert len(set(colours)) == 4


def test_fallbacks_and_rejected_replies_are_in_sight(tab: Page, nasty: Path) -> None:
    page = tab.open(game_page(nasty))
    assert page.locator(".badge.warn").first.is_visible()
    assert page.get_by_text("1 rejected").first.is_visible()


# --- untrusted words ---


def test_no_words_of_an_agent_run_or_become_markup(tab: Page, nasty: Path) -> None:
    for place in (game_page(nasty), nasty / "view" / "index.html"):
        page = tab.open(place)
        page.keyboard.press("r")
        for seat in ("", "0", "2"):
            if page.locator("select[aria-label='see as']").count():
                page.select_option("select[aria-label='see as']", seat)
        page.wait_for_timeout(200)
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, main script, main a[href^=javascript]").count() == 0


def test_hidden_and_reordering_characters_are_named(tab: Page, nasty: Path) -> None:
    page = tab.open(game_page(nasty))
    text = page.locator("body").inner_text()
    assert "\u202e" not in text and "\u200b" not in text and "\x1b" not in text
    assert "U+202E" in page.content()


def test_huge_speech_is_cut_until_asked_for(tab: Page, nasty: Path) -> None:
    page = tab.open(game_page(nasty))
    page.keyboard.press("r")
    button = page.locator("button.more").first
    assert "show all" in button.inner_text()
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    button.click()


def test_nothing_can_end_the_data_element() -> None:
    for text in NASTY:
        inside = embedded({"text": text})
        assert "<" not in inside and json.loads(inside) == {"text": text}


def test_pages_hold_no_hostile_markup(nasty: Path) -> None:
    for path in (nasty / "view").rglob("*.html"):
        assert not HOSTILE.search(path.read_text(encoding="utf-8"))


def test_no_sign_of_the_pages_asks_for_a_font_of_signs() -> None:
    """Letters, punctuation and arrows are in every font; symbols and emoji are boxes where no font has them."""
    written = "".join(path.read_text(encoding="utf-8") for path in sorted(ASSETS.iterdir()))
    codes = re.findall(r"\\u\{?([0-9a-fA-F]{4,5})|\\([0-9A-F]{4,5})\\b", written)
    signs = {*written, *(chr(int(js or css, 16)) for js, css in codes)}
    assert {hex(ord(sign)) for sign in signs if 0x2300 <= ord(sign) < 0x3000 or ord(sign) >= 0x1F000} == set()


def test_policy_forbids_the_network(tab: Page, run: Path) -> None:
    page = tab.open(game_page(run))
    refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    assert any("Content Security Policy" in text for text in tab.complaints)
    tab.complaints.clear()
    tab.requests.clear()
    assert "default-src 'none'" in page.content()


# --- index, phone, dark, portable ---


def test_index_filters_sorts_and_opens(tab: Page, run: Path) -> None:
    page = tab.open(run / "view" / "index.html")
    rows = page.locator("table.games tbody tr")
    assert rows.count() == 5
    page.get_by_role("button", name="lies").click()
    lies = [int(row.split("\t")[5]) for row in rows.all_inner_texts()]
    assert lies == sorted(lies, reverse=True)
    page.fill("input[type=search]", open_replay(run, "3").game_id)
    assert rows.count() == 1
    rows.first.locator("a").click()
    page.wait_for_selector("main.game")
    assert "game 3" in page.locator("header.top h1").inner_text()


def test_index_of_thousands_of_games_stays_quick(tab: Page, tmp_path: Path) -> None:
    n = 20_000
    keys = (
        "index id page factors winner days decisions lies mistakes fallbacks cast names status error".split()
    )
    row: dict[str, Any] = dict.fromkeys(keys, 3) | {
        "factors": "", "winner": "village", "cast": "a, b", "names": "Ada Ben", "status": "finished", "error": None,
    }  # fmt: skip
    columns = {key: [row[key]] * n for key in keys} | {
        "index": list(range(n)),
        "id": [f"{i:016x}" for i in range(n)],
    }
    head = dict.fromkeys(("name", "status", "created", "revision", "models", "what"), "x") | {"branch": None}
    path = tmp_path / "index.html"
    path.write_text(
        page("index", "big", {"run": head, "columns": columns, "effects": None}, None), encoding="utf-8"
    )
    opened = tab.open(path)
    assert opened.locator("table.games tbody tr").count() == 100
    spent = opened.evaluate(
        "() => { const box = document.querySelector('input[type=search]'), t = performance.now(); box.value = '4e1f';"
        " box.dispatchEvent(new Event('input')); return performance.now() - t; }"
    )
    assert opened.locator("table.games tbody tr").count() >= 1
    assert spent < 5000  # milliseconds; about 60 on an idle core


def test_phone_has_no_sideways_scrolling_and_a_drawer(chrome: Any, run: Path) -> None:
    phone = Page(chrome, width=390, height=844, has_touch=True)
    for place in (game_page(run), run / "view" / "index.html"):
        page = phone.open(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page = phone.open(game_page(run))
    assert not page.locator("table.matrix").is_visible()
    page.locator(".drawer-toggle").click()
    page.locator("table.matrix").wait_for(state="visible")
    phone.close()


def test_theme_follows_the_system_and_the_reader(chrome: Any, run: Path) -> None:
    dark = Page(chrome, color_scheme="dark")
    page = dark.open(game_page(run))
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    dark.close()


def test_portable_page_works_alone(tab: Page, run: Path, tmp_path: Path) -> None:
    index = write_view(run, tmp_path / "sent", games=["0"], portable=True)
    assert not (index.parent / "assets").exists()
    alone = tmp_path / "elsewhere.html"
    shutil.copy(next((index.parent / "games").glob("*.html")), alone)
    page = tab.open(alone)
    assert page.locator(".entry").count() > 20


def test_branch_is_shown_beside_its_parent(tab: Page, run: Path, replay: Replay, tmp_path: Path) -> None:
    ballot = next(r for r in replay.records if isinstance(r, Decision) and r.kind == "ballot")
    other = next(o for o in ballot.options if o != ballot.action.option)
    path = branch(run, "0", ballot.seq, Choose(other), 3, tmp_path / "branch")
    index = write_view(path)
    page = tab.open(index.parent / "games" / f"{load_run(path).game_ids[0]}.html")
    assert page.locator(".fork > section").count() == 2
    assert page.locator(".vote.changed").count() == 1
    assert replay.seats[ballot.seat].name in page.locator(".banner").inner_text()
    assert page.locator("details.past").count() == 1
    page = tab.open(index)
    assert page.locator("table.effects tbody tr").count() > 3


# --- what a user can get wrong ---


def test_unknown_game_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no game 'xyz'"):
        write_view(run, tmp_path / "v", games=["xyz"])


def test_table_of_scores_without_a_column_is_refused(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("view"))
    pl.DataFrame({"game_id": ["x"]}).write_parquet(copy / "derived" / "probe_scores.parquet")
    with pytest.raises(WolfscopeError, match="lacks the column 'seq'"):
        write_view(copy)
