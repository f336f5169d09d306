"""Runs of Avalon through the harness: played, checked, shown, branched, exported, captured by configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.backends.hooked.backend import load_hooked_backend
from analysis.behaviour.ratings import rate, ratings_lines, results_of, sides_of
from games.avalon.state import APPROVE, REJECT
from games.records import Decision, SpeechAct
from harness import load_run
from harness.branch.branch import branch
from harness.branch.change_words import change_of
from harness.branch.changes import ChangeError, Choose, Roles, Say, edited
from harness.capture.run import capture_run
from harness.check.check import check_run
from harness.cli.main import main
from harness.config.files import parse_config
from harness.errors import ConfigurationError
from harness.exchange.export import export_run
from harness.play.factory import check_agents
from harness.replay.posteriors import posteriors_of
from harness.replay.replay import Replay, open_replay
from harness.view.pages import write_view
from tests.fixtures.local_runs import play_run, scripted
from tests.fixtures.player_fixtures import chat_tokenizer
from tests.fixtures.tiny_models import tiny_model

MIX = {"truthful": 2, "deep": 2, "reckless": 1}


def config(games: int = 3, mix: dict[str, int] | None = None, **game: object) -> object:
    return scripted(games, "avalon", mix or MIX, game={"name": "avalon", "preset": "avalon-5"} | game)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play_run(config(), tmp_path_factory.mktemp("avalon") / "run")


@pytest.fixture(scope="module")
def replay(run: Path) -> Replay:
    return open_replay(run, "0")


def first(replay: Replay, kind: str, n: int = 0) -> Decision:
    return [r for r in replay.records if isinstance(r, Decision) and r.kind == kind][n]


def test_a_run_is_sound_and_its_tables_tell_sides_and_teams(run: Path) -> None:
    assert check_run(run) == []
    loaded = load_run(run)
    seats = loaded.seats.collect()
    assert set(seats["faction"]) == {"good", "evil"}
    assert set(seats["role"]) == {"merlin", "servant", "assassin", "minion"}
    assert set(loaded.games.collect()["winner"]) <= {"good", "evil"}
    acts = [
        act
        for game in loaded.game_ids
        for r in loaded.records(game)
        if isinstance(r, Decision)
        for act in r.action.acts
    ]
    assert any(act.kind == "suggest_team" and len(act.team) in (2, 3) for act in acts)


def test_the_posteriors_of_its_own_observers_are_shown_and_end_with_the_truth(
    run: Path, replay: Replay
) -> None:
    found = posteriors_of(load_run(run))
    assert set(found) == {"rules", "exact", "rules: merlin", "exact: merlin"}
    evil = {i for i, seat in enumerate(replay.seats) if seat.faction == "evil"}
    last: dict[tuple[int, int], float] = {}
    for _, viewer, subject, p in found["exact"](replay):
        last[viewer, subject] = p
    for viewer in range(5):
        others = [last[viewer, j] for j in range(5) if j != viewer and j in evil]
        assert min(others) > 0.5


def test_pages_are_written_for_every_game(run: Path) -> None:
    index = write_view(run)
    assert index.is_file()
    pages = list(index.parent.rglob("*.html"))
    assert len(pages) == 4
    assert any("assassin" in page.read_text() for page in pages)


def test_a_vote_a_pick_and_a_speech_can_be_changed_and_played_on(
    run: Path, replay: Replay, tmp_path: Path
) -> None:
    vote, pick, speech = first(replay, "vote"), first(replay, "pick"), first(replay, "speech")
    other = REJECT if vote.action.option == APPROVE else APPROVE
    changes = {
        vote.seq: Choose(other),
        pick.seq: Choose(next(o for o in pick.options if o != pick.action.option)),
        speech.seq: Say(acts=(SpeechAct("suggest_team", team=(0, 2)),)),
    }
    for seq, change in changes.items():
        branch(run, "0", seq, change, 2, tmp_path / str(seq))
        assert check_run(tmp_path / str(seq)) == []
        branched = load_run(tmp_path / str(seq))
        said = [
            next(r for r in branched.records(game) if isinstance(r, Decision) and r.seq == seq)
            for game in branched.game_ids
        ]
        original = next(r for r in replay.records if r.seq == seq)
        changed = [d for d in said if d.action != original.action]
        assert len(changed) == len(said) // 2


def test_agents_are_rated_on_their_sides(run: Path) -> None:
    results = results_of([load_run(run)])
    assert sides_of(results) == ("evil", "good")
    fit = rate(results, n_boot=50)
    assert set(fit.agents) == {"evil", "good"}
    assert any(line.startswith("evil ") for line in ratings_lines(fit, results))


def test_what_agents_do_is_measured(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["behaviour", str(run)])
    assert ended.value.code == 0
    assert "deception produced" in capsys.readouterr().out.replace("_", " ")


def test_changes_are_written_in_the_words_of_the_game(replay: Replay) -> None:
    vote, speech = first(replay, "vote"), first(replay, "speech")
    assert change_of(replay, vote.seq, choose="reject") == Choose(REJECT)
    assert change_of(replay, vote.seq, choose="1") == Choose(APPROVE)
    assert change_of(
        replay, speech.seq, acts=("suggest_team:player_3,player_1", "explain_vote:player_2:reject")
    ) == Say(acts=(SpeechAct("suggest_team", team=(1, 3)), SpeechAct("explain_vote", 2, "reject")))
    with pytest.raises(ChangeError, match="write suggest_team:team"):
        change_of(replay, speech.seq, acts=("suggest_team",))
    with pytest.raises(ChangeError, match="needs team"):
        edited(Say(acts=(SpeechAct("suggest_team"),)), replay, speech)
    with pytest.raises(ChangeError, match="it could choose: reject, approve"):
        edited(Choose(4), replay, vote)


def test_roles_can_be_swapped_from_the_deal_on(run: Path, replay: Replay, tmp_path: Path) -> None:
    roles = [seat.role for seat in replay.seats]
    servant, minion = roles.index("servant"), roles.index("minion")
    pick = first(replay, "pick")
    branch(run, "0", pick.seq, Roles(servant, minion), 2, tmp_path / "swap")
    assert check_run(tmp_path / "swap") == []


def test_an_export_is_a_run_folder_of_its_own(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "out", license="CC-BY-4.0")
    assert load_run(tmp_path / "out").game_ids == load_run(run).game_ids
    assert check_run(tmp_path / "out") == []


@pytest.mark.parametrize("preset", ["resistance-5", "avalon-7", "avalon-10"])
def test_every_preset_is_played_by_configuration(preset: str, tmp_path: Path) -> None:
    n = {"resistance-5": 5, "avalon-7": 7, "avalon-10": 10}[preset]
    path = play_run(
        config(1, {"follower": n - 2, "bayesian": 2}, preset=preset, max_rejections=2), tmp_path / "run"
    )
    assert check_run(path) == []


def test_a_policy_of_another_game_is_refused_naming_those_of_this_one() -> None:
    with pytest.raises((ConfigurationError, ValueError), match=r"busser.*truthful"):
        check_agents([config(1, {"busser": 5})])


def test_a_chat_model_plays_states_beliefs_and_is_captured(tmp_path: Path) -> None:
    """A tiny model with random weights: what it says is nonsense, what is logged of it is sound."""
    tokenizer = chat_tokenizer("chatml")
    tiny_model(vocab_size=len(tokenizer), max_position_embeddings=16384).save_pretrained(
        str(tmp_path / "model")
    )
    tokenizer.save_pretrained(str(tmp_path / "model"))
    plain = {
        "run": {"games": 1, "seed": 4, "name": "chat"},
        "game": {"name": "avalon", "preset": "avalon-5", "max_rejections": 1, "talk_before": ["proposal"]},
        "agents": {
            "chat": {
                "kind": "llm",
                "backend": "tiny",
                "prompt": "chat",
                "retries": 0,
                "sampling": {"max_tokens": 8},
            },
            "deep": {"kind": "scripted", "policy": "deep"},
        },
        "backends": {"tiny": {"kind": "transformers", "model": str(tmp_path / "model")}},
        "roster": {"mix": {"chat": 1, "deep": 4}},
        "beliefs": {"enabled": True, "orders": 1},
    }
    path = play_run(
        parse_config(plain), tmp_path / "run", {"tiny": load_hooked_backend(tmp_path / "model", device="cpu")}
    )
    assert check_run(path) == []
    run = load_run(path)
    beliefs = run.beliefs.collect()
    assert len(beliefs) > 0
    for row in beliefs.iter_rows(named=True):
        shares = {pair["role"]: pair["p"] for pair in row["probabilities"]}
        assert set(shares) == {"merlin", "servant", "assassin", "minion"}
        assert row["p_werewolf"] == pytest.approx(
            shares["assassin"] + shares["minion"]
        )  # suspicion: is it evil?
    capture_run(path, device="cpu")
    assert check_run(path) == []
    index = run.activations().scan().collect()
    assert set(index["seat"]) == set(beliefs["viewer"])
