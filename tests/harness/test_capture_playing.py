"""What is kept while playing is what the offline extraction stores, and steering reaches play, log and re-scoring."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from agents.backends.base import Capabilities, Generation, Prompt, Sampling
from agents.backends.steered import Steered
from agents.hooks.intervention import Intervention, SteeringError
from agents.models.small import SMALL_MODEL
from games.records import Decision
from harness.activations.steering import intervention_of
from harness.activations.store import open_activations
from harness.activations.verify import verify
from harness.capture.run import capture_run
from harness.check.check import check_activations, check_run
from harness.config.files import parse_config
from harness.config.models import model_names
from harness.config.sections import Config, SteeringSection
from harness.errors import ConfigurationError
from harness.play.factory import make_agent
from harness.play.runner import Runner
from harness.run.folder import load_run
from harness.run.held import RunFolder, new_manifest
from harness.schedule.tournament import Schedule

SITES = ["prompt_last", "output_mean", "speech_last", "tokens:speech", "mention", "role_line"]
WIDTH = 128


def config_of(games: int = 1, activations: dict[str, Any] | None = None, **small: Any) -> Config:
    return parse_config(
        {
            "run": {"games": games, "seed": 3},
            "agents": {
                "small": {"kind": "llm", "backend": "small", "sampling": {"max_tokens": 24}, **small},
                "loud": {"kind": "scripted", "policy": "loud"},
            },
            "backends": {"small": {"kind": "transformers", "model": "small", "device": "cpu"}},
            "roster": {"seats": ["small", "small", "small", "loud", "loud", "loud", "loud"]},
            "activations": {"sites": SITES, "layers": "all", **(activations or {})},
        }
    )


def played(path: Path, config: Config, model: Path = SMALL_MODEL) -> Path:
    """The run of a configuration, played in this process by the model of the backend `small`."""
    from agents.backends.hooked.backend import HookedBackend
    from agents.hooks.model import load_hooked_model
    from harness.config.models import points_of

    schedule = Schedule(config)
    wanted = new_manifest("test", config.plain(), config.hash(), len(schedule), schedule.cells)
    wanted.models = model_names(config.backends)

    async def play(runner: Runner) -> None:
        await asyncio.gather(*(runner.play(planned) for planned in schedule))
        await runner.close()

    with RunFolder.claim(path, wanted) as folder:
        hooked = load_hooked_model(model, device="cpu")
        backend = HookedBackend(hooked, points_of(hooked, ("all",)))
        journal = folder.journal_folder / "s0001-r000.jsonl"
        asyncio.run(play(Runner(journal, schedule.cells, schedule.configs, {"small": backend})))
        asyncio.run(backend.close())
        folder.finish()
    return path


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float((np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)).max())


def test_rows_kept_while_playing_equal_those_of_the_second_pass(tmp_path: Path) -> None:
    run = played(tmp_path / "run", config_of(activations={"while_playing": True}))
    kept = open_activations(run / "activations")
    assert verify(kept) == [] and check_run(run) == []
    lines, values = kept.index(), kept.read_rows(kept.index())
    assert set(lines["site"]) == set(SITES)
    (run / "activations").rename(run / "kept")
    capture_run(run, device="cpu")
    again = open_activations(run / "activations")
    second = again.index()
    assert again.info == kept.info
    keys = ["game_id", "seq", "seat", "site", "subject", "variant", "token_index", "n_tokens", "token_hash"]
    assert lines.select(keys).equals(second.select(keys))  # the same keys, all of them, on the same tokens
    assert relative(values, again.read_rows(second)) < 1e-4
    said: list[str] = []
    assert check_activations(run, said.append) == []


def test_the_row_of_a_belief_question_holds_the_belief_that_was_stated(tmp_path: Path) -> None:
    import torch

    from agents.hooks.model import load_hooked_model
    from games.werewolf.lexicon import lexicon

    plain = config_of(activations={"sites": ["prompt_last", "belief_mention"]}).plain()
    asked = {"enabled": True, "before": ["ballot", "speech"]}
    run = played(tmp_path / "run", parse_config(plain | {"beliefs": asked}))
    capture_run(run, device="cpu")
    said: list[str] = []
    assert check_run(run) == [] and check_activations(run, said.append) == []
    store, stated = open_activations(run / "activations"), load_run(run).beliefs.collect()
    lines = store.index(site="belief_mention")
    both = lines.with_row_index("at").join(
        stated.with_columns(pl.col("seq", "subject").cast(pl.Int64)),
        on=["game_id", "seq", "subject"],
        how="inner",
    )
    assert both.height == stated.height == lines.height > 30
    hooked = load_hooked_model(SMALL_MODEL, device="cpu")
    roles = [pair["role"] for pair in stated["probabilities"][0]]
    ids = [hooked.tokenizer.get_vocab()[lexicon("classic").terms[role]] for role in roles]
    last = torch.tensor(store.read_rows(lines[both["at"].to_list()])[:, -1])
    with torch.inference_mode():
        p = hooked.model.lm_head(hooked.model.model.norm(last))[:, ids].softmax(-1)
    assert np.abs(p[:, roles.index("werewolf")].numpy() - both["p_werewolf"].to_numpy()).max() < 1e-4
    # The log is the evidence: where it says other words, the rows are said to be of others.
    other = {
        (*key, "original", subject): [1] * 300
        for *key, subject in lines.select("game_id", "seq", "subject").rows()
    }
    assert [d.kind for d in verify(store, other)] == ["wrong_tokens"] * lines.height  # type: ignore[arg-type]


def test_the_second_pass_adds_only_what_play_has_not_kept(tmp_path: Path) -> None:
    run = played(tmp_path / "run", config_of(activations={"while_playing": True}))
    said: list[str] = []
    capture_run(run, device="cpu", say=said.append)
    assert said[-1].startswith("0 rows")


def test_while_playing_needs_a_backend_that_can() -> None:
    plain = config_of().plain()
    plain["backends"]["small"]["kind"] = "vllm"
    plain["activations"]["while_playing"] = True
    with pytest.raises(ConfigurationError, match='needs one backend with kind = "transformers"'):
        parse_config(plain)


def vector(folder: Path) -> Path:
    path = folder / "direction.safetensors"
    values = np.random.default_rng(0).normal(size=(2, WIDTH)).astype(np.float32)
    save_file({"lie": values[0], "other": values[1]}, path)
    return path


def decisions(run: Path) -> list[Decision]:
    (_, records), *_ = load_run(run).logs()
    return [r for r in records if isinstance(r, Decision) and r.trace is not None]


def test_steering_in_the_configuration_reaches_the_named_seats_and_the_log(tmp_path: Path) -> None:
    steering = {"vector": str(vector(tmp_path)), "key": "lie", "layer": 3, "scale": 4.0, "seats": [0]}
    steered = decisions(played(tmp_path / "steered", config_of(steering=steering)))
    plain = decisions(played(tmp_path / "plain", config_of()))
    for decision in steered:
        assert decision.trace is not None and decision.trace.sampling is not None
        touched = decision.trace.sampling.get("steered")
        if decision.seat == 0:
            assert touched is not None and touched >= len(decision.trace.prompt_ids)
        else:
            assert touched is None
    assert {d.seat for d in steered} > {0}
    first = [next(d.trace for d in run if d.seat == 0) for run in (steered, plain)]
    assert first[0] is not None and first[1] is not None and first[0].prompt_ids == first[1].prompt_ids
    assert not np.isclose(first[0].logprobs[0], first[1].logprobs[0], atol=1e-3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vector": "nowhere.npy"}, "there is no vector nowhere.npy"),
        ({"key": None}, "holds 2 tensors"),
        ({"key": "truth"}, "no tensor 'truth'"),
    ],
)
def test_a_vector_that_cannot_be_read_stops_the_player(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    steering = {"vector": str(vector(tmp_path)), "key": "lie", "layer": 3} | change
    config = config_of(steering=steering)
    with pytest.raises(ConfigurationError, match=says):
        make_agent("small", config, {"small": Deaf()})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.array([1.0, np.nan, np.inf]), "2 of the 3 numbers of the vector .* are not finite"),
        (np.full(3, 1e300), "3 of the 3 numbers of the vector .* are not finite in float32"),
        (np.zeros(3), "is zero: it has no direction to add"),
        (np.array(["a", "b"]), "holds <U1, real numbers are needed"),
        (np.array([1 + 1j]), "holds complex128, real numbers are needed"),
        (b"no array", r"vector.npy cannot be read .*: give a \.safetensors or \.npy file"),
    ],
)
def test_a_vector_that_is_no_direction_is_refused_by_its_file(tmp_path: Path, values: Any, says: str) -> None:
    path = tmp_path / "vector.npy"
    if isinstance(values, bytes):
        path.write_bytes(values)
    else:
        np.save(path, values)
    with pytest.raises(ConfigurationError, match=says):
        intervention_of(SteeringSection(vector=str(path), layer=1))


def test_a_damaged_safetensors_vector_is_refused_and_a_bfloat16_one_is_read(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    path = tmp_path / "vector.safetensors"
    save_torch({"lie": torch.tensor([1.0, -2.5], dtype=torch.bfloat16)}, path)
    section = SteeringSection(vector=str(path), layer=1)
    assert intervention_of(section).vector.tolist() == [1.0, -2.5]
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ConfigurationError, match=r"vector\.safetensors cannot be read"):
        intervention_of(section)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seats": [9]}, "seats names seat 9; this game of werewolf has seats 0 to 6"),
        (
            {"seats": [3, 4]},
            r"seats is \[3, 4\], where roster.seats never puts small: it sits at \[0, 1, 2\]",
        ),
        ({"seats": []}, "seats"),
        ({"seats": [-1]}, "seats"),
        ({"scale": float("nan")}, "scale"),
        ({"scale": float("inf")}, "scale"),
    ],
)
def test_steering_that_reaches_nobody_is_refused_before_a_game_is_played(
    change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Schedule(config_of(steering={"vector": "v.npy", "layer": 1} | change))


class Deaf:
    """Says that it steers, and does not."""

    model, capabilities = "deaf@0", Capabilities(steers=True)

    async def generate(self, prompts: list[Prompt]) -> list[Generation]:
        return [Generation((5,), "x") for _ in prompts]

    async def close(self) -> None:
        return


def test_an_answer_that_was_not_touched_is_refused() -> None:
    one = Intervention("add", 0, np.ones(WIDTH))
    backend = Steered(Deaf(), [one], seats=[1])
    unsteered = Prompt((4,), Sampling(), session="g/0")
    assert asyncio.run(backend.generate([unsteered]))[0].text == "x"
    with pytest.raises(SteeringError, match="touched at 0 positions"):
        asyncio.run(backend.generate([Prompt((4,), Sampling(), session="g/1")]))
    with pytest.raises(SteeringError, match="names no seat"):
        asyncio.run(backend.generate([Prompt((4,), Sampling())]))


def test_a_backend_that_cannot_steer_is_refused() -> None:
    plain = config_of(steering={"vector": "v.npy", "layer": 1}).plain()
    plain["backends"]["small"]["kind"] = "vllm"
    with pytest.raises(ConfigurationError, match=r"agents\.small\.steering needs a backend with kind"):
        parse_config(plain)


def test_rescoring_with_a_vector_is_a_variant_of_its_own(tmp_path: Path) -> None:
    run = played(tmp_path / "run", config_of(activations={"sites": ["prompt_last", "speech_mean"]}))
    vector(tmp_path)
    steer = tmp_path / "steer.toml"
    steer.write_text('vector = "direction.safetensors"\nkey = "lie"\nlayer = 2\nscale = 2.0\nseats = [0]\n')
    capture_run(run, device="cpu")
    said: list[str] = []
    capture_run(run, device="cpu", steer=steer, say=said.append)
    store = open_activations(run / "activations")
    both = store.index(site="prompt_last", seat=0, variant=None)
    (name,) = set(both["variant"]) - {"original"}
    assert name.startswith("steered-")
    log = load_run(run)
    n_tokens = sum(  # of every context of the seat, each by itself
        len(log.prompt_ids(game, record.seq)) + len(record.trace.output_ids)
        for game, records in log.logs()
        for record in records
        if isinstance(record, Decision) and record.seat == 0 and record.trace is not None
    )
    assert said[-1] == f"{n_tokens:,} positions were steered; the rows are variant {name}"
    assert store.index(seat=1, variant=name).height == 0
    plain, moved = both.filter(variant="original"), both.filter(variant=name)
    assert plain["token_hash"].to_list() == moved["token_hash"].to_list()
    assert np.allclose(store.read(plain, 1), store.read(moved, 1), rtol=1e-4, atol=1e-4)  # before the layer
    unit = load(tmp_path) / np.linalg.norm(load(tmp_path))
    before = store.read(plain, 2)
    expected = before + 2.0 * np.linalg.norm(before, axis=1, keepdims=True) * unit
    assert relative(store.read(moved, 2), expected) < 1e-4
    assert not np.allclose(store.read(plain, 3), store.read(moved, 3))
    assert verify(store) == [] and check_activations(run) == []


def test_what_one_decision_had_is_patched_into_another(tmp_path: Path) -> None:
    run = played(tmp_path / "run", config_of(activations={"sites": ["prompt_last"]}))
    capture_run(run, device="cpu")
    store = open_activations(run / "activations")
    source = store.index(site="prompt_last")[-1]
    line = source.row(0, named=True)
    target = store.index(site="prompt_last").row(0, named=True)
    last = target["token_index"]
    steer = tmp_path / "patch.toml"
    steer.write_text(
        f'vector = "run#{line["game_id"]}/{line["seq"]}/prompt_last"\n'
        f'layer = 1\nkind = "patch"\npositions = "generated"\nseats = [{target["seat"]}]\n'
    )
    capture_run(run, device="cpu", steer=steer)
    store = open_activations(run / "activations")
    every = store.index(site="prompt_last", variant=None).filter(pl.col("variant") != "original")
    moved = every.filter(seq=target["seq"])
    assert moved["token_index"].to_list() == [last]
    np.testing.assert_allclose(store.read(moved, 1), store.read(source, 1), rtol=1e-6)


def load(folder: Path) -> np.ndarray:
    from safetensors.numpy import load_file

    return load_file(folder / "direction.safetensors")["lie"]
