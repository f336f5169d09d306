"""Hidden states of prompts through a vLLM engine in this process: forward hooks in its worker.

A decoder layer of vLLM returns `(output, residual)`, whose sum is the residual stream after that layer. Rows of a step
belong to requests by the model runner's `query_start_loc` and `input_batch.req_ids`, absolute positions are the layer's
first argument. The prefix cache is off, since cached tokens produce no rows. One GPU or the CPU; eager mode.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.backends.vllm.lora import lora_arguments, lora_request
from agents.backends.vllm.settings import EngineSettings, engine_arguments, engine_env
from agents.hooks.layers import select_layers
from agents.models.folder import check_model_dir, checkpoint_dtype, max_context, model_name, vocab_size
from agents.models.lean import lean_imports


class VllmStates:
    """An engine used for hidden states alone. The caller must `close` it."""

    def __init__(
        self,
        model_dir: str | Path,
        layers: Sequence[int | float] | str = "all",
        *,
        embed: bool = True,
        device: str = "cpu",
        settings: EngineSettings | None = None,
    ) -> None:
        """layers: as `agents.hooks.layers.select_layers`. device: cpu or gpu. Raises ModelFilesError, ValueError."""
        folder = check_model_dir(model_dir)
        settings = settings or EngineSettings(max_concurrent=64)
        for name, value in engine_env(device, settings.kv_cache_gb).items():  # read when vLLM is imported
            os.environ.setdefault(name, value)
        with lean_imports():
            from vllm.engine.arg_utils import EngineArgs
            from vllm.v1.engine.llm_engine import LLMEngine

        self.name = model_name(folder)
        self.max_context, self.vocab_size = max_context(folder), vocab_size(folder)
        self.dtype = checkpoint_dtype(folder) if settings.dtype == "auto" else settings.dtype
        length = min(self.max_context, settings.max_context or self.max_context)
        arguments = engine_arguments(settings, device, str(folder), self.dtype, length)
        arguments |= {"enable_prefix_caching": False, "enforce_eager": True, **lora_arguments(folder)}
        self._lora = lora_request(folder)
        self._most = int(arguments["max_num_batched_tokens"])
        self._engine: Any = LLMEngine.from_engine_args(EngineArgs(**arguments))
        self._count = 0
        self._wanted: dict[str, NDArray[np.int64]] = {}
        self._rows: dict[str, NDArray[np.float32]] = {}
        worker = self._engine.collective_rpc(lambda worker: worker)[0]
        self._runner: Any = worker.model_runner
        blocks = list(self._runner.get_model().model.layers)
        chosen = select_layers(layers, len(blocks))
        self.layers = (*(("embed",) if embed else ()), *(f"resid_post.{i}" for i in chosen))
        self.d_model = int(self._engine.model_config.get_hidden_size())
        self._handles: list[Any] = []
        if embed:
            self._handles.append(blocks[0].register_forward_pre_hook(self._before, with_kwargs=True))
        for row, i in enumerate(chosen, start=int(embed)):
            self._handles.append(blocks[i].register_forward_hook(self._after(row), with_kwargs=True))

    def states(
        self, contexts: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """Of each context the states at its wanted (ascending, distinct) token indices: (n, n_layers, d_model)."""
        from vllm import SamplingParams

        params = SamplingParams(temperature=0.0, max_tokens=1, ignore_eos=True, detokenize=False)
        names = []
        for ids, indices in zip(contexts, wanted, strict=True):
            if len(ids) >= self.max_context:
                raise ValueError(
                    f"a context of {len(ids)} tokens leaves no room for the one token that the engine must make; the "
                    f"model's context is {self.max_context}: read it with --engine transformers"
                )
            self._count += 1
            name = f"c{self._count}"
            # the engine may name a request further; its own name begins with ours
            names.append(name)
            self._wanted[name] = np.asarray(indices, dtype=np.int64)
            shape = (len(indices), len(self.layers), self.d_model)
            self._rows[name] = np.full(shape, np.nan, dtype=np.float32)
            prompt = {"type": "token", "prompt_token_ids": list(ids)}
            self._engine.add_request(name, prompt, params, lora_request=self._lora)
        while self._engine.has_unfinished_requests():
            self._engine.step()
        found = [self._rows.pop(name) for name in names]
        for name in names:
            del self._wanted[name]
        if any(np.isnan(rows).any() for rows in found):
            raise RuntimeError(
                "the engine left wanted positions unread: its layers are not called as this version of vLLM calls them"
            )
        return found

    def close(self) -> None:
        """Remove the hooks and free the engine."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._engine.engine_core.shutdown()

    def _before(self, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        given = dict(zip(("positions", "hidden_states", "residual"), args, strict=False)) | dict(kwargs)
        self._keep(0, given["positions"], given["hidden_states"])

    def _after(self, row: int) -> Any:
        def hook(_: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            positions = args[0] if args else kwargs["positions"]
            if isinstance(output, tuple):
                self._keep(row, positions, output[0] + output[1])
            else:
                self._keep(row, positions, output)

        return hook

    def _keep(self, row: int, positions: Any, stream: Any) -> None:
        if not self._wanted:
            return  # the engine's own warm-up
        names = self._runner.input_batch.req_ids
        edges = self._runner.query_start_loc.np[: len(names) + 1]
        at = positions.cpu().numpy()
        for i, full in enumerate(names):
            name = full if full in self._wanted else full.split("-")[0]
            low, high = int(edges[i]), int(edges[i + 1])
            wanted = self._wanted.get(name)
            if wanted is None or high == low:
                continue
            here = {int(p): low + k for k, p in enumerate(at[low:high])}
            picked = [(k, here[int(p)]) for k, p in enumerate(wanted) if int(p) in here]
            if picked:
                to, source = zip(*picked, strict=True)
                self._rows[name][list(to), row] = stream[list(source)].float().cpu().numpy()
