"""Every file that is made from a run says what it was made from, and is said to be stale where that has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis.evaluation.scores import INPUTS as SCORED
from analysis.evaluation.scores import SCHEMA
from harness.check.check import check_run
from harness.cli import main
from harness.play.judge import INPUTS as JUDGED
from harness.run.derived import KEY, REMEDY, inputs_in, inputs_of, mark_stale, stale, write_page, write_table
from tests.fixtures.local_runs import play_run, scripted


def call(*words: object) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


@pytest.fixture
def derived(tmp_path: Path) -> Path:
    """A run with one file of every kind."""
    path = play_run(scripted(2), tmp_path / "run")
    assert call("ratings", path) == call("behaviour", path) == 0
    write_table(path / "derived" / "judge.parquet", pl.DataFrame({"a": [1]}), inputs_of([path], JUDGED))
    write_table(
        path / "derived" / "probe_scores.parquet", pl.DataFrame(schema=SCHEMA), inputs_of([path], SCORED)
    )
    for name in REMEDY:  # of verbs that need models
        home = path / ("features/mention-0/batchtopk" if REMEDY[name].startswith("features") else "derived")
        if name.endswith(".parquet") and not (home / name).is_file():
            write_table(home / name, pl.DataFrame({"a": [1]}), inputs_of([path], ("*.parquet",)))
    assert call("view", path, "--posterior", "no") == 0
    page = "<!doctype html><html><head></head><body class='x'><p>a report</p></body></html>"
    (path / "report").mkdir()
    (path / "report" / "answer.txt").write_text("an answer")
    write_page(path / "report.html", page, inputs_of([path]), [path / "report" / "answer.txt"])
    return path


def test_files_of_every_kind_carry_the_digests_of_their_inputs(derived):
    made = {
        p
        for place in ("report.html", "view/index.html", "derived/*.parquet", "features/*/*/*.parquet")
        for p in derived.glob(place)
    }
    assert {p.name for p in made} == set(REMEDY)
    for path in made:
        told = inputs_in(path)
        assert told is not None and any(name.endswith(".parquet") for name in told.digests), path
    assert list(stale(derived)) == []


def test_run_that_grows_makes_every_derived_file_stale_and_marks_pages(derived, capsys):
    play_run(scripted(3), derived)
    assert {one.path.name for one in stale(derived)} == set(REMEDY)
    for page in (derived / "report.html", derived / "view" / "index.html"):
        assert page.read_text().count(f'id="{"wolfscope-stale"}"') == 1
    assert call("check", derived) == 0
    said = capsys.readouterr().out
    assert "derived/ratings.parquet is stale: games.parquet, seats.parquet changed since it was made" in said
    assert "wolfscope ratings makes it again" in said
    assert said.splitlines()[-1] == f"sound: nothing is wrong; {len(REMEDY)} derived files are stale"
    assert check_run(derived) == []


def test_derived_file_made_again_is_fresh(derived):
    play_run(scripted(3), derived)
    call("ratings", derived)
    call("view", derived, "--posterior", "no")
    left = {one.path.name for one in stale(derived)}
    assert not left & {"ratings.parquet", "head_to_head.parquet", "index.html"}
    assert "wolfscope-stale" not in (derived / "view" / "index.html").read_text()


def test_report_is_stale_where_an_input_came_that_was_not_there(derived):
    (derived / "derived" / "judge.parquet").unlink()
    page = (derived / "report.html").read_text()
    assert KEY in page
    changed = {one.path.name: one.changed for one in stale(derived)}
    assert changed == {"report.html": ("derived/judge.parquet",)}


def test_file_of_several_runs_is_stale_where_any_of_them_changed(derived, tmp_path):
    other = play_run(scripted(1, run={"seed": 9}), tmp_path / "other")
    call("ratings", derived, other)
    assert [one for one in stale(derived) if one.path.name == "ratings.parquet"] == []
    play_run(scripted(2, run={"seed": 9}), other)
    (found,) = [one for one in stale(derived) if one.path.name == "ratings.parquet"]
    assert found.changed == ("../other/games.parquet", "../other/seats.parquet")


def test_mark_is_written_once_and_stays_out_of_fresh_pages(derived):
    assert mark_stale(derived) == []
    play_run(scripted(3), derived)
    mark_stale(derived)
    mark_stale(derived)
    assert (derived / "report.html").read_text().count("<p id=") == 1


def test_files_of_older_versions_say_nothing(derived):
    pl.DataFrame({"a": [1]}).write_parquet(derived / "derived" / "ratings.parquet")
    play_run(scripted(3), derived)
    assert "ratings.parquet" not in {one.path.name for one in stale(derived)}


@pytest.mark.parametrize(
    "name",
    ["report.html", "report/answer.txt", "view/index.html", "view/assets/game.js", "derived/judge.parquet",
     "derived/probe_scores.parquet", "derived/ratings.parquet", "derived/behaviour.parquet"],
)  # fmt: skip
def test_derived_file_that_was_edited_is_found_and_made_again_by_its_verb(derived, name):
    assert check_run(derived) == []
    file = derived / name
    data = bytearray(file.read_bytes())
    data[-min(20, len(data))] ^= 1
    file.write_bytes(data)
    mark_stale(derived)  # does not make it right
    (found,) = check_run(derived)
    assert found.where == name
    assert "makes it again" in found.what or name.endswith("judge.parquet")


def test_game_page_that_was_edited_stays_found_when_another_game_s_page_is_written_anew(derived):
    one, other = sorted((derived / "view" / "games").glob("*.html"))
    one.write_text(one.read_text().replace("</body>", "<p>won by nobody</p></body>"))
    call("view", derived, "--game", other.stem, "--posterior", "no")
    (found,) = check_run(derived)
    assert found.where == f"view/games/{one.name}" and "wolfscope view makes it again" in found.what
    call("view", derived, "--posterior", "no")
    assert check_run(derived) == []


@pytest.mark.parametrize("verb", ["view", "report"])
@pytest.mark.parametrize("junk", ["bytes", "columns", "types"])
def test_derived_tables_of_strangers_are_refused_by_name_and_with_the_remedy(derived, verb, junk, capsys):
    name, made = {"view": ("probe_scores", "score"), "report": ("judge", "judge")}[verb]
    path = derived / "derived" / f"{name}.parquet"
    schema = (
        SCHEMA
        if verb == "view"
        else {"game_id": pl.String, "seq": pl.Int32, "judge": pl.String, "p_lie": pl.Float64}
    )
    if junk == "bytes":
        path.write_bytes(b"PAR1junkPAR1")
    else:
        wrong = ["game_id"] if junk == "columns" else list(schema)
        pl.DataFrame({column: ["<script>"] for column in wrong}).write_parquet(path)
    for page in derived.glob("report*.html"):
        page.unlink()
    assert call(verb, derived) != 0
    told = capsys.readouterr()
    said = told.out + told.err
    assert path.name in said
    assert "a fault of Wolfscope" not in said
    assert f"wolfscope {made} makes it again" in said
