"""The table of an experiment finds what was put there, finds nothing where nothing was, and says which is which."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from analysis.effects.outcomes import experiments_of, read_experiment
from analysis.effects.table import between_arms, effect_table, random_effects, settings_forest, used_in
from analysis.report.block import Block
from analysis.report.experiment import write_effects
from analysis.report.page import Numbers
from analysis.report.sections.causal import causal_words, read_experiments
from analysis.report.sections.effects import effects_block
from analysis.stats.errors import AnalysisError
from tests.fixtures.made_experiments import made_experiment


def table_of(folder, n_boot=400):
    return effect_table(read_experiment(folder), n_boot)


def row(table, arm="push", outcome="p_subject", role="all"):
    found = table.filter(pl.col("arm") == arm, pl.col("outcome") == outcome, pl.col("subject_role") == role)
    assert len(found) == 1
    return found.row(0, named=True)


def test_an_effect_that_was_put_there_is_found_with_its_size(tmp_path):
    found = row(table_of(made_experiment(tmp_path / "e", effect=0.1, random_effect=0.02)))
    assert found["verdict"] == "used"
    assert found["effect"] == pytest.approx(0.1, abs=0.02)
    assert found["low"] < 0.1 < found["high"]
    assert (found["rank"], found["n_random"], found["against"]) == (1, 20, "random directions")
    assert (found["n_games"], found["n_moments"]) == (40, 80)


def test_what_any_push_of_this_size_does_is_not_the_directions_own(tmp_path):
    found = row(table_of(made_experiment(tmp_path / "e", effect=0.04, random_effect=0.1)))
    assert found["rank"] > 1
    assert found["verdict"] != "used"


def test_the_rank_is_by_distance_from_what_random_directions_do_on_average(tmp_path):
    """Every random direction moves the outcome: to move it as they do is nothing, to leave it alone stands out."""
    folders = [
        made_experiment(tmp_path / str(effect), effect=effect, common=0.1, random_effect=0.01, noise=0.0)
        for effect in (0.1, 0.0)
    ]
    with_them, apart = (row(table_of(folder))["rank"] for folder in folders)
    assert with_them > 3
    assert apart == 1


def test_few_games_are_called_underpowered_and_many_a_finding(tmp_path):
    few = row(table_of(made_experiment(tmp_path / "few", n_games=6, noise=0.15)))
    many = row(table_of(made_experiment(tmp_path / "many", n_games=60)))
    assert (few["verdict"], many["verdict"]) == ("underpowered", "not beyond controls")
    assert few["findable"] > 0.05 > many["findable"]


def test_nothing_is_found_more_often_than_the_level_says(tmp_path):
    found = [
        row(table_of(made_experiment(tmp_path / str(i), seed=i, n_games=20, n_random=0, noise=0.05), 200))
        for i in range(20)
    ]
    assert sum(f["verdict"] == "used" for f in found) <= 3
    assert sum(not f["low"] <= 0 <= f["high"] for f in found) <= 4  # 5% of 20, and chance


def test_games_not_moments_are_what_repeats(tmp_path):
    """Ten moments of a game that share its deviation say little more than two."""
    two = row(table_of(made_experiment(tmp_path / "two", n_games=12, per_game=2, noise=0.1)))
    ten = row(table_of(made_experiment(tmp_path / "ten", n_games=12, per_game=10, noise=0.1)))
    assert (ten["high"] - ten["low"]) > 0.6 * (two["high"] - two["low"])


def test_effects_stand_by_role_of_the_subject_and_never_by_name(tmp_path):
    table = table_of(made_experiment(tmp_path / "e", effect=0.1))
    assert set(table["subject_role"]) == {"all", "seer", "werewolf"}
    assert row(table, role="seer")["n_moments"] == 40


def test_a_patch_is_counted_towards_the_donors_belief(tmp_path):
    found = row(table_of(made_experiment(tmp_path / "e", effect=0.1, patch=True, noise=0.0)))
    assert found["effect"] == pytest.approx(0.1, abs=0.02)


def test_legal_mass_and_what_happens_to_the_other_options_stand_beside(tmp_path):
    table = table_of(made_experiment(tmp_path / "e", effect=0.1))
    assert row(table, outcome="legal_mass")["before"] == pytest.approx(0.99, abs=1e-6)
    assert row(table, outcome="others")["effect"] == pytest.approx(
        0.0, abs=1e-9
    )  # they share alike what is left
    assert row(table, outcome="moved")["effect"] == pytest.approx(0.1, abs=0.03)


def test_what_follows_is_counted_in_continuations(tmp_path):
    folder = made_experiment(tmp_path / "e", effect=0.1, n_games=12)
    measured = pl.read_parquet(folder / "outcomes.parquet").select("moment", "arm")
    follows = measured.join(pl.DataFrame({"k": [0, 1, 2]}), how="cross").with_columns(
        option=pl.lit(1, pl.Int16), exiled=pl.lit(0.0), votes=pl.lit(0.0), lies=pl.lit(0.0),
        won=(pl.col("arm") == "push").cast(pl.Float64),
    )  # fmt: skip
    follows.write_parquet(folder / "futures.parquet")
    table = table_of(folder)
    won = row(table, outcome="won")
    assert won["effect"] == 1.0
    assert won["n_continuations"] == 3 * won["n_moments"]
    assert row(table)["n_continuations"] is None
    assert f"{won['n_continuations']:,} continuations" in write_effects(folder)[0].read_text()


def test_the_positive_control_of_a_direction_is_said_beside_it(tmp_path):
    folder = made_experiment(tmp_path / "e", effect=0.0, n_games=12)
    assert not any("Positive control" in line for line in write_effects(folder)[1])  # nothing was asked
    rows = pl.read_parquet(folder / "outcomes.parquet")
    for moved, says in ((0.3, ": it holds."), (0.0, ": it does not hold, so that a choice stays the same")):
        stated = pl.when(pl.col("arm") == "push").then(0.5 + moved).otherwise(0.5)
        rows.with_columns(seats=pl.lit([1], pl.List(pl.Int16)), beliefs=pl.concat_list(stated)).write_parquet(
            folder / "outcomes.parquet"
        )
        (line,) = [line for line in write_effects(folder)[1] if "Positive control" in line]
        assert f"under push the stated P(subject is a werewolf) goes from 0.500 by {moved:+.3f}" in line
        assert f"beyond random directions by {moved:+.3f}" in line and says in line


def test_settings_are_pooled_and_another_setting_is_predicted_more_widely(tmp_path):
    folder = made_experiment(tmp_path / "e", effect=0.1, groups=("a", "b", "c"), n_games=45)
    forest = settings_forest(read_experiment(folder), "push", "p_subject", 200)
    assert forest["setting"].to_list() == ["a", "b", "c", "all settings", "another setting (prediction)"]
    pooled, wide = forest.row(3, named=True), forest.row(4, named=True)
    assert pooled["effect"] == pytest.approx(0.1, abs=0.02)
    assert wide["low"] < pooled["low"] < pooled["high"] < wide["high"]
    assert settings_forest(read_experiment(made_experiment(tmp_path / "one")), "push", "p_subject").is_empty()


def test_a_forest_over_settings_is_drawn_with_where_another_setting_is_expected(tmp_path):
    folder = made_experiment(tmp_path / "e", effect=0.1, groups=("a", "b", "c"), n_games=45)
    page, _ = write_effects(folder)
    (drawn,) = folder.glob("F8-settings-*.svg")
    assert "another setting (prediction)" in drawn.read_text()
    assert "Does push do the same in every setting?" in page.read_text()


def test_random_effects_agree_with_a_worked_example():
    # equal errors: the mean is plain, the variance between is that of the values minus that of the errors
    values, errors = [0.0, 0.2, 0.4, 0.6], [0.1] * 4
    mean, error, tau2 = random_effects(values, errors)
    assert mean == pytest.approx(0.3)
    assert tau2 == pytest.approx(np.var(values, ddof=1) - 0.01)
    assert error == pytest.approx(np.sqrt((tau2 + 0.01) / 4))


def test_the_page_says_what_the_table_says(tmp_path):
    folder = made_experiment(tmp_path / "e", effect=0.1, doses=(0.25, 0.5))
    page, said = write_effects(folder)
    text = page.read_text()
    table = pl.read_parquet(folder / "effects.parquet")
    assert any(
        re.match(r"push: used; the probability of choosing the subject goes from 0\.3", line) for line in said
    )
    assert "Stamped: layer 3 is another one." in text
    assert "Does a stronger push do more" in text
    drawn = (folder / "F8-made.svg").read_text()
    assert "--blue:#" in drawn  # alone it has no page to take its colours from
    assert 'xmlns="http://www.w3.org/2000/svg"' in drawn
    effects = [row(table, arm)["effect"] for arm in ("push@0.25", "push@0.5", "push")]
    assert effects == sorted(effects)
    assert f"{effects[-1]:+.3f}" in text


def test_what_an_experiment_found_stands_in_its_section_and_not_among_what_is_absent(tmp_path):
    made_experiment(tmp_path / "experiment-made", effect=0.1, doses=(0.25, 0.5))
    block = Block("used", "Is it used?")
    block.take(effects_block([], read_experiments([tmp_path]), Numbers()))
    assert any(part.note.startswith("push: used") for part in block.parts)
    assert "Stamped: layer 3 is another one." in [part.note for part in block.parts]
    assert not any("push" in text or "Stamped" in text for text in block.absent)
    shown = [part for part in block.parts if not part.fold]
    assert [part.table is not None or part.figure is not None for part in shown][-2:] == [True, True]
    assert shown[0].note == "made. Is it used?"
    assert len(block.parts) > len(shown)  # strengths and roles are closed


def test_arms_that_change_what_is_said_are_set_against_each_other_moment_by_moment():
    """Both move it by .1 on average, in unlike moments; one moves it further by .02 in each."""
    rng = np.random.default_rng(0)
    base = rng.normal(0.1, 0.1, 40)
    rows = [
        {"moment": m, "game": f"g{m // 2}", "arm": arm, "outcome": "p_subject", "difference": base[m] + more}
        for m in range(40)
        for arm, more in (("trusted", 0.02), ("suspected", 0.0), ("push", 0.5))
    ]
    arms = [{"of": "trusted", "kind": "utterance"}, {"of": "suspected", "kind": "utterance"},
            {"of": "push", "kind": "direction"}]  # fmt: skip
    made = SimpleNamespace(
        design={"test": {"outcome": "p_subject"}}, arms=arms, rows=pl.DataFrame(rows),
        family=["trusted", "suspected", "push"],
    )  # fmt: skip
    ((one, other, gap, n),) = between_arms(made, 200)
    assert (one, other, n) == ("trusted", "suspected", 40)
    assert gap.value == pytest.approx(0.02)
    assert gap.low == pytest.approx(gap.high)


def test_experiments_beside_a_run_are_read_as_the_rung_used(tmp_path):
    made_experiment(tmp_path / "experiment-made", effect=0.1)
    (path,) = experiments_of(tmp_path)
    (found,) = used_in(read_experiment(path), 200)
    assert (found.arm, found.verdict, found.experiment) == ("push", "used", "made")
    assert found.contrast.low < found.contrast.value < found.contrast.high
    said = causal_words([found])
    assert found.change in said
    assert "its direction added" in said
    assert "by less than" not in said
    small = causal_words([found._replace(smallest=2 * found.contrast.high)])
    assert "changes what it does, by less than the" in small
    assert experiments_of(tmp_path / "experiment-made") == []
    fewer = found._replace(experiment="other", verdict="underpowered", n_games=3)
    said = causal_words([fewer, found])  # only the one on most games is told in full
    assert said.startswith("In the experiment made") and said.endswith("in other experiments: other 0 of 1.")


def test_the_headline_says_whether_players_act_strategically_and_no_experiment_only_where_there_is_none():
    row = {
        "agent": "small", "faction": "werewolf", "slope": -0.3, "low": -0.8, "high": 0.0, "helped": 0.02, "hurt": 0.12,
        "verdict": "not beyond habit", "n_moments": 20, "n_games": 20,
    }  # fmt: skip
    said = causal_words([], pl.DataFrame([row, row | {"agent": "loud", "slope": None}]))
    assert said == (
        "As werewolf, small does not choose what it says by what that gains, beyond habit (slope -0.3 [-0.8, +0.0] "
        "log-odds for each unit of win probability; of its lies 2% help, 12% hurt; 20 moments of 20 games)."
    )
    assert causal_words([], None).startswith("No experiment was carried out")


@pytest.mark.parametrize(
    ("change", "message"), [({"kind": "x"}, "no experiment"), ({"status": "asking"}, "not finished")]
)
def test_a_folder_that_is_no_finished_experiment_is_refused(tmp_path, change, message):
    folder = made_experiment(tmp_path / "e")
    manifest = json.loads((folder / "manifest.json").read_text()) | change
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(AnalysisError, match=message):
        read_experiment(folder)
