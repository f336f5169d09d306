"""The same run gives the same figures, whatever the number of threads and the order of rows."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.stats.bootstrap import ratio_interval
from tests.fixtures.local_runs import play_run, scripted
from tests.fixtures.planted_runs import planted_run

ROOT = Path(__file__).parents[2]


def figures(played: Path, rivals: Path, out: Path, threads: int) -> dict[str, object]:
    out.mkdir()
    names = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fixtures.figures", played, rivals, out],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(names, str(threads))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_every_figure_is_the_same_on_one_thread_and_on_four(tmp_path: Path) -> None:
    played = planted_run(tmp_path / "planted", 18, 1.2, d_model=8, model_seats=3, beliefs=True, tokens=1.0)
    rivals = play_run(
        scripted(
            games=6,
            mix={"random": 1, "loud": 1, "naive": 1},
            roster={"roles": {"werewolf": "random", "village": ["loud", "naive"]}},
        ),
        tmp_path / "rivals",
    )
    one, four = (figures(played, rivals, tmp_path / f"out-{n}", n) for n in (1, 4))
    assert len(one) > 15
    assert [name for name in one if one[name] != four[name]] == []


def test_an_interval_does_not_depend_on_the_order_of_games() -> None:
    rng = np.random.default_rng(0)
    games = np.array([f"g{i}" for i in range(40)])
    top, bottom = rng.normal(size=40), rng.integers(1, 9, 40)
    order = rng.permutation(40)
    assert ratio_interval(games, top, bottom) == ratio_interval(games[order], top[order], bottom[order])


def unordered(path: Path) -> Iterator[str]:
    """Calls on tables that may give rows in an order that depends on threads."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        named = {word.arg: word.value for word in node.keywords}
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "np":
            continue
        kind = node.func.attr
        if kind == "join":  # of strings has no `on`; those below keep the left side's order
            how = named.get("how")
            asked = "on" in named and not (isinstance(how, ast.Constant) and how.value in ("semi", "anti"))
        else:
            asked = kind in ("group_by", "unique") or (kind == "sort" and bool(node.args))
        if asked and "maintain_order" not in named:
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {kind}"


def test_no_table_is_grouped_joined_or_sorted_in_an_order_of_its_own() -> None:
    sources = [path for package in ("analysis", "harness") for path in (ROOT / package).rglob("*.py")]
    found = [line for path in sorted(sources) for line in unordered(path)]
    assert found == [], (
        "add maintain_order=True (joins: ='left'): rows in any order give a bootstrap of any value"
    )
