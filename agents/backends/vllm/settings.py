"""Settings of a vLLM engine, and the environment variables that its process must start with. No heavy imports."""

from __future__ import annotations

import re
from typing import Any

import msgspec

NAMES = {
    "max_model_len": "max_context",
    "max_num_seqs": "max_concurrent",
    "max_num_batched_tokens": "max_batched_tokens",
    "gpu_memory_utilization": "gpu_memory",
    "tensor_parallel_size": "tensor_parallel",
    "VLLM_CPU_KVCACHE_SPACE": "kv_cache_gb",
}
"""vLLM's names -> the project's setting names, for its messages."""
FORBIDDEN = (
    *("trust_remote_code", "worker_cls", "worker_extension_cls", "logits_processors"),  # would run code
    *(
        "hf_token",
        "model",
        "tokenizer",
        "load_format",
        "hf_overrides",
    ),  # would read other files than those hashed
)
"""Fields of vLLM's EngineArgs that no configuration may set: code of a model folder never runs."""


class EngineSettings(msgspec.Struct, frozen=True):
    """Settings of an engine. All other vLLM arguments go through `extra`."""

    device: str = "auto"
    """`cpu`, `gpu`, or `auto`: gpu when Ray sees one."""
    replicas: int = 1
    """Engines side by side, each a Ray actor; a session always goes to the same one."""
    tensor_parallel: int = 1
    """GPUs per engine."""
    dtype: str = "auto"
    """`auto`: the dtype the checkpoint was saved in. vLLM's own default silently downcasts float32."""
    max_concurrent: int = 64
    """Requests in flight per engine (vLLM's max_num_seqs)."""
    max_context: int | None = None
    """Tokens of prompt and output together; None: the checkpoint's own limit."""
    max_batched_tokens: int | None = None
    """Tokens of one engine step; None: 4096 or the context, whichever is more."""
    block_size: int | None = None
    """Tokens per prefix-cache block; None: 32 on CPU (its default of 128 finds nothing in short prompts),
    vLLM's choice on GPU."""
    kv_cache_gb: int = 1
    """Memory of the key-value cache on CPU, in GB."""
    gpu_memory: float = 0.9
    """Share of the GPU's memory that an engine may take."""
    cpus: float = 1.0
    """Ray CPUs reserved per engine."""
    start_timeout_s: float = 300.0
    """Seconds that an engine may take to start."""
    request_timeout_s: float = 600.0
    """A request that takes longer is given up with a BackendError."""
    extra: dict[str, Any] = {}
    """Further fields of vLLM's EngineArgs, passed as they are."""


def in_our_words(message: str) -> str:
    """A message of vLLM with the project's setting names beside its own, and the remedy where cache memory is short."""
    found = [
        f"{theirs} is settings.{ours} here"
        for theirs, ours in NAMES.items()
        if re.search(rf"(?<!\w){theirs}(?!\w)", message)
    ]
    if re.search(r"(?i)kv cache", message):
        found.append(
            "raise settings.kv_cache_gb (on a CPU) or settings.gpu_memory (on a GPU), or lower settings.max_context to "
            "what the games need"
        )
    return message + (f" ({'; '.join(found)})" if found else "")


def check_settings(settings: EngineSettings) -> None:
    """Raises ValueError for settings that no engine can have."""
    wrong = sorted({key.replace("-", "_") for key in settings.extra} & set(FORBIDDEN))
    if wrong:
        raise ValueError(
            f"extra.{wrong[0]} cannot be set: the code of a model folder never runs, and it is one folder"
        )
    for name in ("max_context", "max_batched_tokens", "block_size", "max_concurrent", "kv_cache_gb"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} = {value}: at least 1 is needed")
    if not 0 < settings.gpu_memory <= 1:
        raise ValueError(f"gpu_memory = {settings.gpu_memory}: a share above 0 and at most 1 is needed")


def engine_env(device: str, kv_cache_gb: int = 1) -> dict[str, str]:
    """Environment variables for the engine's process; they must be set before vLLM is imported there.

    One process (no V1 multiprocessing) starts in seconds instead of most of a minute. OMP_NUM_THREADS=1 on CPU
    because a tiny model's threads spend their time waiting for each other, 10 to 50 times slower otherwise.
    """
    env = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    if device == "cpu":
        env |= {
            "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gb),
            "TORCH_COMPILE_DISABLE": "1",
            "OMP_NUM_THREADS": "1",
        }
    else:
        env |= {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    return env


def engine_arguments(
    settings: EngineSettings, device: str, model_dir: str, dtype: str, context: int
) -> dict[str, Any]:
    """Keyword arguments of vLLM's EngineArgs.

    dtype: the checkpoint's; context: tokens of prompt and output together.

    Chunked prefill is off on CPU: a seeded request whose prompt is split over two steps kills the CPU engine
    ("CPU Generator does not use offset"), so each prompt has to fit into one step. The tokenizer stays outside:
    token ids go in and come out, and end-of-sequence ids are given with each request.
    """
    arguments: dict[str, Any] = {
        "model": model_dir,
        "dtype": dtype if settings.dtype == "auto" else settings.dtype,
        "max_model_len": context,
        "max_num_seqs": settings.max_concurrent,
        "max_num_batched_tokens": max(settings.max_batched_tokens or 4096, context),
        "tensor_parallel_size": settings.tensor_parallel,
        "enable_prefix_caching": True,
        "skip_tokenizer_init": True,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "seed": 0,
    }
    if device == "cpu":
        arguments |= {
            "block_size": settings.block_size or 32,
            "enforce_eager": True,
            "enable_chunked_prefill": False,
        }
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory
        if settings.block_size is not None:
            arguments["block_size"] = settings.block_size
        if settings.tensor_parallel > 1:
            arguments["distributed_executor_backend"] = "mp"
    check_settings(settings)
    return arguments | settings.extra
