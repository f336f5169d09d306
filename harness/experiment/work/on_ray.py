"""An experiment's workers on Ray: actors on any node with access to the folder, each with its own model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray

from agents.backends.environment import checkout
from agents.backends.vllm.settings import engine_env
from harness.errors import ConfigurationError, TournamentError
from harness.experiment.moments import Moment
from harness.experiment.work.worker import Rows, Worker
from harness.experiment.work.workers import Todo
from harness.play.pools.cluster import n_cpus, ray_for_now
from harness.play.progress import Progress

AHEAD = 2
"""Moments queued per actor: one in progress, one waiting."""
MAX_FRUITLESS = 5
"""The experiment stops after this many workers lost in a row without a finished moment."""


class WorkerActor:
    """A worker's process. `start`, not the constructor, creates the worker, so that its errors keep their type."""

    def start(self, folder: Path, device: str) -> None:
        """As `Worker.of`."""
        self._worker = Worker.of(folder, device)

    def do(self, what: str, moment: Moment, given: Any) -> Rows:
        """As `Worker.do`."""
        return self._worker.do(what, moment, given)


@contextlib.contextmanager
def ray_workers(
    folder: Path, device: str, address: str | None, n_workers: int | None, say: Callable[[str], None]
) -> Iterator[OnRay]:
    """Workers for a block. n_workers: by default one for each GPU, or one for each core where there is none.

    Raises ConfigurationError where no cluster answers, TournamentError where Ray does not start.
    """
    if n_workers is not None and n_workers < 1:
        raise ConfigurationError(f"--workers {n_workers}: at least one worker is needed")
    say("starting Ray" if address is None else f"connecting to Ray at {address}")
    with ray_for_now(address, Progress("quiet")):
        gpus = int(ray.cluster_resources().get("GPU", 0))
        on_gpu = device.partition(":")[0] in ("cuda", "gpu") or (device == "auto" and gpus > 0)
        if on_gpu and max(1, n_workers or 1) > gpus:
            raise ConfigurationError(
                f"--device {device} with {n_workers or 1} workers needs as many GPUs, found {gpus}"
            )
        n = n_workers or (gpus if on_gpu else n_cpus())
        workers = OnRay(folder, device, n, on_gpu, say)
        try:
            yield workers
        finally:
            workers.end()


class OnRay:
    """Workers on Ray. A lost worker is replaced, and another one does its moments."""

    def __init__(self, folder: Path, device: str, n: int, on_gpu: bool, say: Callable[[str], None]) -> None:
        self.folder, self.device, self.n, self.say = folder.resolve(), device, n, say
        environment = engine_env("gpu" if on_gpu else "cpu") | {
            "PYTHONPATH": str(checkout()), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self._remote = ray.remote(WorkerActor).options(
            num_cpus=0, num_gpus=1 if on_gpu else 0, max_restarts=0, max_task_retries=0,
            scheduling_strategy="SPREAD", runtime_env={"env_vars": environment},
        )  # fmt: skip
        self._actors: list[Any] = []

    def each(self, what: str, todo: Todo) -> Iterator[tuple[Moment, Rows]]:
        """As `Workers.each`, in whatever order they are done. Raises TournamentError where workers keep dying."""
        waiting, fruitless = list(reversed(todo)), 0
        pending: dict[Any, tuple[int, tuple[Moment, Any]]] = {}
        if waiting and not self._actors:
            n = min(self.n, len(waiting))
            self.say(f"starting {n} worker{'s' if n > 1 else ''}, each with the model")
            self._actors = self._started(n)
        while waiting or pending:
            load = [0] * len(self._actors)
            for actor, _ in pending.values():
                load[actor] += 1
            while waiting and min(load, default=AHEAD) < AHEAD:
                actor = load.index(min(load))
                moment, given = item = waiting.pop()
                pending[self._actors[actor].do.remote(what, moment, given)] = (actor, item)
                load[actor] += 1
            ready, _ = ray.wait(list(pending), num_returns=1)
            actor, (moment, given) = pending.pop(ready[0])
            try:
                rows: Rows = ray.get(ready[0])
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:
                fruitless += 1
                if fruitless >= MAX_FRUITLESS:
                    raise TournamentError(
                        f"{fruitless} workers were lost in a row ({type(error).__name__}), the last one at moment "
                        f"{moment.id}: the experiment stops; the same command goes on"
                    ) from error
                self.say(f"a worker was lost ({type(error).__name__}); another goes on with its moments")
                lost = [ref for ref, (at, _) in pending.items() if at == actor]
                waiting += [(moment, given), *(pending.pop(ref)[1] for ref in lost)]
                (self._actors[actor],) = self._started(1)
                continue
            fruitless = 0
            yield moment, rows

    def end(self) -> None:
        """End the actors."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []

    def _started(self, n: int) -> list[Any]:
        actors = [self._remote.remote() for _ in range(n)]
        try:
            ray.get([actor.start.remote(self.folder, self.device) for actor in actors])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise TournamentError(f"a worker did not start ({type(error).__name__}): {error}") from error
        return actors
