"""Runs for others and runs joined: nothing is lost, nothing is there twice, and everything says where it is from."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from harness import load_run
from harness.activations.store import StoreInfo, open_activations, token_hash
from harness.activations.verify import verify
from harness.activations.writer import ActivationWriter, RowKey
from harness.check.check import check_run
from harness.errors import RunFolderError, StorageError
from harness.exchange.columns import COLUMN_DOCS, TABLE_DOCS
from harness.exchange.export import export_run, sha256_of
from harness.exchange.merge import merge_runs
from harness.run import tables
from harness.schedule.merged import parts_of
from tests.fixtures.edits import reseal
from tests.fixtures.local_runs import play_run, scripted


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Two runs that share four games, and one with other rules."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        "four": play_run(scripted(4, "four"), folder / "four"),
        "six": play_run(scripted(6, "six"), folder / "six"),
        "probe": play_run(scripted(3, "probe", game={"preset": "probe-6"}), folder / "probe"),
    }


class TestExport:
    def test_every_column_of_every_table_is_explained(self):
        assert {t: list(s) for t, s in tables.SCHEMAS.items()} == {t: list(c) for t, c in COLUMN_DOCS.items()}
        assert list(TABLE_DOCS) == list(tables.SCHEMAS)

    def test_export_holds_the_run_s_tables_and_is_a_sound_run_folder(self, runs, tmp_path):
        out = export_run(runs["four"], tmp_path / "data")
        for table in tables.TABLES:
            assert pl.read_parquet(out / f"{table}.parquet").equals(
                load_run(runs["four"]).frame(table).collect()
            )
        assert check_run(out) == []

    def test_card_says_what_is_there(self, runs, tmp_path):
        out = export_run(runs["four"], tmp_path / "data", license="CC-BY-4.0")
        card = (out / "README.md").read_text()
        manifest = load_run(runs["four"]).manifest
        assert card.startswith("---\nlicense: CC-BY-4.0\n")
        assert "4 games" in card and f"`{manifest.config_hash}`" in card
        assert json.loads(card.partition("```json\n")[2].partition("```")[0]) == manifest.config
        for table in tables.TABLES:
            assert f"`{table}.parquet` | {(out / f'{table}.parquet').stat().st_size:,} |" in card
            assert sha256_of(out / f"{table}.parquet") in card
        seats = load_run(runs["four"]).seats.collect()
        for agent in ("loud", "random"):
            n = seats.filter(agent=agent, faction="village").height
            assert re.search(rf"\| {agent} \|  \| village \| {n} \| ", card)

    def test_games_that_have_ended_can_be_exported_while_the_run_goes_on(self, tmp_path):
        run = play_run(scripted(2), tmp_path / "run", finish=False)
        out = export_run(run, tmp_path / "data")
        assert "was not finished" in (out / "README.md").read_text()
        assert pl.read_parquet(out / "games.parquet").height == 2
        assert not (out / "manifest.json").exists()

    def test_nothing_is_left_of_an_export_that_fails(self, runs, tmp_path):
        with pytest.raises(RunFolderError, match="has no activations; run: wolfscope capture"):
            export_run(runs["four"], tmp_path / "data", activations=True)
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "taken").mkdir()
        with pytest.raises(StorageError, match="exists"):
            export_run(runs["four"], tmp_path / "taken")


class TestMerge:
    def test_merged_run_has_every_game_once_and_is_sound(self, runs, tmp_path):
        out = merge_runs([runs["four"], runs["six"], runs["probe"]], tmp_path / "all")
        merged = load_run(out)
        ids = [load_run(runs[name]).game_ids for name in ("four", "six", "probe")]
        assert merged.game_ids == [*ids[0], *[g for g in ids[1] if g not in ids[0]], *ids[2]]
        assert check_run(out) == []
        for name in ("six", "probe"):
            for game_id, records in load_run(runs[name]).logs():
                assert merged.records(game_id) == records
                assert merged.game(game_id) == load_run(runs[name]).game(game_id)

    def test_where_the_games_came_from_is_kept(self, runs, tmp_path):
        manifest = load_run(merge_runs([runs["four"], runs["six"]], tmp_path / "all")).manifest
        parts = parts_of(manifest)
        assert [(p.name, p.n_games, p.first, p.n_kept) for p in parts] == [
            ("four", 4, 0, 4),
            ("six", 6, 4, 2),
        ]
        assert [p.config_hash for p in parts] == [
            load_run(runs[n]).manifest.config_hash for n in ("four", "six")
        ]

    def test_merged_runs_can_be_merged_again(self, runs, tmp_path):
        first = merge_runs([runs["four"], runs["probe"]], tmp_path / "first")
        out = merge_runs([first, runs["six"]], tmp_path / "second")
        assert check_run(out) == []
        assert [p.name for p in parts_of(load_run(out).manifest)] == ["four", "probe", "six"]

    @pytest.mark.parametrize(
        ("table", "column", "value"),
        [("decisions", "option", 99), ("games", "winner", "nobody"), ("seats", "exit_day", 99)],
    )
    def test_same_game_with_other_content_is_refused_with_both_values(
        self, runs, tmp_path, table, column, value
    ):
        other = tmp_path / "other"
        shutil.copytree(runs["four"], other)
        frame = pl.read_parquet(other / f"{table}.parquet")
        row = frame.with_row_index("at").drop_nulls(column)["at"][0]
        changed = frame.with_columns(
            pl.when(pl.int_range(pl.len()) == row)
            .then(pl.lit(value))
            .otherwise(column)
            .cast(frame.schema[column])
            .alias(column)
        )
        changed.write_parquet(other / f"{table}.parquet")
        reseal(other)
        with pytest.raises(
            RunFolderError, match=rf"{table}\.{column} is .*{frame[column][row]!r} in .* and {value!r} in"
        ):
            merge_runs([runs["four"], other], tmp_path / "all")
        assert not (tmp_path / "all").exists()

    def test_unfinished_runs_are_refused_with_the_remedy(self, runs, tmp_path):
        playing = play_run(scripted(2), tmp_path / "run", finish=False)
        with pytest.raises(RunFolderError, match="is not finished: run its command again"):
            merge_runs([runs["four"], playing], tmp_path / "all")
        with pytest.raises(RunFolderError, match="at least two"):
            merge_runs([runs["four"]], tmp_path / "all")

    def test_one_backend_name_for_two_models_is_refused_with_both(self, runs, tmp_path):
        for name, model in (("a", "m@1"), ("b", "m@2")):
            shutil.copytree(runs["four"], tmp_path / name)
            manifest = load_run(tmp_path / name).manifest
            manifest.models = {"backend": model}
            manifest.write(tmp_path / name)
        with pytest.raises(RunFolderError, match=r"'backend' is m@1 in .* and m@2 in"):
            merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "all")


class TestMergedActivations:
    INFO = StoreInfo("m@1", ("resid_post.0", "resid_post.1"), 4, "bfloat16")

    def captured(self, run: Path, to: Path) -> tuple[Path, dict[str, np.ndarray]]:
        """A copy of the run with one row a game, whose values depend on the game alone."""
        shutil.copytree(run, to)
        values = {
            game: np.random.default_rng(int(game[:8], 16)).normal(size=(1, 2, 4)).astype("float32")
            for game in load_run(run).game_ids
        }
        with ActivationWriter(to / "activations", self.INFO) as writer:
            for game, value in values.items():
                writer.add([RowKey(game, 5, 0, "prompt_last", None, 3, 1, token_hash([1]))], value)
        return to, values

    def test_rows_of_every_game_are_there_once(self, runs, tmp_path):
        four, _ = self.captured(runs["four"], tmp_path / "four")
        six, values = self.captured(runs["six"], tmp_path / "six")
        store = open_activations(merge_runs([four, six], tmp_path / "all") / "activations")
        assert verify(store) == []
        lines = store.index()
        assert sorted(lines["game_id"]) == sorted(values)
        found = store.read_rows(lines)
        whole = open_activations(six / "activations")
        assert np.array_equal(found, whole.read_rows(whole.index()))

    def test_stores_of_different_models_are_refused_or_left_out(self, runs, tmp_path, monkeypatch):
        from harness.activations.store import ActivationsError

        four, _ = self.captured(runs["four"], tmp_path / "four")
        monkeypatch.setattr(self.__class__, "INFO", StoreInfo("other@2", self.INFO.layers, 4, "bfloat16"))
        probe, _ = self.captured(runs["probe"], tmp_path / "probe")
        with pytest.raises(ActivationsError, match=r"model = m@1, this capture has other@2"):
            merge_runs([four, probe], tmp_path / "all")
        out = merge_runs([four, probe], tmp_path / "all", activations=False)
        assert not (out / "activations").exists()
