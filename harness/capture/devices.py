"""Offline extraction on several devices: parallel readers as Ray actors, each with its share of the games.

Each appends to the same store under its own shard names, so no reader waits for another; one that dies loses only its
unwritten rows, and the same command resumes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ray

from agents.backends.environment import checkout
from agents.backends.vllm.settings import engine_env
from harness.capture.job import CaptureJob
from harness.capture.progress import CaptureProgress, together
from harness.capture.share import capture_share
from harness.errors import WolfscopeError
from harness.play.pools.cluster import ray_for_now
from harness.play.progress import Progress


class CaptureActor:
    """One reader."""

    def capture(self, path: str, job: CaptureJob, share: int, n_shares: int) -> CaptureProgress:
        """`capture_share`."""
        return capture_share(Path(path), job, share, n_shares)


def capture_on_devices(
    path: Path, job: CaptureJob, devices: int, say: Callable[[str], None]
) -> CaptureProgress:
    """Read a run with several readers. Raises as `capture_share`, and WolfscopeError where a reader has died."""
    with ray_for_now(None, Progress("quiet")):
        gpus = ray.cluster_resources().get("GPU", 0)
        on_gpu = job.device.partition(":")[0] in ("cuda", "gpu") or (job.device == "auto" and gpus > 0)
        env = engine_env("gpu" if on_gpu else "cpu") | {"PYTHONPATH": str(checkout())}
        remote = ray.remote(CaptureActor).options(
            num_cpus=0, num_gpus=1 if on_gpu else 0, runtime_env={"env_vars": env}
        )
        actors = [remote.remote() for _ in range(devices)]
        say(f"{devices} readers share the games")
        try:
            pending = [a.capture.remote(str(path), job, i, devices) for i, a in enumerate(actors)]
            return together(ray.get(pending))
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise (
                cause if isinstance(cause, (WolfscopeError, RuntimeError, ValueError)) else error
            ) from error
        except ray.exceptions.RayActorError as error:
            raise WolfscopeError(f"a reader has died ({error}); the same command goes on") from error
        finally:
            for actor in actors:
                ray.kill(actor)
