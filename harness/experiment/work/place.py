"""The place where an experiment runs: this process, or actors on Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.errors import ConfigurationError
from harness.experiment.work.worker import Worker
from harness.experiment.work.workers import Here, Workers
from harness.play.preflight.place import Executor


@dataclass(frozen=True)
class Place:
    """The place where an experiment runs, with its resources."""

    device: str = "auto"
    """Device of each worker's model: cpu, cuda or auto."""
    executor: Executor = "auto"
    """`local`: this process; `ray`: actors on Ray; `auto`: this process where no cluster is named."""
    address: str | None = None
    """Address of a Ray cluster; None: this process's Ray instance, or a new local one."""
    n_workers: int | None = None
    """Actors on Ray; None: one for each GPU, or one for each core where there is none."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError where both this process and actors are asked for."""
        if self.executor == "local" and self.address is not None:
            raise ConfigurationError(
                f"--local works on this machine, --ray-address {self.address} on a cluster: leave out one of them"
            )
        if self.n_workers is not None and not self.on_ray:
            raise ConfigurationError(
                f"--workers {self.n_workers} are actors on Ray, and the work is done in this process: add --ray"
            )

    @property
    def on_ray(self) -> bool:
        """Whether actors do the work."""
        return self.executor == "ray" or self.address is not None

    @contextlib.contextmanager
    def workers(self, worker: Worker, say: Callable[[str], None]) -> Iterator[Workers]:
        """The workers for a block: `worker` itself, or actors created from its folder.

        Raises ConfigurationError where the cluster cannot be reached, TournamentError where Ray does not start.
        """
        try:
            if not self.on_ray:
                yield Here(worker)
                return
            from harness.experiment.work.on_ray import ray_workers

            with ray_workers(worker.folder, self.device, self.address, self.n_workers, say) as workers:
                yield workers
        finally:
            worker.close()
