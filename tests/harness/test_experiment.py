"""An experiment draws before it asks, asks exactly, refuses what cannot answer, and goes on after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from agents.hooks.intervention import Intervention
from agents.hooks.model import hook_model
from games.records import Event, SpeechAct
from harness.errors import ConfigurationError, RunFolderError
from harness.experiment.arms import expand
from harness.experiment.checks import games_needed
from harness.experiment.design import Design, ExperimentError, load_design, parse_design, shipped
from harness.experiment.directions import Direction
from harness.experiment.folder import read_manifest
from harness.experiment.moments import draw_moments
from harness.experiment.run import run_experiment
from harness.experiment.scenes import Scenes, positions
from harness.experiment.scoring.packed import PackedScorer, make_scorer, packs
from harness.experiment.scoring.plain import PlainScorer
from harness.experiment.scoring.questions import Ask
from harness.experiment.words import changed_records
from harness.run.folder import Run, load_run
from tests.fixtures.tiny_models import D_MODEL, N_LAYERS, tiny_model
from tests.harness.test_capture_playing import config_of, played


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(played(tmp_path_factory.mktemp("experiment") / "run", config_of(games=4)))


@pytest.fixture(scope="module")
def vector(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved_vector(tmp_path_factory.mktemp("vector"))


def saved_vector(folder: Path) -> str:
    np.save(folder / "v.npy", np.random.default_rng(0).normal(size=128).astype(np.float32))
    return str(folder / "v.npy")


def design(vector: str, **more: Any) -> Design:
    plain: dict[str, Any] = {
        "name": "test",
        "question": "Does anything happen?",
        "moments": {"n": 6, "per_game": 3},
        "directions": {"v": {"vector": vector, "layer": 3}},
        "arms": [
            {"name": "push", "kind": "direction", "direction": "v", "scales": [0.5, 1.0], "at": "answer"}
        ],
        "controls": {"random": 2, "orthogonal": 1},
        "test": {"smallest": 1.0},
    }
    return parse_design(plain | more)


# --- exact answers ---


def asks_of(vocab: int, n: int = 60) -> list[Ask]:
    rng = np.random.default_rng(1)
    ids = tuple(int(i) for i in rng.integers(4, vocab, size=n))
    # answers of one, two and three tokens, two of which begin alike
    choices = ((9, 2), (10, 11, 2), (10, 12, 13, 2), (14, 2))

    def push(layer: int, *at: int) -> Intervention:
        return Intervention("add", layer, rng.normal(size=D_MODEL).astype(np.float32), at, 1.0)

    patch = Intervention("patch", 0, rng.normal(size=(2, D_MODEL)).astype(np.float32), (n - 3, n - 9))
    return [
        Ask(ids, choices),
        Ask((*ids[:40], 7, *ids[41:]), choices),
        Ask((*ids[:50], 8, 9), choices[:2]),
        Ask(ids, choices, (push(0, n - 1),)),
        Ask(ids, choices, (push(1, 30, n - 5),)),
        Ask(ids, choices, (push(1, n - 5),)),
        Ask(ids, choices, (push(N_LAYERS - 1, n - 1),)),
        Ask((*ids[:50], 8, 9), choices[:2], (push(1, 51),)),
        Ask(ids, choices, (patch,)),
    ]


@pytest.mark.parametrize(
    "family", ["llama", "qwen2", "qwen3", "phi3", "gpt_neox", "gpt2", "mistral", "gemma2"]
)
def test_packed_answers_are_those_of_a_plain_pass_for_each_version(family: str) -> None:
    hooked = hook_model(tiny_model(family), "tiny")
    asks = asks_of(hooked.vocab_size)
    plain = PlainScorer(hooked).score(asks)
    scorer, _ = make_scorer(hooked, asks[:4])
    assert isinstance(scorer, PackedScorer) == (family in ("llama", "qwen2", "qwen3", "phi3", "gpt_neox"))
    for found, expected in zip(scorer.score(asks), plain, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_packed_answers_do_not_depend_on_what_is_asked_with_them_or_was_asked_before() -> None:
    hooked = hook_model(tiny_model("llama"), "tiny")
    asks = asks_of(hooked.vocab_size)
    whole = PackedScorer(hooked).score(asks)
    small, warm = PackedScorer(hooked, max_nodes=20), PackedScorer(hooked)
    for _ in range(2):
        again = warm.score(asks)
    for a, b, c in zip(whole, small.score(asks), again, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        np.testing.assert_allclose(a, c, atol=1e-4)


def test_an_answer_counts_whole_with_what_ends_it() -> None:
    hooked = hook_model(tiny_model("llama"), "tiny")
    ask = asks_of(hooked.vocab_size)[0]
    (found,) = PackedScorer(hooked).score([ask])
    for logprob, choice in zip(found, ask.choices, strict=True):
        with torch.inference_mode():
            logits = hooked.model(input_ids=torch.tensor([[*ask.ids, *choice]])).logits[0].float()
        each = torch.log_softmax(logits, dim=-1)[len(ask.ids) - 1 : -1]
        assert logprob == pytest.approx(float(each[range(len(choice)), list(choice)].sum()), abs=1e-4)


def test_streams_are_block_outputs_whatever_is_cached() -> None:
    hooked = hook_model(tiny_model("llama"), "tiny")
    ids = asks_of(hooked.vocab_size)[0].ids
    with torch.inference_mode():
        states = hooked.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    scorer = PackedScorer(hooked)
    scorer.score([Ask(ids, ((9, 2),))])
    read = scorer.streams(ids, (5, 40), (1, 0))
    np.testing.assert_allclose(read[1, 0].numpy(), states[2][0, 40].numpy(), atol=1e-4)
    np.testing.assert_allclose(read[0, 1].numpy(), states[1][0, 5].numpy(), atol=1e-4)


def test_a_model_with_a_sliding_window_is_not_packed() -> None:
    assert not packs(hook_model(tiny_model("mistral"), "tiny"))


# --- moments ---


def test_moments_are_drawn_by_seed_at_most_so_many_a_game_and_about_players_of_unknown_side(
    run: Run, vector: str
) -> None:
    wanted = design(vector, moments={"n": 7, "per_game": 2, "seed": 3})
    moments = draw_moments(wanted, [run], False)
    assert moments == draw_moments(wanted, [run], False)
    assert moments != draw_moments(design(vector, moments={"n": 7, "per_game": 2, "seed": 4}), [run], False)
    per_game = pl.Series([m.game_id for m in moments]).value_counts()["count"]
    assert per_game.max() <= 2
    for m in moments:
        assert m.subject != m.seat
        assert not (m.role == "werewolf" and m.subject_role == "werewolf")  # it has been told its partner


def test_a_query_keeps_what_it_says(run: Run, vector: str) -> None:
    where = ("faction == village", "day >= 1", "rules_leader > .2")
    moments = draw_moments(design(vector, moments={"n": 50, "where": where}), [run], False)
    assert {m.faction for m in moments} == {"village"}


def test_subjects_follow_their_rule(run: Run, vector: str) -> None:
    for rule in ("leader", "least"):
        for m in draw_moments(design(vector, moments={"n": 20, "subject": rule}), [run], False):
            untold = [p for p in m.belief.values() if 0 < p < 1]
            assert m.belief[m.subject] == pytest.approx((max if rule == "leader" else min)(untold))
    for m in draw_moments(design(vector, moments={"n": 20, "subject": "werewolf"}), [run], False):
        assert m.subject_role == "werewolf"


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ({"where": ["day > 99"]}, "no moment matches.*'day > 99' alone: 0"),
        ({"where": ["mood == good"]}, "no fact is called 'mood'"),
        ({"where": ["day == late"]}, "compares 1 with 'late'"),
        ({"kind": "dance"}, "no model made a decision of kind 'dance'.*ballot"),
    ],
)
def test_a_query_that_finds_nothing_says_why(run: Run, vector: str, moments: Any, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        draw_moments(design(vector, moments=moments), [run], False)


# --- arms ---


def some_direction(width: int = 128, layer: int = 3, own: int | None = 3) -> Direction:
    vector = np.ones(width, dtype=np.float32) / np.sqrt(np.float32(width))
    return Direction("v", vector, layer, "option", own, "made up")


def test_every_push_has_its_controls(vector: str) -> None:
    plain = design(
        vector, controls={}, arms=[{"name": "push", "kind": "direction", "direction": "v", "at": "option"}]
    )
    arms, vectors, _ = expand(plain, {"v": some_direction()}, 8, 128)
    kinds = pl.Series([a.control for a in arms if a.of == "push"]).value_counts()
    assert dict(kinds.iter_rows()) == {
        "": 1, "random": 20, "orthogonal": 20, "sign_flip": 1, "other_layer": 1, "other_subject": 1,
    }  # fmt: skip
    assert [a.control for a in arms if a.of == "unchanged"] == ["", "null", "cold"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    orthogonal = vectors[[a.vector for a in arms if a.control == "orthogonal"]]
    np.testing.assert_allclose(orthogonal @ vectors[0], 0, atol=1e-5)


def test_another_layer_or_place_than_the_directions_own_is_stamped(vector: str) -> None:
    def stamps(**arm: Any) -> list[str]:
        one = design(vector, arms=[{"name": "push", "kind": "direction", "direction": "v", **arm}])
        return expand(one, {"v": some_direction()}, 8, 128)[2]

    assert stamps() == []
    assert "layer 5; the direction was read at layer 3" in stamps(layer=5)[0]
    assert "changed at mentions; the direction was read at option" in stamps(at="mentions")[0]


@pytest.mark.parametrize(
    ("direction", "arm", "message"),
    [
        (some_direction(64), {}, "has 64 numbers, the model's stream has 128"),
        (some_direction(), {"layer": 9}, "layer 9 is named, the model has layers 0 to 7"),
        (some_direction(), {"layer": 7, "at": "option"}, "changes nothing: what leaves the last block"),
    ],
)
def test_a_push_that_cannot_work_is_refused(
    vector: str, direction: Direction, arm: Any, message: str
) -> None:
    one = design(vector, arms=[{"name": "push", "kind": "direction", "direction": "v", **arm}])
    with pytest.raises(ExperimentError, match=message):
        expand(one, {"v": direction}, 8, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": [{"name": "a", "kind": "direction"}]}, "needs direction"),
        ({"arms": [{"name": "a", "kind": "role_line", "do": "paint"}]}, "nothing that a role_line arm does"),
        ({"arms": [{"name": "a", "kind": "patch", "direction": "w"}]}, "there is no direction 'w'"),
        ({"test": {"family": ["b"]}}, "test.family names 'b'"),
        ({"moments": {"where": ["day"]}}, "is no predicate"),
        ({"directions": {"v": {"vector": "x.npy"}}}, "needs layer"),
    ],
)
def test_a_design_that_makes_no_sense_is_refused(vector: str, change: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        design(vector, **change)


def test_positions_are_found_by_meaning(run: Run, vector: str) -> None:
    moment = draw_moments(design(vector), [run], False)[0]
    scene = Scenes(run).scene(moment)
    arms = expand(design(vector), {"v": some_direction()}, 8, 128)[0]
    asked = scene.options(arms[0])
    assert asked is not None
    name = scene.words.names[moment.subject]
    words = scene.encoder.tokenizer.convert_ids_to_tokens(list(asked.ids))
    every = positions(asked, moment.subject, "mentions")
    assert every == tuple(i for i, word in enumerate(words) if word == name)
    assert positions(asked, moment.subject, "option") == every[-1:]
    assert "(" in words[every[-1] - 8 : every[-1]]
    assert positions(asked, moment.subject, "answer") == (len(words) - 1,)
    assert tuple(asked.ids) == tuple(run.prompt_ids(moment.game_id, moment.seq))


def test_changed_utterances_change_one_utterance_alone(run: Run, vector: str) -> None:
    found = 0
    scenes = Scenes(run)
    for moment in draw_moments(design(vector, moments={"n": 30, "per_game": 9}), [run], False):
        scene = scenes.scene(moment)
        records = list(scene.observation.records)
        args = (moment.seat, moment.subject, scene.words, scene.game.text, scene.encoder)
        flip, gap = changed_records(records, "flip", *args), changed_records(records, "remove", *args)
        filler = changed_records(records, "filler", *args)
        if flip is None or gap is None or filler is None:
            continue
        found += 1
        (at,) = [i for i, (a, b) in enumerate(zip(records, flip, strict=True)) if a != b]
        assert gap == records[:at] + records[at + 1 :]
        old, new = records[at], flip[at]
        assert isinstance(old, Event) and isinstance(new, Event)
        opposite = {"accuse": "defend", "defend": "accuse", "report_inspection": "report_inspection"}
        for a, b in zip(old.acts, new.acts, strict=True):
            assert a == b if a.subject != moment.subject else b.kind == opposite.get(a.kind, a.kind)
        said = filler[at]
        assert isinstance(said, Event) and said.acts == ()
        encode = scene.encoder.encode
        assert len(encode(said.text or "")[0]) == len(encode(old.text or "")[0])
    assert found > 3
    assert SpeechAct("accuse", 1) != SpeechAct("defend", 1)


# --- the whole way ---


def test_what_is_asked_is_written_down_first_and_a_stopped_experiment_goes_on(
    run: Run, vector: str, tmp_path: Path
) -> None:
    from harness.experiment import run as module

    wanted = design(vector, moments={"n": 6, "per_game": 3}, outcomes={"beliefs": True})
    whole = run_experiment(wanted, [run.path], tmp_path / "whole", force=True)

    def stop(text: str) -> None:
        if "of 6 moments" in text:
            raise KeyboardInterrupt

    before, module.PART = module.PART, 2
    try:
        with pytest.raises(KeyboardInterrupt):
            run_experiment(wanted, [run.path], tmp_path / "cut", force=True, say=stop)
        manifest = read_manifest(tmp_path / "cut")
        assert manifest.status == "asking"
        assert len(manifest.moments) == 6
        assert len(list((tmp_path / "cut" / "parts").glob("*.parquet"))) == 1
        run_experiment(wanted, [run.path], tmp_path / "cut", force=True)
    finally:
        module.PART = before
    kept = set(json.loads((whole / "digests.json").read_text())["files"])
    assert kept == {"manifest.json", "outcomes.parquet", "vectors.safetensors"}
    a, b = (pl.read_parquet(path / "outcomes.parquet") for path in (whole, tmp_path / "cut"))
    assert a.select("moment", "arm", "options", "seats").equals(b.select("moment", "arm", "options", "seats"))
    for column in ("logprobs", "beliefs"):
        np.testing.assert_allclose(a[column].explode().to_numpy(), b[column].explode().to_numpy(), atol=1e-4)
    assert json.loads((whole / "manifest.json").read_text())["scorer"] == "packed"
    base = a.filter(pl.col("arm") == "unchanged").sort("moment")
    for arm in ("null", "cold"):  # the noise floor
        again = a.filter(pl.col("arm") == arm).sort("moment")
        np.testing.assert_allclose(
            again["logprobs"].explode().to_numpy(), base["logprobs"].explode().to_numpy(), atol=1e-4
        )
    with pytest.raises(RunFolderError, match="other settings"):
        run_experiment(design(vector), [run.path], whole, force=True)


def test_beliefs_on_forks_are_those_that_the_run_would_be_told(run: Run, vector: str, tmp_path: Path) -> None:
    import asyncio

    from agents.backends.hooked.backend import load_hooked_backend
    from agents.llm.beliefs import elicit
    from agents.models.small import SMALL_MODEL

    folder = run_experiment(
        design(vector, outcomes={"beliefs": True}, moments={"n": 1}), [run.path], tmp_path / "e", force=True
    )
    moment = read_manifest(folder).moments[0]
    scene = Scenes(run).scene(moment)
    scene.player.backend = load_hooked_backend(SMALL_MODEL, device="cpu")
    told = {
        b.subject: b.probabilities["werewolf"]
        for b in asyncio.run(elicit(scene.player, scene.observation, 0))
    }
    asyncio.run(scene.player.backend.close())
    row = pl.read_parquet(folder / "outcomes.parquet").filter(pl.col("arm") == "unchanged").row(0, named=True)
    asked = dict(zip(row["seats"], row["beliefs"], strict=True))
    assert set(asked) == {moment.subject, moment.other}
    assert asked == pytest.approx({seat: told[seat] for seat in asked}, abs=1e-4)


def test_words_of_a_role_line_and_of_a_speech_are_changed_and_their_shams_are_as_long(
    run: Run, vector: str, tmp_path: Path
) -> None:
    arms = [
        {"name": "no-role", "kind": "role_line", "do": "remove"},
        {"name": "swapped", "kind": "role_line", "do": "swap"},
        {"name": "accused", "kind": "utterance", "do": "add", "act": "accuse"},
    ]
    folder = run_experiment(design(vector, arms=arms), [run.path], tmp_path / "e", force=True)
    table = pl.read_parquet(folder / "outcomes.parquet")
    found = {
        a: r["logprobs"]
        for a in table["arm"].unique()
        for r in table.filter(pl.col("arm") == a).to_dicts()[:1]
    }
    assert {"no-role", "no-role~sham", "swapped", "accused", "accused~sham"} <= set(found)
    assert found["accused"] != found["unchanged"] != found["no-role"]


def test_fewer_games_than_the_smallest_effect_needs_are_refused_and_forced_ones_stamped(
    run: Run, vector: str, tmp_path: Path
) -> None:
    wanted = design(vector, test={"smallest": 0.01})
    with pytest.raises(ExperimentError, match=r"come from \d games; .* takes about [\d,]+"):
        run_experiment(wanted, [run.path], tmp_path / "e")
    assert not (tmp_path / "e" / "manifest.json").exists()
    assert games_needed(design(vector, test={"smallest": 0.05, "spread": 0.15})) == 71
    folder = run_experiment(wanted, [run.path], tmp_path / "e", force=True)
    assert "absent only where the table says that it could have been found" in read_manifest(folder).stamps[0]


def test_words_that_the_tokenizer_lacks_and_settings_that_change_nothing_are_refused(
    run: Run, vector: str, tmp_path: Path
) -> None:
    def refused(arm: dict[str, Any]) -> str:
        with pytest.raises((ExperimentError, ConfigurationError)) as caught:
            run_experiment(design(vector, arms=[arm]), [run.path], tmp_path / arm["name"], force=True)
        return str(caught.value)

    same = {"name": "same", "kind": "player", "settings": {"sampling.temperature": 0.5}}
    assert "changes nothing" in refused(same)
    said = refused({"name": "advice", "kind": "player", "settings": {"settings.factors.advice": True}})
    assert "prompt = 'transcript' have no setting 'factors'" in said and "chat style" in said
    assert "__init__" not in said


def test_designs_that_ship_are_read() -> None:
    for name in shipped():
        assert load_design(name).name == name
    with pytest.raises(
        ExperimentError, match=r"no design is called 'nonsuch'; there are: .*belief-drives-ballot"
    ):
        load_design("nonsuch")
