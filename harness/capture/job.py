"""What an offline extraction reads: from the configuration and the command line, checked before any work."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import msgspec

from harness.activations.shards import DTYPES
from harness.activations.sites import BOUND, check_sites
from harness.capture.variants import ORIGINAL, check_variants
from harness.config.sections import Config, SteeringSection
from harness.errors import ConfigurationError
from harness.gate import segment_of
from harness.run.folder import Run

ENGINES = ("transformers", "vllm")
DEVICES = r"auto|cpu|gpu|mps|cuda(:\d+)?"


class Wanted(TypedDict, total=False):
    """A user's options for a capture; the rest come from `[activations]` of the run's configuration."""

    sites: Sequence[str]
    layers: Sequence[str]
    variants: Sequence[str]
    lexicon: str
    """The words of the variant `reskinned`, stored as `reskinned-<lexicon>`; `neutral` where it is not given."""
    roles: Sequence[str]
    """Only the contexts of seats that have one of these roles; all where it is not given."""
    steer: str | Path | None
    """A TOML file with a steering table: the contexts are read steered."""
    dtype: str | None
    """The store's number format."""
    backend: str | None
    """Whose model, where the run has several."""
    engine: str
    """`transformers` or `vllm`."""
    device: str
    untrained: bool
    """Read the same architecture with random weights instead, on the same contexts, into
    `<run>/activations-untrained`: the baseline that shows what training added."""
    model: str | Path | None
    """Read another checkpoint with the same words, on the same contexts, into `<run>/activations-NAME`, where NAME is
    the folder's name."""


class CaptureJob(msgspec.Struct, frozen=True):
    """The contexts, sites and layers that a capture reads, and how."""

    backend: str
    """The key of the `[backends.*]` whose model is read."""
    sites: tuple[str, ...]
    layers: tuple[str, ...]
    """`all`, or words as `agents.hooks.hooks.named_points` takes them."""
    variants: tuple[str, ...] = (ORIGINAL,)
    roles: tuple[str, ...] = ()
    """Roles of the seats whose contexts are read; empty: all."""
    steer: str | None = None
    """A TOML file with a steering table: the contexts are read steered, as variants `steered-<hash>`."""
    untrained: bool = False
    engine: str = "transformers"
    device: str = "auto"
    dtype: str = "float32"
    """The store's number format."""
    weights: str = "auto"
    """The dtype that the model computes in: the one it played in, from `settings.dtype` of its backend. `auto`: the
    dtype of the saved checkpoint."""
    model: str | None = None
    """A folder with another checkpoint of the model that played: the same contexts are read through it."""

    def steering(self) -> SteeringSection | None:
        """The steering table of the file. Raises ConfigurationError."""
        if self.steer is None:
            return None
        from harness.activations.steering import read_steering

        return read_steering(self.steer)

    def suffix(self) -> str:
        """The suffix of its variants' names where it is steered, else an empty string. Raises ConfigurationError."""
        steering = self.steering()
        if steering is None:
            return ""
        from harness.activations.steering import steering_key

        return f"steered-{steering_key(steering)}"

    def store(self, run: Path) -> Path:
        """The folder that the job fills."""
        if self.model is not None:
            return run / f"activations-{segment_of(Path(self.model).resolve().name)}"
        return run / ("activations-untrained" if self.untrained else "activations")


def make_job(config: Config, **wanted: Unpack[Wanted]) -> CaptureJob:
    """The job for the options `wanted` on a run with this configuration. Raises ConfigurationError."""
    usual, lexicon = config.activations, wanted.get("lexicon", "neutral")
    layers = tuple(wanted.get("layers", ())) or ("all" if usual.layers == "all" else usual.layers)
    read = chosen_backend(config, wanted.get("backend") or usual.backend)
    steer, model, untrained = wanted.get("steer"), wanted.get("model"), wanted.get("untrained", False)
    engine, device, dtype = (
        wanted.get("engine", ENGINES[0]),
        wanted.get("device", "auto"),
        wanted.get("dtype"),
    )
    job = CaptureJob(
        backend=read,
        sites=tuple(wanted.get("sites") or usual.sites),
        layers=("all",) if layers == "all" else tuple(map(str, layers)),
        variants=tuple(
            f"{name}-{lexicon}" if name == "reskinned" else name
            for name in wanted.get("variants") or usual.variants
        ),
        roles=tuple(wanted.get("roles", ())),
        steer=None if steer is None else str(Path(steer).resolve()),
        untrained=untrained,
        engine=engine,
        device=device,
        dtype=dtype or usual.dtype,
        weights=str(config.backends[read].settings.get("dtype", "auto")),
        model=None if model is None else str(Path(model).expanduser().resolve()),
    )
    check_sites(job.sites)
    check_variants(job.variants)
    if job.dtype not in DTYPES:
        raise ConfigurationError(f"no number format is called {dtype!r}; there are: {', '.join(DTYPES)}")
    if engine not in ENGINES:
        raise ConfigurationError(f"no engine is called {engine!r}; there are: {', '.join(ENGINES)}")
    if not re.fullmatch(DEVICES, device):
        raise ConfigurationError(f"no device is called {device!r}; give auto, cpu, cuda, cuda:NUMBER or mps")
    if engine == "vllm" and (steer is not None or untrained):
        raise ConfigurationError(
            "a vLLM engine is read as it is: --steer and --untrained need --engine transformers"
        )
    if untrained and model is not None:
        raise ConfigurationError("--untrained draws the weights of the model that played; leave out --model")
    return job


def check_seats(run: Run, job: CaptureJob) -> None:
    """Raises ConfigurationError where the job names a seat or a role that no game of the run has."""
    dealt = sorted(run.seats.select("role").unique(maintain_order=True).collect()["role"].drop_nulls())
    if unknown := [role for role in job.roles if role not in dealt]:
        raise ConfigurationError(
            f"no seat of {run.path} has the role {unknown[0]!r}; there are: {', '.join(dealt)}"
        )
    last = run.seats.select("seat").max().collect().item()
    if last is None:
        return
    steering = job.steering()
    named = {
        f"site {site}": int(site.partition(":")[2])
        for site in job.sites
        if site.startswith(tuple(f"{name}:" for name in BOUND))
    }
    named |= {f"steering.seats of {job.steer}": seat for seat in (steering.seats or () if steering else ())}
    for what, seat in named.items():
        if seat > last:
            raise ConfigurationError(
                f"{what} names seat {seat}; the games of {run.path} have seats 0 to {last}"
            )


def chosen_backend(config: Config, name: str | None) -> str:
    """The backend whose model is read: the one named, or the only one that plays. Raises ConfigurationError."""
    seated = {agent for agent in config.roster.agents() if config.agents[agent].kind == "llm"}
    used = sorted({config.agents[agent].backend or "" for agent in seated})
    if name is None and len(used) == 1:
        name = used[0]
    if name is None or name not in config.backends:
        what = "no player of this run is a model" if not used else f"the run's models are {', '.join(used)}"
        found = "none is chosen" if name is None else f"{name!r} is not one of them"
        raise ConfigurationError(f"{what}; {found}: name one as activations.backend or --backend")
    return name
