"""A tournament as a task of Inspect (`pip install inspect-ai`; not a dependency).

    # wolfscope_task.py
    from inspect_ai import task
    from harness.play.inspect_task import tournament_task

    @task
    def werewolf(config="tournament.toml", out="runs/inspected"):
        return tournament_task(config, out)

`inspect eval wolfscope_task.py --model none` then plays the tournament with the models that its configuration names,
into a run folder as usual, and scores every game by the side that won. Inspect's own model is not used: the
configuration names the players.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.config.files import load_config
from harness.errors import ConfigurationError
from harness.play.tournament import run_tournament
from harness.run.folder import load_run
from harness.schedule.tournament import Schedule


def tournament_task(
    config: str | Path, out: str | Path, overrides: Iterable[str] = (), side: str = "village"
) -> Any:
    """An `inspect_ai.Task` of one sample a scheduled game; its score is whether `side` won.

    Raises ConfigurationError where inspect-ai is not installed or the configuration is wrong.
    """
    try:
        from inspect_ai import Task
        from inspect_ai.dataset import Sample
        from inspect_ai.scorer import Score, Target, accuracy, scorer, stderr
        from inspect_ai.solver import Generate, TaskState, solver
    except ImportError as error:
        raise ConfigurationError(
            f"a tournament as a task of Inspect needs inspect-ai ({error}): pip install inspect-ai"
        ) from error
    settled = load_config(config, overrides)
    planned = list(Schedule(settled))
    samples = [
        Sample(input=f"game {i} of {settled.run.name}", target=side, id=one.game_id, metadata={"index": i})
        for i, one in enumerate(planned)
    ]
    played = Once(lambda: run_tournament(settled, out))

    @solver
    def play() -> Any:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            path = await played.get()
            state.output.completion = outcome_of(path, str(state.sample_id))
            state.metadata["run"] = str(path)
            return state

        return solve

    @scorer(metrics=[accuracy(), stderr()])
    def won() -> Any:
        async def score(state: TaskState, target: Target) -> Score:
            winner = state.output.completion
            return Score(value="C" if winner == target.text else "I", answer=winner)

        return score

    return Task(dataset=samples, solver=play(), scorer=won())


class Once:
    """A blocking call made once in a thread by the first caller; all others wait for it."""

    def __init__(self, call: Any) -> None:
        self._call, self._lock, self._made = call, asyncio.Lock(), False
        self._value: Any = None

    async def get(self) -> Any:
        """The call's value; its exception is raised to every caller."""
        async with self._lock:
            if not self._made:
                self._value = await asyncio.to_thread(self._call)
                self._made = True
        return self._value


def outcome_of(run: str | Path, game_id: str) -> str:
    """The side that won a game, or its status where none did."""
    rows = load_run(run).games.select("game_id", "status", "winner").collect()
    (row,) = rows.filter(game_id=game_id).iter_rows(named=True)
    return str(row["winner"] or row["status"])
