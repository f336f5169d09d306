"""A branch changes one thing and nothing before it, is a run like any other, and measures what the change did."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from agents.backends.base import Capabilities, Generation, Prompt
from agents.backends.hooked.backend import load_hooked_backend
from agents.models.small import SMALL_MODEL
from agents.werewolf.vocabulary import make_tokenizer
from games import load_game
from games.branching import Fork, Forked
from games.play import fold, observe, play
from games.records import NOBODY, Decision, Event, Request, SpeechAct, Trace
from harness.branch.branch import (
    ChangeError,
    Choose,
    Player,
    Prefix,
    Roles,
    Say,
    Steer,
    branch,
    effects,
    effects_table,
    resample,
)
from harness.branch.change_words import change_of
from harness.branch.changes import EXPERIMENTER, locate
from harness.branch.effects import paired_shares
from harness.branch.plan import emitted
from harness.check.check import check_run
from harness.config.files import parse_config
from harness.config.sections import Config
from harness.errors import RunFolderError
from harness.play.factory import make_agent
from harness.replay.replay import Replay, open_replay
from harness.run.folder import load_run
from harness.schedule.branched import continuation_seed, origin_of, schedule_of
from tests.fixtures.edits import edit_manifest, reseal
from tests.fixtures.local_runs import branch_here, play_run
from tests.fixtures.player_fixtures import FakeBackend, transcript_line
from tests.fixtures.view_runs import scripted_run
from tests.harness.test_capture_playing import played

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_run(tmp_path_factory.mktemp("branch") / "run", games=3)


@pytest.fixture(scope="module")
def replay(run: Path) -> Replay:
    return open_replay(run, "0")


def first(replay: Replay, kind: str) -> Decision:
    return next(r for r in replay.records if isinstance(r, Decision) and r.kind == kind)


def other_option(decision: Decision) -> int:
    return next(o for o in decision.options if o not in (decision.action.option, NOBODY))


def arms(path: Path) -> dict[str, list]:
    """arm -> logs, in the order of k."""
    made = load_run(path)
    found: dict[str, list] = {"changed": [], "unchanged": []}
    for game_id in made.game_ids:
        found[made.cell(game_id).factors["arm"]].append(made.records(game_id))
    return found


# --- what is changed and what is not ---


def test_ballot_is_changed_and_everything_before_it_is_the_recorded_game(
    run: Path, replay: Replay, tmp_path: Path
) -> None:
    ballot = first(replay, "ballot")
    path = branch(run, "0", ballot.seq, Choose(other_option(ballot)), 4, tmp_path / "b")
    logs = arms(path)
    assert len(logs["changed"]) == len(logs["unchanged"]) == 4
    for log in logs["changed"]:
        assert log[: ballot.seq] == replay.records[: ballot.seq]
        assert log[ballot.seq].action.option == other_option(ballot)
        assert log[ballot.seq].agent == EXPERIMENTER
    for log in logs["unchanged"]:
        assert log[: ballot.seq + 1] == replay.records[: ballot.seq + 1]


def test_other_ballots_of_the_same_wave_stay(run: Path, replay: Replay, tmp_path: Path) -> None:
    ballot = first(replay, "ballot")
    point = locate(replay, ballot.seq)
    path = branch(run, "0", ballot.seq, Choose(other_option(ballot)), 2, tmp_path / "b")
    for log in arms(path)["changed"]:
        kept = [d for d in log[point.start : point.end] if d.seq != ballot.seq]
        assert kept == [d for d in point.wave if d.seq != ballot.seq]


def test_words_become_acts_and_acts_become_words(run: Path, replay: Replay, tmp_path: Path) -> None:
    speech = first(replay, "speech")
    other = (speech.seat + 1) % 7
    name = replay.seats[other].name
    spoken = branch(run, "0", speech.seq, Say(text=f"Well. I accuse {name}."), 1, tmp_path / "text")
    acted = branch(run, "0", speech.seq, Say(acts=(SpeechAct("accuse", other),)), 1, tmp_path / "acts")
    said, done = (arms(path)["changed"][0][speech.seq].action for path in (spoken, acted))
    assert said.acts == done.acts == (SpeechAct("accuse", other),)
    assert done.text == f"I accuse {name}."


def test_roles_are_exchanged_from_the_deal_on(run: Path, replay: Replay, tmp_path: Path) -> None:
    roles = [fact.role for fact in replay.seats]
    wolf, villager = roles.index("werewolf"), roles.index("villager")
    start = next(r.seq for r in replay.records if isinstance(r, Decision))
    path = branch(run, "0", start, Roles(wolf, villager), 2, tmp_path / "b")
    made = load_run(path)
    for game_id in made.game_ids:
        dealt = open_replay(path, game_id).seats
        changed = made.cell(game_id).factors["arm"] == "changed"
        assert dealt[villager].role == ("werewolf" if changed else "villager")
    assert check_run(path) == []


def test_seat_gets_another_player_from_the_decision_on(run: Path, replay: Replay, tmp_path: Path) -> None:
    speech = first(replay, "speech")
    path = branch(
        run, "0", speech.seq, Player(speech.seat, settings={"policy": "cautious"}), 3, tmp_path / "b"
    )
    made = load_run(path)
    for log in arms(path)["changed"]:
        later = [r.agent for r in log[speech.seq :] if isinstance(r, Decision) and r.seat == speech.seat]
        assert set(later) == {f"{speech.agent}+changed"}
    assert made.manifest.config["agents"][f"{speech.agent}+changed"]["policy"] == "cautious"


def test_another_player_of_the_run_can_take_the_seat(run: Path, replay: Replay, tmp_path: Path) -> None:
    speech = first(replay, "speech")
    agent = next(name for name in ("loud", "claimer", "bluffer") if name != speech.agent)
    path = branch(run, "0", speech.seq, Player(speech.seat, agent), 1, tmp_path / "b")
    assert arms(path)["changed"][0][speech.seq].agent == agent


# --- a run like any other ---


def test_branch_knows_its_parent_and_is_sound(run: Path, replay: Replay, tmp_path: Path) -> None:
    ballot = first(replay, "ballot")
    path = branch(run, "0", ballot.seq, Choose(other_option(ballot)), 3, tmp_path / "b")
    origin = origin_of(load_run(path).manifest)
    assert origin is not None
    assert (origin.game_id, origin.seq, origin.run) == (replay.game_id, ballot.seq, str(run.resolve()))
    assert check_run(path) == []


def test_same_branch_gives_the_same_games(run: Path, replay: Replay, tmp_path: Path) -> None:
    ballot = first(replay, "ballot")
    paths = [branch(run, "0", ballot.seq, Choose(other_option(ballot)), 3, tmp_path / name) for name in "ab"]
    assert arms(paths[0]) == arms(paths[1])


def test_interrupted_branch_goes_on_and_plays_nothing_twice(
    run: Path, replay: Replay, tmp_path: Path
) -> None:
    ballot = first(replay, "ballot")
    change = Choose(other_option(ballot))
    whole = branch(run, "0", ballot.seq, change, 3, tmp_path / "whole")
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    for table in cut.glob("*.parquet"):
        table.unlink()
    journal = cut / "journal" / "s0001-r000.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]) + lines[len(lines) // 2][:20])
    edit_manifest(cut, status="playing")
    branch(run, "0", ballot.seq, change, 3, cut)
    assert arms(cut) == arms(whole)


def test_continuations_differ_and_arms_are_paired(run: Path, replay: Replay, tmp_path: Path) -> None:
    speech = first(replay, "speech")
    path = resample(run, "0", speech.seq, 12, tmp_path / "r")
    logs = arms(path)["unchanged"]
    assert len({tuple(r.action.text for r in log if isinstance(r, Decision)) for log in logs}) > 1
    schedule = list(schedule_of(load_run(path).manifest))
    assert [p.seed for p in schedule] == [continuation_seed(replay.seed, speech.seq, k) for k in range(12)]
    ballot = first(replay, "ballot")
    both = branch(run, "0", ballot.seq, Choose(other_option(ballot)), 5, tmp_path / "b")
    seeds = [p.seed for p in schedule_of(load_run(both).manifest)]
    assert seeds[0::2] == seeds[1::2] and len(set(seeds)) == 5


def test_branch_of_a_branch(run: Path, replay: Replay, tmp_path: Path) -> None:
    speech = first(replay, "speech")
    once = resample(run, "0", speech.seq, 2, tmp_path / "once")
    child = open_replay(once, "1")
    twice = branch(
        once,
        "1",
        first(child, "ballot").seq,
        Choose(other_option(first(child, "ballot"))),
        2,
        tmp_path / "twice",
    )
    assert check_run(twice) == []
    at = first(child, "ballot").seq
    assert all(log[:at] == child.records[:at] for log in arms(twice)["changed"])


def test_resample_may_keep_the_decision(run: Path, replay: Replay, tmp_path: Path) -> None:
    speech = first(replay, "speech")
    path = resample(run, "0", speech.seq, 4, tmp_path / "r", keep=True)
    assert all(log[speech.seq] == replay.records[speech.seq] for log in arms(path)["unchanged"])
    assert not [e for e in effects(path).effects if e.kind == "decision"]


# --- the effect ---


def test_what_the_changed_seat_itself_believes_is_not_what_others_do(
    run: Path, replay: Replay, tmp_path: Path
) -> None:
    ballot = first(replay, "ballot")
    path = branch(run, "0", ballot.seq, Choose(other_option(ballot)), 2, tmp_path / "b")
    games = pl.read_parquet(path / "games.parquet").select("game_id", "cell").rows()
    seats = [i for i in range(7) if i != ballot.seat]
    stated = [
        {
            "game_id": g,
            "seq": 1000,
            "viewer": viewer,
            "subject": seats[0],
            "source": "stated",
            "p_werewolf": p,
        }
        for g, cell in games
        for viewer, p in ((ballot.seat, float(cell == 0)), (seats[1], 0.5))
    ]
    file = path / "beliefs.parquet"
    pl.DataFrame(stated, schema_overrides=pl.read_parquet_schema(file)).pipe(
        lambda rows: pl.concat([pl.read_parquet(file), rows], how="diagonal_relaxed")
    ).write_parquet(file)
    reseal(path)
    (effect,) = [e for e in effects(path).effects if e.kind == "belief"]
    assert (effect.unchanged, effect.changed) == (0.5, 0.5)


def test_decisive_ballot_shows_in_the_next_exile(run: Path, replay: Replay, tmp_path: Path) -> None:
    """The change decides the exile in every continuation, so its share goes from 0 to 1 or stays: never in between."""
    ballot = first(replay, "ballot")
    path = branch(run, "0", ballot.seq, Choose(other_option(ballot)), 20, tmp_path / "b")
    found = effects(path)
    exiles = [e for e in found.effects if e.kind == "next_exile"]
    assert exiles and all(e.changed in (0.0, 1.0) and e.unchanged in (0.0, 1.0) for e in exiles)
    outcomes = [e for e in found.effects if e.kind == "outcome"]
    assert sum(e.unchanged for e in outcomes) == pytest.approx(1, abs=1e-3)
    assert all(e.low <= e.difference <= e.high for e in found.effects if e.difference is not None)
    assert found.bits["next_exile"] == 0
    beliefs = [e for e in found.effects if e.kind == "belief"]
    assert len(beliefs) == 7 and all(0 <= e.unchanged <= 1 and "exact posterior" in e.what for e in beliefs)
    assert "others' next ballots" in effects_table(found)


def test_change_to_the_same_kind_of_player_has_no_effect(run: Path, replay: Replay, tmp_path: Path) -> None:
    """Paired seeds: two arms that differ in a name alone play the same games."""
    speech = first(replay, "speech")
    same = {"settings": {"sharpness": {"loud": 0.7, "claimer": 1.0, "bluffer": 1.0}[speech.agent]}}
    path = branch(run, "0", speech.seq, Player(speech.seat, settings=same), 10, tmp_path / "b")
    assert all(e.difference == 0 for e in effects(path).effects)


def test_interval_of_paired_shares_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        shared = rng.random(40) < 0.5
        a = (shared & (rng.random(40) < 0.8)) | (rng.random(40) < 0.1)
        b = (shared & (rng.random(40) < 0.5)) | (rng.random(40) < 0.1)
        low, high = paired_shares(a.astype(float), b.astype(float))
        truth = (0.5 * (0.8 + 0.2 * 0.1) + 0.5 * 0.1) - (0.5 * (0.5 + 0.5 * 0.1) + 0.5 * 0.1)
        inside += low <= truth <= high
    assert 0.92 <= inside / 400 <= 1.0


def test_interval_of_paired_shares_equals_newcombes_published_example() -> None:
    """Newcombe 1998, table II: 36 both, 12 first only, 2 second only, 0 neither: 0.20 (0.0569 to 0.3404)."""
    a = np.array([1.0] * 36 + [1.0] * 12 + [0.0] * 2)
    b = np.array([1.0] * 36 + [0.0] * 12 + [1.0] * 2)
    assert paired_shares(a, b) == (pytest.approx(0.0569, abs=2e-3), pytest.approx(0.3404, abs=2e-3))


# --- what is refused, and why ---


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        ("ballot", Choose(55), "it could choose: "),
        ("ballot", Say(text="hello"), "takes no words"),
        ("speech", Choose(0), "takes words only"),
        ("speech", Say(acts=(SpeechAct("accuse"),)), "needs subject"),
        ("speech", Say(acts=(SpeechAct("claim_role", role="king"),)), "it can name: villager, werewolf"),
        ("speech", Roles(0, 0), "nothing would change"),
        ("speech", Player(0, "nobody-knows"), "the run has no player"),
        ("speech", Prefix("I "), "only a model has words"),
        ("speech", Steer(0, "x.npy", 1), "there is nothing to steer"),
    ],
)
def test_change_that_does_not_fit_is_refused(
    run: Path, replay: Replay, tmp_path: Path, kind: str, change: object, why: str
) -> None:
    with pytest.raises(ChangeError, match=why):
        branch(run, "0", first(replay, kind).seq, change, 1, tmp_path / "b")  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()


def test_roles_that_the_log_contradicts_are_refused(run: Path, replay: Replay, tmp_path: Path) -> None:
    roles = [fact.role for fact in replay.seats]
    ballot = first(replay, "ballot")
    with pytest.raises(ChangeError, match="before anyone has acted on"):
        branch(
            run, "0", ballot.seq, Roles(roles.index("werewolf"), roles.index("villager")), 1, tmp_path / "b"
        )


def test_record_that_is_no_decision_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is no decision"):
        resample(run, "0", 0, 1, tmp_path / "b")
    with pytest.raises(RunFolderError, match="is no branch"):
        effects(run)


def test_exactly_one_change_is_asked_for(replay: Replay) -> None:
    at = first(replay, "speech").seq
    with pytest.raises(ChangeError, match="found none"):
        change_of(replay, at)
    with pytest.raises(ChangeError, match="found words or acts, a choice"):
        change_of(replay, at, say="x", choose="nobody")
    name = replay.seats[4].name
    said = change_of(replay, at, acts=(f"report_inspection:{name}:werewolf", "retract"))
    assert said == Say(acts=(SpeechAct("report_inspection", 4, "werewolf"), SpeechAct("retract")))
    assert change_of(replay, at, choose="nobody") == Choose(NOBODY)
    assert change_of(replay, at, seat="2", settings=("sampling.temperature=0.5",)) == Player(
        2, settings={"sampling.temperature": 0.5}
    )


def test_a_saved_probe_is_steered_at_the_layer_of_its_card_and_a_bare_vector_needs_one(
    replay: Replay, tmp_path: Path
) -> None:
    at = first(replay, "speech").seq
    vector = tmp_path / "probe.safetensors"
    with pytest.raises(ChangeError, match=r"--steer needs --layer .* where no card of a saved probe"):
        change_of(replay, at, steer=vector)
    vector.with_suffix(".json").write_text('{"layer": "resid_post.4", "site": "belief_mention"}')
    for asked, meant in ((None, 4), (2, 2)):
        change = change_of(replay, at, steer=vector, layer=asked)
        assert isinstance(change, Steer) and change.layer == meant


# --- forks of games ---


def test_fork_draws_as_the_recorded_game_before_and_anew_after() -> None:
    game = load_game("werewolf")
    config = game.configure(preset="kaggle-8")
    _, recorded = fold(game, config, 11, ())
    forked = Forked(game, Fork(11, 10_000))
    assert fold(forked, config, 99, ())[1] == recorded
    steps = play(forked, config, 99)
    assert [r for r in next(steps).new if isinstance(r, Event)] == recorded


def test_command_line_names_the_effect_and_the_folder(run: Path, replay: Replay, tmp_path: Path) -> None:
    ballot = first(replay, "ballot")
    out = tmp_path / "cli"
    words = [
        "branch",
        run,
        "0",
        "--at",
        ballot.seq,
        "--choose",
        f"player_{other_option(ballot)}",
        "--n",
        2,
        "--out",
        out,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "outcome" in done.stdout and done.stdout.splitlines()[-1] == str(out)
    assert (out / "branch.json").is_file()


def test_edited_decision_of_a_model_keeps_its_prompt(replay: Replay) -> None:
    from harness.branch.plan import untraced

    traced = msgspec.structs.replace(first(replay, "speech"), trace=Trace(model="m@0", prompt_ids=(1, 2)))
    assert untraced(traced, traced.seat) == msgspec.structs.replace(traced, trace=None)
    assert untraced(traced, traced.seat + 1) is traced


# --- models ---


class Echo:
    """A backend that ends the line at once and keeps the prompts that it was given."""

    model, capabilities = "echo@0", Capabilities()

    def __init__(self, end: int) -> None:
        self.end = end
        self.prompts: list[Prompt] = []

    async def generate(self, prompts: list[Prompt]) -> list[Generation]:
        self.prompts += prompts
        return [Generation(output_ids=(self.end,), text="\n") for _ in prompts]

    async def close(self) -> None:
        return


def small_config(**agent: object) -> Config:
    return parse_config(
        {
            "agents": {"small": {"kind": "llm", "backend": "small", "retries": 0, **agent}},
            "backends": {"small": {"kind": "transformers", "model": "small"}},
            "roster": {"mix": {"small": 7}},
        }
    )


def test_late_decision_of_a_model_is_found(tmp_path: Path) -> None:
    backend = FakeBackend(make_tokenizer(), transcript_line)
    config = parse_config(small_config().plain() | {"run": {"games": 1, "seed": 3}})
    path = play_run(config, tmp_path / "run", {"small": backend})
    replay = open_replay(path, "0")
    late = [r for r in replay.records if isinstance(r, Decision) and r.trace and r.trace.continues]
    assert late
    for decision in late[:: len(late) // 4]:
        point = locate(replay, decision.seq)
        assert point.decision == decision


def test_output_of_one_decision_begins_with_the_given_words(replay: Replay) -> None:
    plain = small_config()
    encoder = make_agent("small", plain, {"small": Echo(0)}).encoder  # type: ignore[attr-defined]
    echo = Echo(encoder.newline[0])
    begun = small_config(settings={"prefix": {"text": "I accuse", "decision": 0}})
    player = make_agent("small", begun, {"small": echo})
    speech = first(replay, "speech")
    decisions = [r for r in replay.records if isinstance(r, Decision)]
    seat = next(d.seat for d in decisions if d.kind == "speech" and own(replay, d) == 0)
    request = Request(seat, "speech", (), True, speech.day, speech.phase)
    seen = observe(replay.game, "g", replay.config, replay.seed, replay.records[: speech.seq], request)
    reply = asyncio.run(player.act(seen))
    given = tuple(encoder.encode("I accuse")[0])
    assert reply.trace is not None and reply.trace.output_ids[: len(given)] == given
    assert echo.prompts[0].ids[-len(given) :] == given
    later = observe(replay.game, "g", replay.config, replay.seed, replay.records, request)
    asyncio.run(player.act(later))
    assert echo.prompts[-1].ids[-len(given) :] != given


def own(replay: Replay, decision: Decision) -> int:
    """Decisions of the same seat before this one."""
    return sum(isinstance(r, Decision) and r.seat == decision.seat for r in replay.records[: decision.seq])


def test_edited_words_of_a_model_are_its_own_tokens(replay: Replay) -> None:
    config = small_config()
    speech = first(replay, "speech")
    action = msgspec.structs.replace(speech.action, text="I accuse Ada.")
    made = emitted(config, "small", replay, speech, action)
    assert made is not None
    ids, text = made
    encoder = make_agent("small", config, {"small": Echo(0)}).encoder  # type: ignore[attr-defined]
    assert "".join(text.split()) == 'IaccuseAda."' and encoder.decode(ids) == text


@pytest.mark.slow
@pytest.mark.xdist_group("engine")
def test_model_seat_is_branched_and_steered_through_ray(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {
        "run": {"name": "small", "games": 1, "seed": 5},
        "game": {"preset": "classic-7"},
        "agents": {
            "small": {"kind": "llm", "backend": "small", "sampling": {"max_tokens": 32}},
            "loud": {"kind": "scripted", "policy": "loud"},
        },
        "backends": {"small": {"kind": "transformers", "model": "small", "device": "cpu"}},
        "roster": {"mix": {"small": 2, "loud": 5}},
    }
    run = played(tmp_path / "run", parse_config(plain))
    replay = open_replay(run, "0")
    speech = next(
        r for r in replay.records
        if isinstance(r, Decision) and r.kind == "speech" and r.agent == "small" and r.trace is not None
    )  # fmt: skip
    words = f"I accuse {replay.seats[(speech.seat + 1) % 7].name}."
    with monkeypatch.context() as here:
        branch_here(here, {"small": load_hooked_backend(SMALL_MODEL, device="cpu")})
        said = branch(run, "0", speech.seq, Say(text=words), 1, tmp_path / "say")
    assert check_run(said) == []
    edited = arms(said)["changed"][0][speech.seq]
    assert edited.trace is not None and edited.trace.prompt_ids == speech.trace.prompt_ids
    vector = tmp_path / "direction.npy"
    np.save(vector, np.random.default_rng(0).normal(size=d_model()).astype(np.float32))
    steered = branch(
        run, "0", speech.seq, Steer(speech.seat, str(vector), 2, scale=4.0), 1, tmp_path / "steer"
    )
    assert check_run(steered) == []
    first_outputs = {arm: logs[0][speech.seq].trace.output_text for arm, logs in arms(steered).items()}
    assert first_outputs["changed"] != first_outputs["unchanged"]


def d_model() -> int:
    return int(json.loads((SMALL_MODEL / "config.json").read_text())["hidden_size"])
