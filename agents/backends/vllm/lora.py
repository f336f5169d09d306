"""A LoRA adapter in a vLLM engine: the engine's arguments, and the check that the adapter is applied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.backends.base import Prompt, Sampling
from agents.models.adapter import base_of, check_row, is_adapter, parity_of, rank_of
from agents.models.errors import ModelFilesError

if TYPE_CHECKING:
    from agents.backends.vllm.loop import EngineLoop

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Maximal ranks that an engine supports."""
PROBE = tuple(range(4, 20))
"""Token ids of the context on which an adapter without a saved row is checked."""


def lora_arguments(folder: Path) -> dict[str, Any]:
    """Keyword arguments of vLLM's EngineArgs for a model folder; none but for an adapter's. Raises ModelFilesError."""
    if not is_adapter(folder):
        return {}
    rank = rank_of(folder)
    room = next((r for r in RANKS if r >= rank), None)
    if room is None:
        raise ModelFilesError(
            f"the adapter '{folder}' has rank {rank}, vLLM takes at most {RANKS[-1]}: merge it into its base, "
            "wolfscope merge-adapter"
        )
    return {"model": str(base_of(folder)), "enable_lora": True, "max_loras": 1, "max_lora_rank": room}


def lora_request(folder: Path) -> Any | None:
    """The LoRARequest of every request to such an engine; None for a whole model."""
    if not is_adapter(folder):
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest(folder.name, 1, str(folder))


async def check_engine(folder: Path, dtype: str, loop: EngineLoop, params: Callable[[Prompt], Any]) -> None:
    """Ask an engine for one row with the adapter and without it. Raises ModelFilesError where it does not apply it.

    params: a request's as vLLM takes them. Nothing is asked for a whole model.
    """
    if not is_adapter(folder):
        return
    kept = parity_of(folder)
    ids, read = (PROBE, PROBE) if kept is None else (kept.ids, kept.read)
    prompt = params(Prompt(ids, Sampling(temperature=0.0, max_tokens=1, read=read)))
    found, base = [(await loop.ask(ids, prompt, base=plain)).read(read) for plain in (False, True)]
    check_row(folder, "vLLM", dtype, found, base, kept)
