"""The benchmark that waits for a GPU: its commands are ones that its parts take, and they run in small on a CPU."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import pytest

from tests.benchmarks import bench_gpu


class Parsed(Exception):
    """The arguments were taken."""


@pytest.mark.parametrize("tiny", [True, False])
def test_every_step_for_a_gpu_is_a_benchmark_that_takes_its_arguments(
    tiny: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser) -> None:
        plain(self)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    steps = bench_gpu.steps(tiny)
    assert len(steps) == len({step.name for step in steps}) == (5 if tiny else 8)
    for step in steps:
        file, *words = step.words
        module = importlib.import_module(f"tests.benchmarks.{file.removesuffix('.py')}")
        monkeypatch.setattr(sys, "argv", [file, *words])
        with pytest.raises(Parsed):
            module.main()


def test_its_capture_runs_in_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from tests.benchmarks import bench_capture

    model = bench_gpu.random_model(tmp_path / "tiny", bench_gpu.SHAPES["tiny"], "cpu")
    (words,) = (s.words for s in bench_gpu.steps(True) if "by hooks" in s.name)
    monkeypatch.setattr(sys, "argv", [str(model) if word == "MODEL" else word for word in words])
    threads = torch.get_num_threads()
    try:
        bench_capture.main()
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert "2 layers of 64" in said and "of plain" in said and "ours, shared prefixes" in said
