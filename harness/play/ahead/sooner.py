"""Which engine is done first with a small model on a CPU: vLLM decides faster, transformers starts sooner."""

from __future__ import annotations

from collections.abc import Mapping

from agents.backends.environment import on_gpu
from agents.models.adapter import is_adapter, weight_bytes
from harness.config.models import model_folder
from harness.config.sections import BackendSection

SMALL_BYTES = 50_000_000
"""Weights up to which the figures below hold: on the small model (8 layers of width 128) starting costs more than
most tournaments."""
EVEN_CALLS = 1_400
"""Calls at which both have taken the same processor time. A vLLM engine has taken 12.9 s before it answers and then
answers 113 calls of the demo's games a second of processor time, a transformers engine 5.9 s and 73 (docs/waiting.md).
"""


def sooner(
    used: Mapping[str, BackendSection], models: Mapping[str, str], calls: Mapping[str, int]
) -> list[str]:
    """What to change for a run that ends sooner, in words.

    models: backend -> model. calls: model -> calls expected in the whole run.
    """
    found = []
    for name, section in used.items():
        n = calls.get(models[name], 0)
        if section.kind not in ("vllm", "transformers") or not n:
            continue
        few = n < EVEN_CALLS
        if few == (section.kind == "transformers") or not _small_on_cpu(section):
            continue
        if few:
            found.append(
                f'{name} is asked {n:,} times: with kind = "transformers" the run would be done sooner; vLLM answers '
                f"faster, but takes longer to start, which is even at about {EVEN_CALLS:,} calls of so small a model"
            )
        else:
            found.append(
                f'{name} is asked {n:,} times: with kind = "vllm" the run would be done sooner, unless it needs what '
                "transformers alone does (steering, activations while playing)"
            )
    return found


def _small_on_cpu(section: BackendSection) -> bool:
    if on_gpu(section.device):
        return False
    folder = model_folder(section)
    return not is_adapter(folder) and weight_bytes(folder) <= SMALL_BYTES
