"""How many engines a model gets on a CPU: each computes on one core, so several share the seats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from agents.backends.environment import on_gpu
from agents.models.adapter import weight_bytes
from harness.config.models import model_folder
from harness.config.sections import BackendSection
from harness.machine import cores, free_memory
from harness.schedule.tournament import Schedule

SEATS = 200
"""Seats that an engine must have before another is started beside it: an engine has taken as long to start as the
small model's decisions in so many seats of `demo` take (docs/waiting.md)."""
ENGINE_BYTES = 2 * 2**30
"""Memory of an engine beside its weights and its cache."""


def engines(
    schedule: Schedule, used: Mapping[str, BackendSection], ended: Collection[str] = ()
) -> dict[str, int]:
    """Engines of each backend that vLLM plays: what the configuration says, else on a GPU one, and on a CPU as many
    as there are cores, seats and free memory for.

    ended: ids of games that are not played any more.
    """
    found = {name: section.replicas or 1 for name, section in used.items() if section.kind == "vllm"}
    free = {name for name in found if used[name].replicas is None and not on_gpu(used[name].device)}
    n_cores = cores()
    if not free or n_cores <= sum(found.values()):
        return found
    seats = _seats(schedule, ended, SEATS * n_cores * len(found))
    size = {name: _bytes(used[name]) for name in found}
    memory = free_memory() - sum(size[name] * n for name, n in found.items())
    while sum(found.values()) < n_cores:
        able = [
            name for name in sorted(free) if seats[name] >= SEATS * (found[name] + 1) and size[name] <= memory
        ]
        if not able:
            break
        most = max(able, key=lambda name: seats[name] / found[name])
        found[most] += 1
        memory -= size[most]
    return found


def side_by_side(used: Mapping[str, BackendSection], n: Mapping[str, int]) -> dict[str, BackendSection]:
    """The backends with their numbers of engines."""
    return {
        name: section.model_copy(update={"replicas": n[name]}) if name in n else section
        for name, section in used.items()
    }


def _seats(schedule: Schedule, ended: Collection[str], enough: int) -> Counter[str]:
    """Backend -> seats that ask it, counted until together they are enough."""
    found: Counter[str] = Counter()
    for planned in schedule:
        if planned.game_id in ended:
            continue
        agents = schedule.configs[planned.cell].agents
        found.update(backend for name in planned.agents if (backend := agents[name].backend) is not None)
        if found.total() >= enough:
            break
    return found


def _bytes(section: BackendSection) -> int:
    cache = int(section.settings.get("kv_cache_gb", 1) * 2**30)
    return 2 * weight_bytes(model_folder(section)) + cache + ENGINE_BYTES
