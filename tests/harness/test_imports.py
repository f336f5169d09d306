"""Games of other programs as run folders: the replays are those programs' own, or follow their logs line for line.

The Kaggle replays were made by kaggle-environments (tests/harness/replays/make_kaggle.py). The AIWolf logs
were written by hand
in the lines of the servers' logs, with other names and words: no AIWolf server was run for them.
"""

import gzip
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from analysis.data.frames import logs_of, subject_rows
from analysis.data.labels import label
from games.records import Decision, Event
from harness import load_run
from harness.check.check import check_run
from harness.errors import ConfigurationError, RunFolderError
from harness.exchange.imports import ImportFormatError, import_games
from harness.exchange.imports.werewolf.aiwolf_talk import acts_of
from harness.play.tournament import run_tournament
from tests.fixtures.edits import reseal

REPLAYS = Path(__file__).parent / "replays"
KAGGLE = sorted(REPLAYS.glob("kaggle*.json.gz"))
FREE, PROTOCOL = REPLAYS / "aiwolf-5-free.log", REPLAYS / "aiwolf-9-protocol.log"


def replay(file: Path) -> dict:
    return json.loads(gzip.decompress(file.read_bytes()))


def moderator(plain: dict, data_type: str) -> list[dict]:
    return [
        json.loads(e["json_str"])
        for step in plain["info"]["MODERATOR_OBSERVATION"]
        for e in step
        if e["data_type"] == data_type
    ]


class TestKaggle:
    @pytest.mark.parametrize("file", KAGGLE, ids=lambda f: f.name)
    def test_roles_winners_and_exits_are_those_of_the_replay(self, file, tmp_path):
        run = load_run(import_games("kaggle", [file], tmp_path / "run"))
        end = replay(file)["info"]["GAME_END"]
        seats = run.seats.collect()
        assert {r["name"]: r["role"].title() for r in seats.iter_rows(named=True)} == end[
            "all_players_and_role"
        ]
        assert set(seats.filter(pl.col("won"))["name"]) == set(end["winner_ids"])
        exits = {
            one["player_id"]: (one["eliminated_during_day"], one["eliminated_during_phase"])
            for one in end["elimination_info"]
            if one["eliminated_during_phase"] is not None
        }
        ours = {
            r["name"]: (r["exit_day"] - 1, "Night") if r["exit_cause"] == "death" else (r["exit_day"], "Day")
            for r in seats.iter_rows(named=True)
            if r["exit_cause"] is not None
        }
        assert ours == exits

    @pytest.mark.parametrize("file", KAGGLE, ids=lambda f: f.name)
    def test_words_and_ballots_are_those_of_the_replay_in_order(self, file, tmp_path):
        run = load_run(import_games("kaggle", [file], tmp_path / "run"))
        records, names = run.records(run.game_ids[0]), run.seats.collect()["name"].to_list()
        plain = replay(file)
        said = [(e["data"]["actor_id"], e["data"]["message"]) for e in moderator(plain, "ChatDataEntry")]
        voted = [
            (e["data"]["actor_id"], e["data"]["target_id"]) for e in moderator(plain, "DayExileVoteDataEntry")
        ]
        decisions = [r for r in records if isinstance(r, Decision)]
        assert [(names[d.seat], d.action.text) for d in decisions if d.kind == "speech"] == said
        assert [(names[d.seat], names[d.action.option]) for d in decisions if d.kind == "ballot"] == voted

    def test_nobody_is_shown_a_role_that_the_replay_does_not_reveal(self, tmp_path):
        run = load_run(import_games("kaggle", [REPLAYS / "kaggle-8-no-reveal.json.gz"], tmp_path / "run"))
        left = run.events.filter(pl.col("kind").is_in(["death", "exile"])).collect()
        assert left.height > 1 and left["value"].null_count() == left.height

    def test_analysis_works_on_them_and_they_are_sound(self, tmp_path):
        out = import_games("kaggle", KAGGLE, tmp_path / "run")
        assert check_run(out) == []
        logs = list(logs_of(load_run(out)))
        rows = subject_rows(logs).frame
        assert rows["game_id"].n_unique() == 2 and rows["is_werewolf"].any()
        ballots = label(logs)["ballots"]
        assert ballots.height == sum(len(moderator(replay(f), "DayExileVoteDataEntry")) for f in KAGGLE)

    def test_completion_of_a_model_becomes_the_decision_s_output(self, tmp_path):
        plain = replay(KAGGLE[0])
        step = next(s for s in plain["info"]["MODERATOR_OBSERVATION"] if s[1]["data_type"] == "ChatDataEntry")
        raw = json.loads(step[0]["json_str"])
        raw["data"]["raw_completion"] = '{"message": "..."}'
        step[0]["json_str"] = json.dumps(raw)
        (tmp_path / "r.json").write_text(json.dumps(plain))
        run = load_run(import_games("kaggle", [tmp_path / "r.json"], tmp_path / "run"))
        made = run.decisions.filter(pl.col("model").is_not_null()).collect()
        assert made["output_text"].to_list() == ['{"message": "..."}']
        assert made["reasoning"][0] == raw["data"]["reasoning"]

    @pytest.mark.parametrize(
        ("data_type", "key", "value", "what"),
        [
            ("GameStartRoleDataEntry", "role", "Mayor", r"role is 'Mayor'; known are"),
            ("DayExileVoteDataEntry", "target_id", "player_99", r"target_id is 'player_99'; the players are"),
            ("ChatDataEntry", "message", None, r"field 'message' is missing"),
            ("GameEndResultsDataEntry", "winner_ids", [], r"winner_ids are the seats \[\]"),
            ("SeerInspectResultDataEntry", "role", "Doctor", r"the seer is shown 'doctor' of player_\d"),
        ],
    )
    def test_wrong_field_is_refused_with_file_step_and_field(self, tmp_path, data_type, key, value, what):
        plain = replay(KAGGLE[0])
        entry = next(
            e for s in plain["info"]["MODERATOR_OBSERVATION"] for e in s if e["data_type"] == data_type
        )
        event = json.loads(entry["json_str"])
        if value is None:
            del event["data"][key]
        else:
            event["data"][key] = value
        entry["json_str"] = json.dumps(event)
        file = tmp_path / "r.json"
        file.write_text(json.dumps(plain))
        with pytest.raises(ImportFormatError, match=rf"r\.json, step \d+, event \d+: .*{what}"):
            import_games("kaggle", [file], tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_replay_that_was_broken_off_or_is_none_is_refused(self, tmp_path):
        plain = replay(KAGGLE[0])
        plain["info"]["MODERATOR_OBSERVATION"] = plain["info"]["MODERATOR_OBSERVATION"][:-1]
        (tmp_path / "half.json").write_text(json.dumps(plain))
        with pytest.raises(ImportFormatError, match="no game_end event"):
            import_games("kaggle", [tmp_path / "half.json"], tmp_path / "run")
        (tmp_path / "torn.json").write_text('{"name": "werewolf", ')
        with pytest.raises(ImportFormatError, match="no replay of Kaggle's werewolf"):
            import_games("kaggle", [tmp_path / "torn.json"], tmp_path / "run")
        (tmp_path / "chess.json").write_text(json.dumps(plain | {"name": "chess"}))
        with pytest.raises(ImportFormatError, match="name is 'chess'"):
            import_games("kaggle", [tmp_path / "chess.json"], tmp_path / "run")


class TestAIWolf:
    def imported(self, tmp_path: Path, file: Path = FREE, **options: bool):
        return load_run(import_games("aiwolf", [file], tmp_path / "run", **options))

    def test_game_is_the_log_s(self, tmp_path):
        run = self.imported(tmp_path)
        seats = run.seats.collect()
        assert seats["role"].to_list() == ["werewolf", "possessed", "seer", "villager", "villager"]
        assert seats["agent"].to_list() == ["alpha1", "beta1", "gamma1", "delta1", "epsilon1"]
        assert seats["name"].to_list() == [f"Agent[0{i}]" for i in range(1, 6)]
        assert seats["won"].to_list() == [False, False, True, True, True]
        assert dict(seats.select("seat", "exit_day").drop_nulls().iter_rows()) == {0: 2, 2: 2, 3: 1}
        records = run.records(run.game_ids[0])
        inspected = [r for r in records if isinstance(r, Event) and r.kind == "inspect"]
        assert [(e.day, e.actor, e.target, e.value, e.audience) for e in inspected] == [
            (1, 2, 1, "human", (2,)),
            (2, 2, 4, "human", (2,)),
        ]
        ballots = [
            (r.day, r.seat, r.action.option)
            for r in records
            if isinstance(r, Decision) and r.kind == "ballot"
        ]
        assert ballots[:5] == [(1, 0, 2), (1, 1, 3), (1, 2, 3), (1, 3, 0), (1, 4, 3)]
        assert len(ballots) == 5 + 2 * 3, "a tie is voted on again"

    def test_guarded_seat_lives_and_only_the_medium_senses(self, tmp_path):
        run = self.imported(tmp_path, PROTOCOL)
        assert run.seats.collect()["name"].to_list() == "Ada Ben Cal Dot Eli Fay Gus Hal Ida".split()
        events = [r for r in run.records(run.game_ids[0]) if isinstance(r, Event)]
        assert [e.day for e in events if e.kind == "no_death"] == [2]
        sensed = [(e.target, e.value, e.audience) for e in events if e.kind == "sense"]
        assert sensed == [(3, "werewolf", (5,)), (6, "werewolf", (5,))]

    def test_ballots_are_shown_to_players_only_where_the_caller_says_so(self, tmp_path):
        for shown in (False, True):
            (tmp_path / str(shown)).mkdir()
            run = self.imported(tmp_path / str(shown), ballots_shown=shown)
            cast = [r for r in run.records(run.game_ids[0]) if isinstance(r, Event) and r.kind == "ballot"]
            assert {e.audience for e in cast} == {None if shown else ()}

    def test_lies_in_the_protocol_are_labelled_from_the_roles(self, tmp_path):
        run = self.imported(tmp_path, PROTOCOL)
        statements = label(logs_of(run))["statements"]
        rows = {(r["speaker"], r["kind"], r["subject"]): r for r in statements.iter_rows(named=True)}
        assert not rows[2, "claim_role", None]["statement_is_false"]
        assert not rows[2, "report_inspection", 8]["statement_is_false"]
        assert rows[7, "claim_role", None]["speaker_knows_false"], "the possessed claims to be the seer"
        assert rows[7, "report_inspection", 1]["speaker_knows_false"], "and reports what it has not inspected"
        assert rows[3, "accuse", 8]["speaker_knows_false"]
        assert check_run(run.path) == []

    @pytest.mark.parametrize(
        ("line", "what"),
        [
            ("1,vote,4,9", r"line 29: target is 9, the agents are 1 to 5"),
            ("1,vote,4,x", r"line 29: target is 'x', not a number"),
            ("1,vote,4", r"line 29: a vote line has 4 fields, this one 3"),
            ("1,nominate,4,1", r"line 29: no kind of line is called 'nominate'"),
            ("1,execute,4,SEER", r"line 29: role of agent 4 is SEER, it was villager"),
            ("1,divine,3,1,HUMAN", r"line 29: species of agent 1 is HUMAN, but it is a werewolf"),
            (
                "2,status,3,SEER,DEAD,gamma1",
                r"line 29: status of agent 3 is DEAD, but by the lines before it is alive",
            ),
            ("1,whisper,0,0,4,hi", r"line 29: agent 4 whispers and is a villager"),
        ],
    )
    def test_wrong_line_is_refused_with_its_number_and_field(self, tmp_path, line, what):
        lines = FREE.read_text().splitlines()
        lines[28] = line
        (tmp_path / "a.log").write_text("\n".join(lines))
        with pytest.raises(ImportFormatError, match=rf"a\.log, {what}"):
            import_games("aiwolf", [tmp_path / "a.log"], tmp_path / "run")

    def test_dead_seats_neither_speak_nor_vote(self, tmp_path):
        text = FREE.read_text().replace("2,vote,5,1\n2,vote,1,2", "2,vote,4,1\n2,vote,1,2", 1)
        (tmp_path / "a.log").write_text(text)
        with pytest.raises(
            ImportFormatError, match=r"Agent\[04\] has left the game and makes a decision \(ballot\)"
        ):
            import_games("aiwolf", [tmp_path / "a.log"], tmp_path / "run")

    def test_log_without_a_result_is_refused(self, tmp_path):
        (tmp_path / "a.log").write_text(FREE.read_text().rpartition("3,result")[0])
        with pytest.raises(ImportFormatError, match="ends without a result line"):
            import_games("aiwolf", [tmp_path / "a.log"], tmp_path / "run")

    @pytest.mark.parametrize(
        ("text", "kinds"),
        [
            ("COMINGOUT Agent[02] SEER", ["claim_role"]),
            ("COMINGOUT Agent[03] SEER", []),
            ("DAY 2 (DIVINED Agent[01] WEREWOLF)", ["report_inspection"]),
            (
                "AND (DAY 1 (DIVINED Agent[01] HUMAN)) (VOTE Agent[01])",
                ["report_inspection", "announce_ballot"],
            ),
            ("BECAUSE (Agent[03] COMINGOUT Agent[03] SEER) (ESTIMATE Agent[03] POSSESSED)", []),
            ("NOT (COMINGOUT Agent[02] SEER)", []),
            ("REQUEST ANY (VOTE Agent[01])", []),
            ("ESTIMATE Agent[01] WEREWOLF", ["accuse"]),
            ("AND (VOTE Agent[01]", []),
            ("I think Agent[01] is a werewolf.", []),
        ],
    )
    def test_only_what_the_speaker_asserts_becomes_an_act(self, text, kinds):
        assert [act.kind for act in acts_of(text, 1, ["a", "b", "c"])] == kinds


class TestFolder:
    def test_manifest_names_format_files_and_hashes(self, tmp_path):
        import hashlib

        manifest = load_run(import_games("aiwolf", [REPLAYS], tmp_path / "run")).manifest
        assert manifest.imported is not None and manifest.imported["format"] == "aiwolf"
        assert {f["name"]: f["sha256"] for f in manifest.imported["files"]} == {
            f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (FREE, PROTOCOL)
        }

    def test_one_game_in_two_files_is_refused(self, tmp_path):
        shutil.copy(FREE, tmp_path / "again.log")
        with pytest.raises(RunFolderError, match=r"again\.log and aiwolf-5-free\.log hold the same game"):
            import_games("aiwolf", [FREE, tmp_path / "again.log"], tmp_path / "run")

    def test_check_finds_what_does_not_hang_together(self, tmp_path):
        out = import_games("aiwolf", [FREE], tmp_path / "run")
        games = pl.read_parquet(out / "games.parquet")
        games.with_columns(winner=pl.lit("werewolf")).write_parquet(out / "games.parquet")
        reseal(out)
        assert any("by who lives at the end it is 'village'" in f.what for f in check_run(out))

    def test_imported_players_cannot_play(self, tmp_path):
        from harness.config.files import parse_config

        manifest = load_run(import_games("aiwolf", [FREE], tmp_path / "run")).manifest
        with pytest.raises(ConfigurationError, match="played in another program"):
            run_tournament(parse_config(manifest.config), tmp_path / "again")
