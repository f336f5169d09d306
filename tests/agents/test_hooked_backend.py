"""The hooked backend says what plain transformers says, whatever it is batched with and whatever it has cached."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.backends.base import BackendError, Capture, Generation, Prompt, Sampling
from agents.backends.hooked.backend import HookedBackend, load_hooked_backend
from agents.hooks.model import hook_model
from agents.hooks.steering import Intervention, SteeringError
from agents.llm.beliefs import Question, distributions
from tests.fixtures.tiny_models import D_MODEL, N_LAYERS, save_tiny_model, tiny_model

GREEDY = Sampling(temperature=0.0, max_tokens=12)
RNG = np.random.default_rng(7)


def ids(n: int) -> tuple[int, ...]:
    return tuple(int(i) for i in RNG.integers(4, 96, n))


def plain_greedy(model: Any, context: tuple[int, ...], n: int) -> tuple[int, ...]:
    out = list(context)
    for _ in range(n):
        with torch.inference_mode():
            out.append(int(model(input_ids=torch.tensor([out]), use_cache=False).logits[0, -1].argmax()))
    return tuple(out[len(context) :])


def plain_states(model: Any, context: tuple[int, ...]) -> np.ndarray:
    """resid_post (n_layers, n_tokens, d_model) by the simplest means: one hook per layer, one context."""
    kept: list[torch.Tensor] = []
    layers = hook_model(model, "m").layout.layers
    handles = [
        layer.register_forward_hook(
            lambda _m, _a, out: kept.append(out[0] if isinstance(out, tuple) else out)
        )
        for layer in layers
    ]
    with torch.inference_mode():
        model(input_ids=torch.tensor([context]), use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.cat(kept).float().numpy()


def play(backend: HookedBackend, *prompts: Prompt) -> list[Generation]:
    """Each prompt as its own concurrent generate() call."""

    async def run() -> list[Generation]:
        return [g[0] for g in await asyncio.gather(*(backend.generate([p]) for p in prompts))]

    return asyncio.run(run())


def close(backend: HookedBackend) -> None:
    asyncio.run(backend.close())


@pytest.mark.parametrize("family", ["llama", "gemma3", "mistral", "gpt_neox", "qwen3", "phi"])
def test_a_mixed_batch_says_what_each_prompt_alone_says(family: str) -> None:
    model = tiny_model(family)
    backend = HookedBackend(hook_model(model, "m@0"), max_wait_s=0.2)
    prompts = [Prompt(ids(n), GREEDY) for n in (5, 40, 17, 33)]
    answers = play(backend, *prompts)
    assert backend.n_batches == 1
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer.output_ids == plain_greedy(model, prompt.ids, 12)
        assert answer.finish_reason == "length"
    close(backend)


@pytest.mark.parametrize("family", ["llama", "gemma3", "mistral"])
def test_turns_of_a_session_reuse_the_cache_and_change_nothing(family: str) -> None:
    model = tiny_model(family)
    backend = HookedBackend(hook_model(model, "m@0"), max_wait_s=0.1)
    contexts = {f"g:{seat}": ids(20 + 3 * seat) for seat in range(3)}
    cached = []
    for _turn in range(3):
        prompts = [Prompt(context, GREEDY, session) for session, context in contexts.items()]
        for prompt, answer in zip(prompts, play(backend, *prompts), strict=True):
            assert answer.output_ids == plain_greedy(model, prompt.ids, 12)
            cached.append(answer.n_cached)
            contexts[str(prompt.session)] = prompt.ids + answer.output_ids + ids(4 + len(cached) % 3)
    assert cached[:3] == [0, 0, 0]
    assert min(cached[3:]) >= 20
    close(backend)


def test_a_session_that_does_not_extend_its_past_is_still_right() -> None:
    model = tiny_model()
    backend = HookedBackend(hook_model(model, "m@0"))
    shared = ids(30)
    for context in (shared + ids(10), shared + ids(3), ids(12), shared):
        answer = play(backend, Prompt(context, GREEDY, "s"))[0]
        assert answer.output_ids == plain_greedy(model, context, 12)
    close(backend)


def test_capture_while_playing_equals_a_plain_forward_pass() -> None:
    model = tiny_model()
    backend = HookedBackend(hook_model(model, "m@0"), max_wait_s=0.2)
    context = ids(25)
    capture = Capture({"prompt_last": (24,), "speech_mean": (3, 4, 5), "output_last": (), "output_mean": ()})
    other = Prompt(ids(60), GREEDY, capture=Capture({"prompt_last": (59,)}))
    for session in ("s", "s"):  # the second time a cache is there
        answer, _ = play(backend, Prompt(context, GREEDY, session, capture), other)
        whole = plain_states(model, context + answer.output_ids)
        found = answer.activations
        assert found is not None
        assert list(found) == list(capture.sites)
        np.testing.assert_allclose(found["prompt_last"], whole[:, 24], rtol=0, atol=2e-5)
        np.testing.assert_allclose(found["speech_mean"], whole[:, 3:6].mean(1), rtol=0, atol=2e-5)
        np.testing.assert_allclose(found["output_last"], whole[:, -1], rtol=0, atol=2e-5)
        np.testing.assert_allclose(found["output_mean"], whole[:, 25:].mean(1), rtol=0, atol=2e-5)
        assert found["prompt_last"].shape == (N_LAYERS, D_MODEL)
        assert found["prompt_last"].dtype == np.float32
    close(backend)


def test_logprobs_are_the_models_own_and_seeds_repeat() -> None:
    model = tiny_model()
    backend = HookedBackend(hook_model(model, "m@0"))
    prompt = Prompt(ids(9), Sampling(temperature=0.7, top_p=0.9, max_tokens=6, seed=11))
    first, again = play(backend, prompt)[0], play(backend, prompt)[0]
    assert first == again
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt.ids + first.output_ids])).logits[0].log_softmax(-1)
    expected = [float(logits[8 + k, token]) for k, token in enumerate(first.output_ids)]
    np.testing.assert_allclose(first.logprobs, expected, atol=1e-4)
    close(backend)


def test_choices_are_kept_and_sampled_in_the_models_proportions() -> None:
    model = tiny_model()
    backend = HookedBackend(hook_model(model, "m@0"), max_batch=64, max_wait_s=0.2)
    context, choices = ids(9), ((5, 6, 2), (5, 7, 2), (9, 2))
    prompts = [Prompt(context, Sampling(seed=i, choices=choices)) for i in range(300)]
    answers = play(backend, *prompts)
    assert {a.output_ids for a in answers} <= set(choices)
    assert {a.finish_reason for a in answers} == {"choice"}
    with torch.inference_mode():
        p = model(input_ids=torch.tensor([context])).logits[0, -1].softmax(-1)
    expected = float(p[9] / (p[5] + p[9]))
    found = np.mean([a.output_ids[0] == 9 for a in answers])
    assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / 300)
    after = plain_logprobs(model, (*context, 9))[2]
    short = next(a for a in answers if a.output_ids == (9, 2))
    assert short.option_mass == pytest.approx(float(p[5] + p[9]) * np.exp(after), rel=1e-4)
    free = play(backend, Prompt(context, Sampling(seed=1, max_tokens=2)))
    assert free[0].option_mass is None
    close(backend)


def plain_logprobs(model: Any, context: tuple[int, ...]) -> np.ndarray:
    """Log-probabilities (vocab,) of the next token by one forward pass."""
    with torch.inference_mode():
        return model(input_ids=torch.tensor([context])).logits[0, -1].log_softmax(-1).numpy()


def test_a_belief_is_of_whole_options_with_what_ends_them_however_many_tokens_each_has() -> None:
    """A name of one token beside one of three: neither sums, nor means, nor first tokens."""
    model = tiny_model()
    backend = HookedBackend(hook_model(model, "m@0"))
    context, options = ids(9), ((5, 2), (6, 7, 8, 2), (5, 9, 2))
    asked = Question(Prompt(context, Sampling()), options)
    (found,) = asyncio.run(
        distributions(backend, [asked], {"Tom": "Tom", "Amalia": "Amalia", "Tomas": "Tomas"})
    )
    whole = []
    for option in options:
        sofar, total = context, 0.0
        for token in option:
            total += float(plain_logprobs(model, sofar)[token])
            sofar = (*sofar, token)
        whole.append(np.exp(total))
    assert found.option_mass == pytest.approx(sum(whole), rel=1e-4)
    assert list(found.probabilities.values()) == pytest.approx([w / sum(whole) for w in whole], rel=1e-4)
    close(backend)


def test_a_stop_token_ends_the_output_and_stays_out_of_the_text(tmp_path: Path) -> None:
    backend = load_hooked_backend(save_tiny_model(tmp_path / "model"))
    prompt = Prompt(ids(9), GREEDY)
    free = play(backend, prompt)[0]
    stop = free.output_ids[3]
    k = free.output_ids.index(stop)
    stopped = play(backend, Prompt(prompt.ids, Sampling(temperature=0.0, max_tokens=12, stop_ids=(stop,))))[0]
    assert stopped.output_ids == free.output_ids[: k + 1]
    assert stopped.finish_reason == "stop"
    assert stopped.text == " ".join(f"w{i}" for i in free.output_ids[:k])
    assert backend.model.startswith("model@")
    assert len(backend.model) == len("model@") + 16
    close(backend)


def test_steering_one_seat_changes_it_and_leaves_the_others(tmp_path: Path) -> None:
    model = tiny_model()
    direction = np.random.default_rng(0).normal(size=D_MODEL)
    steer = Intervention("add", layer=1, vector=direction, scale=2.0, positions="generated")
    backend = HookedBackend(
        hook_model(model, "m@0"), max_wait_s=0.2, steer=lambda p: [steer] if p.session == "g:1" else []
    )
    context = ids(30)
    first, second = play(backend, Prompt(context, GREEDY, "g:0"), Prompt(context, GREEDY, "g:1"))
    assert first.output_ids == plain_greedy(model, context, 12)
    assert second.output_ids != first.output_ids
    close(backend)


def test_a_position_outside_the_context_cannot_be_steered_silently() -> None:
    steer = Intervention("ablate", layer=0, vector=np.ones(D_MODEL), positions=(99,))
    backend = HookedBackend(hook_model(tiny_model(), "m@0"), steer=lambda p: [steer])
    with pytest.raises(SteeringError, match="99"):
        play(backend, Prompt(ids(9), GREEDY))
    close(backend)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt((), GREEDY), "no tokens"),
        (Prompt((5, 4000), GREEDY), "4000"),
        (Prompt(tuple([5] * 510), GREEDY), "512"),
        (Prompt((5, 6), GREEDY, capture=Capture({"here": (-1,)})), "-1"),
        (Prompt((5, 6), Sampling(choices=((5,), (5, 6)))), "prefix"),
    ],
)
def test_bad_prompts_are_refused_with_the_numbers(prompt: Prompt, says: str) -> None:
    backend = HookedBackend(hook_model(tiny_model(), "m@0"))
    with pytest.raises(BackendError, match=says) as caught:
        play(backend, prompt)
    assert not caught.value.retryable
    close(backend)
