"""A small model of Avalon in transcript style through every verb: random weights, the real words, sound logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

from agents.avalon.vocabulary import make_tokenizer  # noqa: E402
from agents.backends.hooked.backend import load_hooked_backend  # noqa: E402
from agents.hooks.model import load_hooked_model  # noqa: E402
from games.records import Decision  # noqa: E402
from harness.activations.store import open_activations  # noqa: E402
from harness.activations.verify import verify  # noqa: E402
from harness.branch.branch import branch  # noqa: E402
from harness.branch.changes import Choose  # noqa: E402
from harness.capture.run import capture_run  # noqa: E402
from harness.check.check import check_activations, check_run  # noqa: E402
from harness.config.files import parse_config  # noqa: E402
from harness.experiment.design import parse_design  # noqa: E402
from harness.experiment.facts import candidates  # noqa: E402
from harness.experiment.fitting import belief_streams  # noqa: E402
from harness.experiment.moments import draw_moments  # noqa: E402
from harness.experiment.run import run_experiment  # noqa: E402
from harness.experiment.strategic import menu  # noqa: E402
from harness.replay.replay import open_replay  # noqa: E402
from harness.run.folder import Run, load_run  # noqa: E402
from tests.fixtures.local_runs import branch_here, play_run  # noqa: E402
from tests.fixtures.tiny_models import tiny_model  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, tokenizer = tmp_path_factory.mktemp("model"), make_tokenizer(("classic", "nonsense"))
    tiny_model(vocab_size=len(tokenizer), max_position_embeddings=2048).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    plain = {
        "run": {"games": 2, "seed": 3, "name": "small"},
        "game": {"name": "avalon", "preset": "avalon-5", "max_rejections": 2},
        "agents": {
            "model": {
                "kind": "llm",
                "backend": "tiny",
                "settings": {"choice": "constrained"},
                "retries": 0,
                "sampling": {"max_tokens": 12},
            },
            "deep": {"kind": "scripted", "policy": "deep"},
        },
        "backends": {"tiny": {"kind": "transformers", "model": str(model), "device": "cpu"}},
        "roster": {"mix": {"model": 3, "deep": 2}},
        "beliefs": {"enabled": True, "second_order": True},
        "activations": {"sites": ["prompt_last", "mention", "role_line", "belief_mention"], "layers": "all"},
    }
    path = tmp_path_factory.mktemp("avalon") / "run"
    return load_run(play_run(parse_config(plain), path, {"tiny": load_hooked_backend(model, device="cpu")}))


def test_it_plays_and_states_beliefs_of_both_orders(run: Run) -> None:
    assert check_run(run.path) == []
    beliefs = run.beliefs.collect()
    assert set(beliefs["about"].is_null()) == {True, False}
    models = [r for _, log in run.logs() for r in log if isinstance(r, Decision) and r.trace is not None]
    assert {"pick", "vote", "speech"} <= {r.kind for r in models}
    assert not [r for r in models if r.fallback is not None and r.kind in ("pick", "vote", "card")]


def test_how_surprising_its_words_are_to_itself_is_read_from_the_run(run: Run) -> None:
    from analysis.covert.detectors import speeches_of
    from analysis.data.frames import Logs

    own = speeches_of(Logs([("", run)]))["own"]
    spoken = [
        r.trace.logprobs for _, log in run.logs() for r in log
        if isinstance(r, Decision) and r.kind == "speech" and r.trace is not None
    ]  # fmt: skip
    assert spoken and own.drop_nulls().to_list() == [float(np.mean(one)) for one in spoken if one]


def test_its_contexts_are_captured_changed_and_checked(run: Run, tmp_path: Path) -> None:
    import shutil

    path = tmp_path / "run"
    shutil.copytree(run.path, path)
    capture_run(path, device="cpu", variants=("original", "no_role_line", "swapped_role", "other_seat"))
    capture_run(path, device="cpu", variants=("reskinned",), lexicon="nonsense", sites=("role_line",))
    store = open_activations(path / "activations")
    assert verify(store) == [] and check_activations(path) == [] and check_run(path) == []
    found = store.index(variant=None)
    assert set(found["variant"]) == {
        "original", "no_role_line", "swapped_role", "other_seat", "reskinned-nonsense"
    }  # fmt: skip


def test_probes_of_one_game_are_read_in_another_that_the_same_model_plays(tmp_path: Path) -> None:
    from agents.models.small import widened, words_of
    from agents.werewolf.vocabulary import make_tokenizer as words_of_werewolf
    from analysis.across import groups
    from analysis.stats.errors import AnalysisError
    from harness.cli.main import main

    words = widened(words_of_werewolf(("classic",)), words_of(make_tokenizer(("classic",))))
    folder = tmp_path / "both"
    tiny_model(vocab_size=len(words), max_position_embeddings=2048).save_pretrained(str(folder))
    words.save_pretrained(str(folder))
    runs = []
    for name, rules in (
        ("werewolf", {"preset": "classic-7", "max_days": 1}),
        ("avalon", {"preset": "avalon-5", "max_rejections": 1}),
    ):
        plain = {
            "run": {"games": 1, "seed": 3, "name": name},
            "game": {"name": name, **rules},
            "agents": {
                "model": {"kind": "llm", "backend": "tiny", "retries": 0, "settings": {"choice": "constrained"},
                          "sampling": {"max_tokens": 12}}
            },
            "backends": {"tiny": {"kind": "transformers", "model": str(folder), "device": "cpu"}},
            "roster": {"mix": {"model": 7 if name == "werewolf" else 5}},
            "beliefs": {"enabled": True},
            "activations": {"sites": ["prompt_last", "belief_mention"], "layers": "all"},
        }  # fmt: skip
        path = tmp_path / name
        play_run(parse_config(plain), path, {"tiny": load_hooked_backend(folder, device="cpu")})
        capture_run(path, device="cpu", variants=("original", "no_role_line"))
        runs.append(load_run(path))
    found, missing = groups.groups_of_runs(runs)
    assert missing == []
    for game, hider in (("werewolf", "seer"), ("avalon", "merlin")):
        mine = {(g.question, g.source): g for g in found if g.game == game}
        read = {groups.ACTIVATIONS, groups.UNTOLD}
        assert {s for q, s in mine if q == groups.OTHERS} == read | {groups.COUNTS}
        assert {s for q, s in mine if q == groups.OWN} == read
        own = mine[groups.OWN, groups.ACTIVATIONS]
        assert groups.GUILTY in own.kinds and hider in own.kinds and (hider, own.learned[1]) in own.contrasts
        assert set(mine[groups.OTHERS, groups.COUNTS].kinds) == {groups.GUILTY, groups.CLEAR}
    with pytest.raises(SystemExit) as ended:
        main(["across", *(str(run.path) for run in runs)])
    assert ended.value.code == 0
    assert (runs[0].path / "derived" / "across.parquet").is_file()
    with pytest.raises(AnalysisError, match="the runs are of avalon and of avalon"):
        groups.groups_of_runs([runs[1], runs[1]])


def test_its_games_are_branched(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch_here(monkeypatch, {"tiny": load_hooked_backend(model, device="cpu")})
    replay = open_replay(run.path, run.game_ids[0])
    vote = next(r for r in replay.records if isinstance(r, Decision) and r.kind == "vote" and r.trace)
    other = next(o for o in vote.options if o != vote.action.option)
    branch(run.path, run.game_ids[0], vote.seq, Choose(other), 1, tmp_path / "out")
    assert check_run(tmp_path / "out") == []


def test_experiments_ask_what_the_game_asks(run: Run, model: Path, tmp_path: Path) -> None:
    found = candidates(run, 0, "vote")
    for c in found:
        assert c.asked == tuple(role in ("assassin", "minion") for role in c.roles)
    hooked = load_hooked_model(model, device="cpu")
    games = {(0, game) for game in run.game_ids}
    streams, labels, codes = belief_streams([run], games, "vote", hooked, 30)
    assert len(streams) == len(labels) == len(codes) > 0 and set(labels.tolist()) == {True, False}
    vector = tmp_path / "v.npy"
    np.save(vector, np.ones(128, dtype=np.float32))
    design = parse_design(
        {
            "name": "evil",
            "question": "Does a vote follow a push at the mentions of an evil player?",
            "moments": {"kind": "vote", "n": 3, "per_game": 3, "subject": "werewolf"},
            "directions": {"v": {"vector": str(vector), "layer": 1}},
            "arms": [
                {"name": "push", "kind": "direction", "direction": "v", "scales": [1.0], "at": "mentions"}
            ],
            "controls": {"random": 2, "orthogonal": 1},
            "outcomes": {"beliefs": True},
            "test": {"smallest": 1.0},
        }
    )
    moments = draw_moments(design, [run], False)
    assert {m.subject_role for m in moments} <= {"assassin", "minion"}
    folder = run_experiment(design, [run.path], out=tmp_path / "exp", device="cpu")
    assert pl.read_parquet(folder / "outcomes.parquet").height > 0


def test_the_menu_of_a_strategic_speech_has_acts_of_this_game_alone(run: Run) -> None:
    replay = open_replay(run.path, run.game_ids[0])
    speech = next(r for r in replay.records if isinstance(r, Decision) and r.kind == "speech")
    for seat in range(5):
        others = [i for i in range(5) if i != seat]
        options = menu(replay, Decision(speech.seq, seat, "speech", speech.action), others, {}, 20)
        assert {act.kind for option in options for act in option.acts} <= set(replay.game.speech_acts)
        assert any(option.name.startswith("vouch") for option in options)


def test_its_beliefs_are_measured_by_the_verb_that_measures_any_small_model(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli import main

    settings = ("--game", "avalon", "--games", "0", "--belief-games", "4")
    with pytest.raises(SystemExit) as stopped:
        main(["eval-small-model", str(model), *settings])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    asked = [line for line in said.splitlines() if line.startswith("stated belief")]
    assert [line.partition(": ")[2].partition("?")[0] for line in asked] == [
        *["is the subject evil"] * 3, *["is the subject Merlin"] * 3
    ]  # fmt: skip
    assert (
        "Assassins before each vote of 4 scripted avalon-5 games, others that are not known to be evil"
        in said
    )
    for rung in ("stated", "told", "cards", "teams", "exact"):
        assert said.count(f"\n  {rung:10} AUROC ") == 6
    assert said.count("represented belief: R2 of the log-odds") == 3
    assert "hidden character" not in said and "ballot" not in said


def test_its_form_and_the_wins_of_both_sides_are_measured_in_its_own_game(model: Path) -> None:
    from agents.backends.mock import FirstChoice
    from agents.llm.transcript import TranscriptPlayer
    from agents.models.folder import load_tokenizer
    from harness.model_evaluation.playing import play_side, print_competence, print_form

    player, said = TranscriptPlayer("small", FirstChoice(), load_tokenizer(model)), list[str]()
    print_form(player, "avalon", 1, said.append)
    assert {line.split()[0] for line in said[1:]} >= {"pick", "vote", "card", "speech", "all"}
    del said[:]
    print_competence(player, "avalon", 2, said.append)
    assert "2 avalon-5 games against scripted players" in said[0]
    assert [line.split()[0] for line in said[1:]] == ["evil"] * 3 + ["good"] * 3
    evil, good = (play_side("avalon", side, None, 8) for side in ("evil", "good"))
    assert (evil != good).all()  # the same deals: one side or the other wins


def test_servants_are_asked_who_is_evil_and_assassins_who_is_merlin() -> None:
    from harness.model_evaluation.held_out import sittings, stack

    found = list(sittings("avalon", "avalon-5", 12))
    asked = stack([item for sitting in found for item in sitting.inquiries])
    evil, merlin = asked["asks"].T
    assert evil.any() and merlin.any() and not (evil & merlin).any()
    assert not asked["holds"][merlin, 0].any()  # an assassin knows its side
    assert np.isnan(asked["expected"][~evil]).all() and not np.isnan(asked["expected"][evil]).any()

    def surprise(kind: str, rows: np.ndarray, target: int) -> float:
        p = np.clip(asked[kind][rows, target], 1e-6, 1 - 1e-6)
        return float(-np.where(asked["holds"][rows, target], np.log(p), np.log(1 - p)).mean())

    for rows, target in ((evil, 0), (merlin, 1)):
        assert surprise("exact", rows, target) < surprise("told", rows, target)


def test_a_model_without_the_words_of_a_game_is_not_measured_in_it() -> None:
    from agents.exam import lexicon_of
    from agents.werewolf.vocabulary import make_tokenizer as werewolf_words
    from games.base import GameError

    assert lexicon_of("avalon", make_tokenizer(("nonsense",))) == "nonsense"
    with pytest.raises(
        GameError, match=r"all words of avalon under none of the lexicons classic.*--game avalon"
    ):
        lexicon_of("avalon", werewolf_words())
