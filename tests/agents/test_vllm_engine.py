"""A real vLLM engine in a Ray actor: says what transformers says, in batches, with its prefix cache at work."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from agents.backends.base import (
    Backend,
    BackendError,
    Capture,
    EngineLost,
    Generation,
    ModelBroken,
    Prompt,
    Sampling,
)
from agents.backends.vllm.settings import EngineSettings, engine_arguments, engine_env
from agents.models.folder import ModelFilesError, eos_ids, model_hash
from tests.fixtures.engine_host import Host
from tests.fixtures.tiny_models import save_tiny_model

ray = pytest.importorskip("ray")

T = TypeVar("T")
GREEDY = Sampling(temperature=0.0, max_tokens=16)
WORDS = ("<pad>", "<bos>", "<eos>", "<unk>", *(f"w{i}" for i in range(4, 96)))
RNG = np.random.default_rng(11)


def ids(n: int) -> tuple[int, ...]:
    return tuple(int(i) for i in RNG.integers(4, 96, n))


class Engine:
    """The backend, with one event loop for all tests of the module."""

    def __init__(self, backend: Any, folder: Path) -> None:
        self.backend, self.folder = backend, folder
        self.loop = asyncio.new_event_loop()

    def run(self, job: Callable[[], Awaitable[T]]) -> T:
        async def outer() -> T:
            return await job()

        return self.loop.run_until_complete(outer())

    def play(self, *prompts: Prompt) -> list[Generation]:
        """Each prompt as its own concurrent generate() call."""

        async def job() -> list[Generation]:
            return [g[0] for g in await asyncio.gather(*(self.backend.generate([p]) for p in prompts))]

        return self.run(job)


@pytest.fixture(scope="module")
def engine(engine_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = save_tiny_model(tmp_path_factory.mktemp("vllm") / "tiny")
    started = Engine(engine_host.start(folder, EngineSettings(max_concurrent=64)), folder)
    yield started
    started.run(started.backend.close)
    started.loop.close()


@pytest.mark.engine
def test_greedy_text_is_that_of_transformers(engine: Engine) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(engine.folder), dtype=torch.float32).eval()
    prompts = [Prompt(ids(n), GREEDY) for n in (3, 31, 32, 33, 90, 200)]
    for prompt, answer in zip(prompts, engine.play(*prompts), strict=True):
        context = list(prompt.ids)
        expected = []
        with torch.inference_mode():
            for _ in answer.output_ids:
                logprobs = model(input_ids=torch.tensor([context])).logits[0, -1].log_softmax(-1)
                context.append(int(logprobs.argmax()))
                expected.append(float(logprobs.max()))
        assert answer.output_ids == tuple(context[len(prompt.ids) :])
        np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)
        stopped = answer.output_ids[-1] == 2
        shown = answer.output_ids[:-1] if stopped else answer.output_ids  # the end token is not text
        assert answer.text == " ".join(WORDS[i] for i in shown)
        assert answer.finish_reason == ("stop" if stopped else "length")


@pytest.mark.engine
def test_the_engine_is_a_backend_named_by_its_weights(engine: Engine) -> None:
    assert isinstance(engine.backend, Backend)
    assert engine.backend.model == f"tiny@{model_hash(engine.folder)}"


@pytest.mark.engine
def test_a_sessions_next_turn_finds_its_past_in_the_cache(engine: Engine) -> None:
    context = ids(100)
    for turn in range(3):
        answer = engine.play(Prompt(context, GREEDY, "g1:2"))[0]
        if turn:
            assert answer.n_cached >= len(context) - 20 - 16 - 32  # all but the new tokens and half a block
        context += answer.output_ids + ids(20)


@pytest.mark.engine
def test_concurrent_games_share_the_running_batch(engine: Engine) -> None:
    async def steps() -> int:
        return int((await engine.backend.stats())["steps"])

    def timed(n: int) -> tuple[float, int]:
        before, begin = engine.run(steps), time.monotonic()
        prompts = [Prompt(ids(40), Sampling(max_tokens=40, seed=i)) for i in range(n)]
        n_tokens = sum(len(a.output_ids) for a in engine.play(*prompts))
        seconds = time.monotonic() - begin
        return n_tokens / seconds, engine.run(steps) - before

    alone, _ = timed(1)
    together, n_steps = timed(64)
    print(f"tokens/s: 1 request {alone:.0f}, 64 requests {together:.0f} in {n_steps} steps")
    assert n_steps < 64 * 40 / 8  # one by one it would be 64 * 40
    assert together > 2 * alone


@pytest.mark.engine
def test_long_seeded_prompts_in_one_step_do_not_break_the_engine(engine: Engine) -> None:
    prompts = [Prompt(ids(480), Sampling(max_tokens=8, seed=i)) for i in range(48)]
    assert all(len(a.output_ids) > 0 for a in engine.play(*prompts))


@pytest.mark.engine
def test_a_seed_repeats_and_seeds_differ(engine: Engine) -> None:
    context = ids(20)
    first, again, other = (
        engine.play(Prompt(context, Sampling(max_tokens=16, seed=s)))[0].output_ids for s in (5, 5, 6)
    )
    assert first == again != other


@pytest.mark.engine
def test_a_stop_token_ends_the_output(engine: Engine) -> None:
    prompt = Prompt(ids(20), GREEDY)
    free = engine.play(prompt)[0].output_ids
    k = free.index(free[5])
    stopped = engine.play(Prompt(prompt.ids, Sampling(temperature=0.0, max_tokens=16, stop_ids=(free[5],))))[
        0
    ]
    assert stopped.output_ids == free[: k + 1]
    assert stopped.finish_reason == "stop"
    assert len(stopped.text.split()) == k
    assert eos_ids(engine.folder) == (2,)


@pytest.mark.engine
def test_choices_are_kept_and_sampled_in_the_models_proportions(engine: Engine) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    context, choices = ids(40), ((5, 6, 2), (5, 7, 2), (9, 2))
    answers = engine.play(*(Prompt(context, Sampling(seed=i, choices=choices)) for i in range(300)))
    assert {a.output_ids for a in answers} <= set(choices)
    assert {a.finish_reason for a in answers} == {"choice"}
    model = AutoModelForCausalLM.from_pretrained(str(engine.folder), dtype=torch.float32).eval()
    with torch.inference_mode():
        p = model(input_ids=torch.tensor([context])).logits[0, -1].softmax(-1)
    expected = float(p[9] / (p[5] + p[9]))
    found = np.mean([a.output_ids[0] == 9 for a in answers])
    assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / 300)
    np.testing.assert_allclose(answers[0].logprobs[0], float(p[answers[0].output_ids[0]].log()), atol=1e-4)
    short = next(a for a in answers if a.output_ids == (9, 2))
    with torch.inference_mode():
        after = model(input_ids=torch.tensor([(*context, 9)])).logits[0, -1].softmax(-1)
    assert short.option_mass == pytest.approx(float((p[5] + p[9]) * after[2]), rel=1e-3)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt((), GREEDY), "no tokens"),
        (Prompt((5, 4000), GREEDY), "4000"),
        (Prompt(tuple([5] * 510), GREEDY), "512"),
        (Prompt((5,), GREEDY, capture=Capture({"prompt_last": (0,)})), "no activations"),
    ],
)
def test_bad_prompts_are_refused_and_the_engine_lives_on(engine: Engine, prompt: Prompt, says: str) -> None:
    with pytest.raises(BackendError, match=says) as caught:
        engine.play(prompt)
    assert not caught.value.retryable
    assert len(engine.play(Prompt(ids(5), GREEDY))[0].output_ids) > 0


@pytest.mark.engine
def test_a_copy_in_another_process_plays_and_does_not_stop_the_engine(engine: Engine) -> None:
    copy = pickle.loads(pickle.dumps(engine.backend))  # noqa: S301 - made one line above

    async def job() -> list[Generation]:
        answers: list[Generation] = await copy.generate([Prompt(ids(5), GREEDY)] * 3)
        await copy.close()
        return answers

    assert len(engine.run(job)) == 3
    assert len(engine.play(Prompt(ids(5), GREEDY))[0].output_ids) > 0


@pytest.mark.engine
def test_an_engine_that_dies_is_lost_and_no_prompts_failure(engine: Engine) -> None:
    from agents.backends.vllm.engine import VllmBackend

    class Mute:
        def exchange(self, wire: str, prompts: list[tuple[int, Prompt]]) -> str:
            raise AssertionError

    dead = ray.remote(Mute).remote()
    ray.kill(dead)
    backend = VllmBackend("m@0", [dead], 512)
    with pytest.raises(EngineLost, match="engine 0 is gone"):
        engine.run(lambda: backend.generate([Prompt((5,), GREEDY)]))


@pytest.mark.engine
def test_an_engine_whose_weights_give_nan_says_so_at_the_first_answer(
    engine_host: Host, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_tiny_model(tmp_path / "broken", num_hidden_layers=1)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][:] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    backend = engine_host.start(folder)

    async def ask() -> None:
        for sampling in (GREEDY, Sampling(seed=1), Sampling(seed=1, choices=((5,), (6, 7)))):
            with pytest.raises(ModelBroken, match=r"broken@.*NaN stands in the weights lm_head\.weight"):
                await backend.generate([Prompt((1, 5, 6), sampling)])

    asyncio.run(ask())


def test_sessions_stay_with_their_replica_and_new_ones_go_to_the_idlest() -> None:
    from agents.backends.vllm.engine import VllmBackend

    backend = VllmBackend("m@0", [object(), object()], 512)
    assert backend._route("a") == 0
    backend._load[0] = 3
    assert backend._route("b") == 1
    backend._load[1] = 9
    assert [backend._route(s) for s in ("a", "b", "c", None)] == [0, 1, 0, 0]


def test_settings_reach_the_engine() -> None:
    cpu = engine_arguments(EngineSettings(), "cpu", "/m", "float32", 512)
    assert (cpu["dtype"], cpu["block_size"], cpu["enable_chunked_prefill"]) == ("float32", 32, False)
    assert cpu["max_num_batched_tokens"] >= cpu["max_model_len"] == 512
    gpu = engine_arguments(
        EngineSettings(tensor_parallel=2, gpu_memory=0.5, extra={"quantization": "fp8"}),
        "gpu",
        "/m",
        "bfloat16",
        9000,
    )
    assert (gpu["tensor_parallel_size"], gpu["gpu_memory_utilization"], gpu["quantization"]) == (
        2,
        0.5,
        "fp8",
    )
    assert "enable_chunked_prefill" not in gpu
    assert engine_env("cpu")["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in engine_env("gpu")


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer"),
        ("model.safetensors", "no .*safetensors"),
    ],
)
def test_an_incomplete_model_folder_is_named_before_anything_starts(
    tmp_path: Path, missing: str, says: str
) -> None:
    from agents.backends.vllm.engine import start_engines

    folder = save_tiny_model(tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(ModelFilesError, match=says) as caught:
        start_engines(folder)
    assert str(folder) in str(caught.value)
    with pytest.raises(ModelFilesError, match="does not exist"):
        start_engines(tmp_path / "nowhere")


def test_the_hash_follows_the_weights_and_the_config(tmp_path: Path) -> None:
    first = model_hash(save_tiny_model(tmp_path / "a"))
    assert first == model_hash(save_tiny_model(tmp_path / "b"))
    assert first != model_hash(save_tiny_model(tmp_path / "c", seed=1))
    config = tmp_path / "b" / "config.json"
    config.write_text(
        config.read_text().replace('"max_position_embeddings": 512', '"max_position_embeddings": 256')
    )
    assert first != model_hash(tmp_path / "b")
