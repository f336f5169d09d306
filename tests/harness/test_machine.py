"""What of this machine a process may use is what its container allows."""

from pathlib import Path

import pytest

from harness import machine


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)), raising=False)
    return tmp_path


def written(group: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = group / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")


def test_without_limits_it_has_the_cores_that_it_is_bound_to(group: Path) -> None:
    assert machine.cores() == 16
    written(group, {"cpu.max": "max 100000"})
    assert machine.cores() == 16


@pytest.mark.parametrize(("quota", "n"), [(200_000, 2), (150_000, 2), (20_000, 1), (9_900_000, 16)])
def test_a_quota_of_processor_time_is_that_many_cores(group: Path, quota: int, n: int) -> None:
    written(group, {"cpu.max": f"{quota} 100000"})
    assert machine.cores() == n


def test_an_older_control_group_says_the_same(group: Path) -> None:
    written(group, {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"})
    assert machine.cores() == 3
    written(group, {"cpu/cpu.cfs_quota_us": "-1"})
    assert machine.cores() == 16


@pytest.mark.parametrize("older", [False, True])
def test_free_memory_is_the_limit_less_what_is_taken_and_not_given_back(group: Path, older: bool) -> None:
    names = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat")
    limit, used, stat = names if older else ("memory.max", "memory.current", "memory.stat")
    kept = "total_inactive_file" if older else "inactive_file"
    written(group, {limit: str(900 << 20), used: str(500 << 20), stat: f"anon 5\n{kept} {100 << 20}"})
    assert machine.free_memory() == 500 << 20
    written(group, {used: str(1100 << 20)})
    assert machine.free_memory() == 0


def test_memory_without_a_limit_is_the_system_s(group: Path) -> None:
    free = machine.free_memory()
    written(group, {"memory.max": "max", "memory.current": "7"})
    assert machine.free_memory() == pytest.approx(free, rel=0.5)
    assert free > 0
