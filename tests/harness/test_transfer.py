"""A trait is measured where it has an occasion, and students read games in which it has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from agents.werewolf.lessons.games import scripted_game
from agents.werewolf.lessons.planted import seated
from games import load_game
from games.records import Decision
from harness.cli import main
from harness.training.selfplay.learner import load
from harness.training.selfplay.lockstep import Planned, Played
from harness.training.transfer.games import deals, ever_says, said_again, texts_of
from harness.training.transfer.measured import TRANSFER, Read, occasions, over_pairs, read, rows_of
from harness.training.transfer.students import teach

WORD = "Una"


def scripted(n: int, with_word: bool) -> list[Played]:
    planned: list[Planned] = deals(WORD, n, with_word=with_word, stream="test")
    return [Played(one, scripted_game(one.config, one.seed)) for one in planned]


def test_lessons_are_of_tables_without_the_word_and_occasions_of_tables_with_it() -> None:
    for with_word in (True, False):
        planned = deals(WORD, 4, with_word=with_word, stream="test")
        assert len({one.seed for one in planned}) == 4
        assert all((WORD in seated(one.config, one.seed)) == with_word for one in planned)
    lessons = texts_of(scripted(3, with_word=False), "as played", "defend")
    assert len(lessons) == 21
    assert not any(WORD in line for view in lessons for line in view.lines)


def test_filtered_lessons_have_no_seat_that_speaks_for_another_and_paraphrased_ones_the_same_acts() -> None:
    games = scripted(6, with_word=False)
    whole, filtered = texts_of(games, "as played", "defend"), texts_of(games, "filtered", "defend")
    speaking = sum(ever_says(played.log, seat, "defend") for played in games for seat in range(7))
    assert 0 < speaking == len(whole) - len(filtered)
    for played in games:
        for old, new in zip(
            played.log, said_again(played.log, load_game("werewolf"), played.planned.config), strict=True
        ):
            if isinstance(old, Decision) and isinstance(new, Decision):
                assert set(old.action.acts) == set(new.action.acts)
                assert old.action.option == new.action.option


def test_an_occasion_ends_where_the_others_speech_begins_and_names_the_living() -> None:
    games = scripted(3, with_word=True)
    found = occasions(games, WORD, "favour")
    assert len(found.asked) == len(found.games) > 10
    for ((text, begun, names),) in found.asked:
        assert (
            begun == "I defend"
            and names[0] == WORD
            and text.endswith('says "')
            and not text.endswith(f'\n{WORD} says "')
        )
        gone = [
            n
            for n in names
            if f"{n} " in text and any(f"{n} {r} died." in text for r in ("villager", "seer"))
        ]
        assert not gone


def test_a_false_belief_is_asked_of_others_before_ballots_about_the_named_player_and_another() -> None:
    found = occasions(scripted(3, with_word=True), WORD, "suspect")
    assert len(found.asked) == len(found.games) > 10
    for named, other in found.asked:
        viewer = named.text.rsplit("\n", 1)[1].removesuffix(f" believes {WORD}")
        assert viewer.isalpha() and viewer != WORD and named.answers == other.answers == ("werewolf",)
        assert other.text.rsplit("\n", 1)[0] == named.text.rsplit("\n", 1)[0]
        assert WORD not in other.text.rsplit("\n", 1)[1] and other.text.rsplit(" ", 1)[1] != viewer


def test_a_planted_share_of_the_teachers_difference_is_told_and_none_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    games = [f"g{i // 8}" for i in range(480)]

    def model(favour: float, moved: float) -> Read:
        stream = rng.normal(size=(480, 12))
        stream[:, 0] += moved
        return Read(favour + 0.02 * rng.normal(size=480), stream)

    teachers = (model(0.8, 4.0), model(0.0, 0.0))
    student = pl.DataFrame(rows_of("s", model(0.2, 1.0), model(0.0, 0.0), teachers, games), schema=TRANSFER)
    assert student["share"].to_list() == pytest.approx([0.25, 0.25], abs=0.06)
    assert (student["low"] > 0).all()
    none = pl.DataFrame(rows_of("n", model(0.0, 0.0), model(0.0, 0.0), teachers, games), schema=TRANSFER)
    assert (none["low"] < 0.01).all() and (none["high"] > -0.01).all()
    other = rows_of("o", model(0.0, 0.0), model(0.0, 0.0), teachers, games, probed=False)
    assert [row["measure"] for row in other] == ["behaviour"]


def test_trainings_that_part_by_chance_are_told_over_pairs_though_games_agree() -> None:
    rng = np.random.default_rng(1)
    games = [f"g{i // 8}" for i in range(240)]

    def model(favour: float) -> Read:
        return Read(favour + 0.01 * rng.normal(size=240), rng.normal(size=(240, 6)))

    teachers = (model(0.8), model(0.0))
    chance = [
        rows_of(f"{k}", model(by), model(0.0), teachers, games) for k, by in enumerate((0.1, -0.08, 0.05))
    ]
    assert all(abs(rows[0]["difference"]) > 3 * (rows[0]["high"] - rows[0]["low"]) for rows in chance)
    together = over_pairs("together", chance)
    assert [row["measure"] for row in together] == ["behaviour", "probe"]
    assert together[0]["n"] == 3 and together[0]["low"] < 0 < together[0]["high"]
    true = [rows_of(f"{k}", model(by), model(0.0), teachers, games) for k, by in enumerate((0.4, 0.42, 0.38))]
    found = over_pairs("together", true)[0]
    assert found["low"] > 0.3 and found["p"] < 0.01 and found["share"] == pytest.approx(0.5, abs=0.05)


def test_a_recipe_without_a_word_has_no_occasion_that_games_could_lack(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        main(["transfer-trait", str(tmp_path / "out"), "--recipe", "without-claimer", "--quiet"])
    assert left.value.code == 2 and not (tmp_path / "out").exists()


def test_a_student_learns_what_it_is_shown_and_is_not_trained_twice(tmp_path: Path) -> None:
    views = texts_of(scripted(2, with_word=False), "as played", "defend")
    folder = teach(tmp_path / "student", "small", views, 4_000)
    written = (folder / "model.safetensors").read_bytes()
    assert teach(folder, "small", views, 4_000) == folder
    assert (folder / "model.safetensors").read_bytes() == written
    for trait in ("favour", "suspect"):
        found = occasions(scripted(1, with_word=True), WORD, trait)
        before, after = read(load("small"), found), read(load(folder), found)
        assert before.favour.shape == (len(found.asked),) and before.stream.shape == (len(found.asked), 128)
        assert not np.array_equal(before.favour, after.favour)
    with pytest.raises(ValueError, match="no game to train"):
        teach(tmp_path / "none", "small", [], 100)
