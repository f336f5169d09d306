"""vLLM's engine with nothing around it, fed the prompts of a run: what a tournament is held against."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from agents.backends.base import Prompt, Sampling
from agents.backends.vllm.settings import EngineSettings, engine_arguments
from harness.run.folder import load_run


class Fed(msgspec.Struct):
    """What it took to answer all prompts."""

    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of processor time."""
    steps: int = 0
    prompt: int = 0
    """Tokens of prompts, whole."""
    cached: int = 0
    """Of these, from the prefix cache."""
    generated: int = 0

    @property
    def rate(self) -> float:
        """Tokens of prompts and outputs a second."""
        return (self.prompt + self.generated) / self.seconds


class Alone:
    """vLLM's `LLMEngine` under the arguments that the tournament's engines get."""

    def __init__(self, model: str, settings: EngineSettings, device: str) -> None:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        from agents.models.folder import checkpoint_dtype, eos_ids, max_context

        folder = Path(model)
        arguments = engine_arguments(settings, device, model, checkpoint_dtype(folder), max_context(folder))
        self.engine = LLMEngine.from_engine_args(EngineArgs(**arguments))
        self.stops = list(eos_ids(folder))
        self.n_asked = 0

    def feed(self, prompts: list[Prompt], at_a_time: int | None = None) -> Fed:
        """Answer all prompts, with an empty prefix cache to begin with.

        at_a_time: so many in flight, each replaced once it is answered; None: all in one batch.
        """
        self.engine.reset_prefix_cache()
        fed, todo, open_now = Fed(), prompts[::-1], 0
        began, cpu = time.perf_counter(), time.process_time()
        while todo or open_now:
            while todo and (at_a_time is None or open_now < at_a_time):
                self._add(prompt := todo.pop())
                fed.prompt += len(prompt.ids)
                open_now += 1
            fed.steps += 1
            for output in self.engine.step():
                if output.finished:
                    open_now -= 1
                    fed.cached += output.num_cached_tokens or 0
                    fed.generated += len(output.outputs[0].token_ids)
        fed.seconds, fed.cpu = time.perf_counter() - began, time.process_time() - cpu
        return fed

    def _add(self, prompt: Prompt) -> None:
        from agents.backends.vllm.engine import _params

        self.n_asked += 1
        sampling = prompt.sampling
        stops = [*sampling.stop_ids, *self.stops]
        params = _params(prompt, sampling.max_tokens, sampling.seed, stops=stops)
        ids = {"type": "token", "prompt_token_ids": list(prompt.ids)}
        self.engine.add_request(str(self.n_asked), ids, params)


def prompts_of(path: Path, sampling: dict[str, Any], stop_ids: tuple[int, ...]) -> list[Prompt]:
    """The prompt of every model decision of a run, those of all games by turns, with the seeds they were asked with."""
    run, found = load_run(path), []
    for game_id, records in run.logs():
        for record in records:
            trace = getattr(record, "trace", None)
            if trace is not None:
                asked = Sampling(**sampling, seed=trace.sampling["seed"], stop_ids=stop_ids)
                found.append((record.seq, Prompt(tuple(run.prompt_ids(game_id, record.seq)), asked)))
    return [prompt for _, prompt in sorted(found, key=lambda pair: pair[0])]


def random_model(folder: Path) -> str:
    """A random model of 85M parameters with the small model's tokenizer, saved; its folder."""
    import torch
    from transformers import LlamaForCausalLM

    from agents.models.small import make_config
    from agents.werewolf.vocabulary import make_tokenizer

    tokenizer = make_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(make_config(len(tokenizer), hidden=768, layers=12, intermediate=2048))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
