"""Learning from outcomes: what is rolled out is what a tournament plays, and what is learned from is one's own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors import safe_open

from agents.backends.base import Prompt, Sampling
from agents.backends.hooked.backend import HookedBackend, load_hooked_backend
from agents.hooks.model import hook_model
from agents.llm.transcript import TranscriptPlayer
from agents.models.folder import load_tokenizer
from agents.models.small import SMALL_MODEL
from agents.policies import make_policy, players_of
from games import load_game
from games.log import dumps
from games.play import Answer
from games.records import Decision
from harness.cli import main
from harness.model_evaluation.playing import play_game
from harness.training.selfplay.advantages import Baselines, advantages, credit
from harness.training.selfplay.contexts import LearnerContext, Own, contexts_of
from harness.training.selfplay.held_out import HELD_OUT
from harness.training.selfplay.learner import load
from harness.training.selfplay.lockstep import Planned, Played, play_side_by_side, play_together
from harness.training.selfplay.partners import cell_plan, play_pair
from harness.training.selfplay.pool import LEARNER, casts, draw_opponents, plan, player
from harness.training.selfplay.sampler import Sampler
from harness.training.selfplay.settings import (
    ObjectiveSection,
    OpponentSection,
    SelfPlayConfig,
    SelfPlayError,
    load_settings,
    shipped,
)
from harness.training.selfplay.step import check_weights, collate
from harness.training.selfplay.train import Training
from tests.fixtures.tiny_models import tiny_model

GAME = load_game("werewolf")
RULES = GAME.configure(preset="probe-6")
SHORT: dict[str, Any] = {
    "preset": "probe-6",
    "games": 4,
    "checkpoints": 1,
    "rollouts": {"deals": 1, "group": 2},
    "optimiser": {"steps": 1, "warmup": 0, "fall": 0.0},
}


@pytest.fixture(scope="module")
def played() -> list[Played]:
    """Two games in lock-step in which the shipped model has every seat."""
    hooked = load(SMALL_MODEL)
    sampler = Sampler(hooked.model, hooked.name, tokenizer=hooked.tokenizer, eos=hooked.eos)
    planned = [Planned(f"held-out-{seed}", RULES, seed, seed, ("small",) * 6) for seed in (5, 6)]
    return play_together(planned, {"small": player("small", sampler)})


def test_a_rollout_is_token_for_token_the_game_that_the_hooked_backend_plays(played: list[Played]) -> None:
    async def hooked_games() -> list[list[Any]]:
        backend = load_hooked_backend(SMALL_MODEL)
        theirs = TranscriptPlayer("small", backend, load_tokenizer(SMALL_MODEL))

        async def answer(seen: Any, _: Any) -> list[Answer]:
            return [Answer(reply, "small") for reply in await asyncio.gather(*map(theirs.act, seen))]

        logs = await asyncio.gather(
            *(play_game(load_game("werewolf"), RULES, seed, answer) for seed in (5, 6))
        )
        await backend.close()
        return list(logs)

    for one, log in zip(played, asyncio.run(hooked_games()), strict=True):
        assert [without_numbers(r) for r in one.log] == [without_numbers(r) for r in log]
        ours, theirs = (
            [x for r in some if isinstance(r, Decision) for x in r.trace.logprobs] for some in (one.log, log)
        )
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_parts_of_a_rollout_are_the_same_on_one_core_and_side_by_side(
    played: list[Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked = load(SMALL_MODEL)
    logs = []
    for n_cores in (1, 2):
        monkeypatch.setattr("os.cpu_count", lambda n=n_cores: n)
        some = play_side_by_side([one.planned for one in played], casts({"small": hooked}))
        assert [one.planned for one in some] == [one.planned for one in played]
        logs.append([dumps(one.log) for one in some])
    assert logs[0] == logs[1]


def without_numbers(record: Any) -> Any:
    """A record without what may differ by rounding or by how a batch was made."""
    if not isinstance(record, Decision) or record.trace is None:
        return record
    return replace(record, trace=replace(record.trace, logprobs=(), n_cached=0, model=""))


def test_own_tokens_are_all_that_is_learned_from(played: list[Played]) -> None:
    contexts = contexts_of(played[0], 0, {"small"})
    decisions = {r.seq: r for r in played[0].log if isinstance(r, Decision)}
    assert [c.seat for c in contexts] == sorted({r.seat for r in decisions.values()})
    for c in contexts:
        for own in c.own:
            assert decisions[own.seq].seat == c.seat
            assert tuple(c.ids[own.start : own.end]) == decisions[own.seq].trace.output_ids
    batch = collate(contexts)
    made = sum(len(own.logprobs) for c in contexts for own in c.own)
    assert len(batch.tokens) == made == sum(len(r.trace.output_ids) for r in decisions.values())
    for row, column, token in zip(batch.rows, batch.columns, batch.tokens, strict=True):
        assert batch.ids[row, column + 1] == token


def test_a_fallback_is_in_the_context_and_not_learned_from(played: list[Played]) -> None:
    at, decision = next((i, r) for i, r in enumerate(played[0].log) if isinstance(r, Decision))
    log = [*played[0].log]
    log[at] = replace(decision, fallback="malformed")
    whole, less = (
        {c.seat: c for c in contexts_of(Played(played[0].planned, some), 0, {"small"})}
        for some in (played[0].log, log)
    )
    assert less[decision.seat].ids == whole[decision.seat].ids
    assert [own.seq for own in whole[decision.seat].own[1:]] == [own.seq for own in less[decision.seat].own]


def test_a_situation_counts_who_lives_of_the_own_side_and_of_the_others(played: list[Played]) -> None:
    for c in contexts_of(played[0], 0, {"small"}):
        n = sum(role == "werewolf" for role in (f.role for f in GAME.seats(RULES, played[0].log)))
        first = f"{n}/{6 - n}" if c.role == "werewolf" else f"{6 - n}/{n}"
        assert c.passed[0] == f"{c.role} {first}"
        assert {own.situation for own in c.own} <= set(c.passed)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_the_sampler_draws_what_the_hooked_backend_draws(family: str) -> None:
    model = tiny_model(family)
    rng = np.random.default_rng(0)

    def prompts(heads: list[tuple[int, ...]]) -> list[Prompt]:
        out = []
        for i, head in enumerate(heads):
            new = tuple(int(x) for x in rng.integers(4, 96, 3 + 5 * i))
            choices = ((7, 8, 9), (7, 9, 4), (11, 5)) if i == 1 else ()
            sampling = Sampling(max_tokens=6, seed=i, stop_ids=(10,), choices=choices)
            out.append(Prompt(head + new, sampling, session=f"g/{i}"))
        return out

    first = prompts([()] * 4)
    sampler = Sampler(model, "tiny", tokenizer=Decoder(), batch_rows=3)
    ours = sampler.answer(first)
    second = prompts([p.ids + g.output_ids for p, g in zip(first, ours, strict=True)])
    ours += sampler.answer(second)

    async def theirs() -> list[Any]:
        backend = HookedBackend(hook_model(model, "tiny"))
        found = [*await backend.generate(first), *await backend.generate(second)]
        await backend.close()
        return found

    for mine, other in zip(ours, asyncio.run(theirs()), strict=True):
        assert (mine.output_ids, mine.finish_reason) == (other.output_ids, other.finish_reason)
        np.testing.assert_allclose(mine.logprobs, other.logprobs, atol=1e-4)
    assert all(g.n_cached > 0 for g in ours[4:])


class Decoder:
    """A tokenizer that decodes nothing."""

    def decode(self, ids: Any, **_: Any) -> str:
        return ""


def made(game: int, won: bool, role: str = "werewolf", deal: int = 0, own: int = 2) -> LearnerContext:
    """A context of one decision in each of two situations."""
    situations = [f"{role} 2/5", f"{role} 2/3"]
    owns = [Own(k, "ballot", 3 + k, 4 + k, (-1.0,), s) for k, s in enumerate(situations)]
    return LearnerContext([1] * 8, owns, 0, role, game, deal, "them", won, "w", situations[-1], situations)


def test_a_baseline_is_read_before_its_game_enters_it_and_is_of_its_role_alone() -> None:
    baselines = Baselines(0.9)
    first = [made(0, True), made(1, False, role="seer", deal=1)]
    credit(first, baselines, ObjectiveSection(group_prior=1e9))
    assert [own.advantage for c in first for own in c.own] == [0.5, 0.5, -0.5, -0.5]
    again = [made(2, True, deal=2), made(3, True, role="seer", deal=3)]
    credit(again, baselines, ObjectiveSection(group_prior=1e9))
    assert [c.own[0].advantage for c in again] == [0.0, 1.0]


def test_a_deal_counts_by_its_other_games_and_never_by_its_own() -> None:
    group = [made(0, True), made(1, True), made(2, False)]
    credit(group, Baselines(0.9), ObjectiveSection(group_prior=0.0))
    assert [c.own[0].advantage for c in group] == pytest.approx([0.5, 0.5, -1.0])


def test_without_a_trace_a_decision_is_credited_with_the_next_change_alone() -> None:
    assert advantages([0.5, 0.8, 0.6], 1.0, 1.0) == pytest.approx([0.5, 0.2, 0.4])
    assert advantages([0.5, 0.8, 0.6], 1.0, 0.0) == pytest.approx([0.3, -0.2, 0.4])


def test_opponents_come_by_their_shares_and_earlier_states_only_once_there_are_some() -> None:
    opponents = OpponentSection(scripted=0.5, past=0.5, characters={"naive": 1.0, "loud": 3.0})
    drawn = [draw_opponents(opponents, ["000100"], 5, np.random.default_rng(i)) for i in range(400)]
    assert 0.4 < np.mean([kind == "past" for kind, _ in drawn]) < 0.6
    seats = [name for kind, cast in drawn if kind == "scripted" for name in cast]
    assert 0.7 < np.mean([name == "loud" for name in seats]) < 0.8
    assert {draw_opponents(opponents, [], 5, np.random.default_rng(i))[0] for i in range(50)} == {"scripted"}


@pytest.mark.parametrize("name", shipped())
def test_what_ships_never_trains_against_what_measures_it(name: str) -> None:
    opponents = load_settings(name).opponents
    assert not {*opponents.characters, *opponents.frozen} & set(HELD_OUT)


def test_games_of_one_deal_differ_in_the_players_draws_alone() -> None:
    config = SelfPlayConfig(rollouts={"deals": 2, "group": 3})  # type: ignore[arg-type]
    rules = GAME.configure(preset="classic-7")
    games = plan(config, rules, 4, [])
    assert games == plan(config, rules, 4, [])
    assert [
        len({getattr(g, f) for g in games if g.deal == 0}) for f in ("seed", "agents", "players_seed")
    ] == [1, 1, 3]
    learners = [
        GAME.seats(rules, GAME.start(rules, g.seed)[1])[s].role
        for g in games
        for s, a in enumerate(g.agents)
        if a == LEARNER
    ]
    assert set(learners) == {"werewolf"}


def test_the_games_of_another_game_are_planned_by_its_sides_and_played_by_its_rules() -> None:
    game = load_game("avalon")
    policy, *_ = players_of(game).policies()
    settings = {
        "game": "avalon",
        "side": "alternate",
        "opponents": {"characters": {policy: 1.0}},
        "rollouts": {"deals": 2, "group": 1},
    }
    config = SelfPlayConfig.model_validate(settings)
    rules = game.configure(preset=config.preset)
    for iteration, side in enumerate(game.sides):
        planned = plan(config, rules, iteration, [])
        everyone = dict.fromkeys((LEARNER, policy), make_policy(game, policy, policy, {}))
        for one in play_together(planned, everyone):
            mine = [fact.faction == side for fact in game.seats(rules, one.log)]
            assert [agent == LEARNER for agent in one.planned.agents] == mine
            assert next(r.value for r in one.log if r.kind == "outcome") in game.sides
    with pytest.raises(ValueError, match="side = 'village' is none of avalon; there are: evil, good"):
        SelfPlayConfig.model_validate(settings | {"side": "village"})


def trained(out: Path, config: SelfPlayConfig, iterations: int) -> Training:
    (out / "training").mkdir(parents=True, exist_ok=True)
    training = Training(config, out, out / "training", lambda _: None)
    training.go_on()
    for _ in range(iterations):
        training.iterate()
    return training


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    config = SelfPlayConfig(**SHORT, save_every=1)
    whole = trained(tmp_path / "whole", config, 2)
    trained(tmp_path / "stopped", config, 1)
    resumed = trained(tmp_path / "stopped", config, 1)
    assert whole.learner.hash() == resumed.learner.hash()
    ours, theirs = (
        [json.loads(x) for x in (tmp_path / n / "training/curve.jsonl").read_text().split("\n") if x]
        for n in ("whole", "stopped")
    )
    timing = {"rollout_s", "step_s"}
    assert [{k: v for k, v in x.items() if k not in timing} for x in ours] == [
        {k: v for k, v in x.items() if k not in timing} for x in theirs
    ]
    assert all(line["first_ratio"] < 1e-3 and line["gap"] < 1e-4 for line in ours)
    assert ours[0]["weights"] != ours[1]["weights"]
    assert {"ballot", "night_kill", "speech"} == set(ours[0]["entropy"])
    kept = tmp_path / "whole" / "checkpoints" / "000004"
    assert load(kept, "auto").dtype == torch.float32
    with safe_open(kept / "model.safetensors", "pt") as stored:
        assert {stored.get_tensor(name).dtype for name in stored.keys()} == {torch.bfloat16}  # noqa: SIM118
    with pytest.raises(SelfPlayError, match="other settings"):
        trained(tmp_path / "stopped", config.model_copy(update={"seed": 9}), 0)


def test_rollouts_of_other_weights_and_a_sampler_that_drifts_are_refused(tmp_path: Path) -> None:
    training = trained(tmp_path, SelfPlayConfig(**SHORT), 0)
    contexts = [c for i, p in enumerate(training.rollouts()) for c in contexts_of(p, i, {LEARNER})]
    with pytest.raises(SelfPlayError, match="two policies"):
        check_weights(contexts, "0" * 16)
    for c in contexts:
        for own in c.own:
            own.logprobs = tuple(x - 0.1 for x in own.logprobs)
    with pytest.raises(SelfPlayError, match="not of one policy"):
        training.learn(contexts)


def test_the_verb_names_what_ships_where_a_configuration_is_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train-by-outcome", "wolves", "nowhere"])
    assert stopped.value.code == 2
    assert "werewolves" in capsys.readouterr().err


def test_a_pairs_games_are_kept_and_a_stranger_has_one_of_the_seats(tmp_path: Path) -> None:
    rules = load_game("werewolf").configure(preset="probe-6")
    first = play_pair(Path("small"), Path("small"), tmp_path, games=2, preset="probe-6")
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.jsonl")}
    again = play_pair(Path("small"), Path("small"), tmp_path, games=2, preset="probe-6")
    assert [p.log for p in first] == [p.log for p in again] and len(files) == 2
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.jsonl")}
    own, strange = (cell_plan(GAME, rules, 6, "werewolf", strangers) for strangers in (False, True))
    assert [p.seed for p in own] == [p.seed for p in strange]
    assert all(p.agents.count("learner") == 2 for p in own)
    assert all(p.agents.count("learner") == p.agents.count("stranger") == 1 for p in strange)
    assert len({p.agents.index("learner") < p.agents.index("stranger") for p in strange}) == 2
    with pytest.raises(SelfPlayError, match="talk among themselves"):
        play_pair(Path("small"), Path("small"), tmp_path, games=1, preset="secretmafia-7")
