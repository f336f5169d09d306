"""The part of a configuration that decides which games are played and how players answer; the rest may change when a
run is resumed."""

from __future__ import annotations

from typing import Any

MEANS = (
    "replicas", "tensor_parallel", "max_concurrent", "api_key_env", "url", "serve", "device", "prices",
)  # fmt: skip
"""Keys of `[backends.*]` that affect where and how fast a model answers, not what."""
ENGINE_MEANS = (
    "max_batched_tokens", "block_size", "kv_cache_gb", "gpu_memory", "cpus", "start_timeout_s", "request_timeout_s",
    "max_batch", "max_batch_tokens", "max_wait_s", "cache_tokens", "timeout_s", "give_up_s",
)  # fmt: skip
"""Keys of `[backends.*.settings]` of the same kind."""


def identity(plain: dict[str, Any]) -> dict[str, Any]:
    """The part of a plain configuration that decides which games are played (their number aside)."""
    kept = {key: plain.get(key) for key in ("game", "agents", "roster", "experiment")}
    kept["agents"] = {
        name: {key: value for key, value in agent.items() if key != "steering" or value is not None}
        for name, agent in plain.get("agents", {}).items()
    }
    kept["run"] = {"seed": plain.get("run", {}).get("seed")}
    kept["backends"] = {
        name: {
            key: _deciding(value) if key == "settings" else value
            for key, value in backend.items()
            if key not in MEANS
        }
        for name, backend in plain.get("backends", {}).items()
    }
    return kept


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an engine that can change what a model answers."""
    return {key: value for key, value in settings.items() if key not in (*MEANS, *ENGINE_MEANS)}
