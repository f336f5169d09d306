"""Experiment trackers: where a run's progress is reported besides the terminal.

A tracker is anything with the three methods of `Tracker`. JSON lines need nothing; Weights & Biases and MLflow are used
where they are installed. A failing tracker is reported once and then left out: it never stops a run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from agents.backends.secrets import mask, mask_bytes
from harness.atomic import storage
from harness.config.sections import Config
from harness.errors import ConfigurationError
from harness.play.progress import Mode, Progress
from harness.play.runner import Counts
from harness.run.manifest import now, this_session

Status = Literal["finished", "stopped", "failed"]


class RunFacts(msgspec.Struct, frozen=True):
    """The facts about a run that a tracker gets before it plays."""

    name: str
    path: str
    """The run folder."""
    config: dict[str, Any]
    config_hash: str
    revision: str | None
    versions: dict[str, str]


class Tracker(Protocol):
    """Takes a run's progress. Called from one thread, in this order: `start`, `log` any number of times, `finish`."""

    def start(self, run: RunFacts) -> None:
        """A run begins or resumes."""
        ...

    def log(self, facts: Mapping[str, float], step: int) -> None:
        """Numbers of `Progress.facts`, nested ones as `winners/village`. step: games that have ended, never falling."""
        ...

    def finish(self, status: Status, error: str | None) -> None:
        """The run is over: finished, stopped by the user, or failed with an error."""
        ...


class JsonLines:
    """Appends one JSON object a call to a file: `{"event": "start" | "log" | "finish", "time": ..., ...}`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, run: RunFacts) -> None:
        """As `Tracker.start`. Raises StorageError."""
        with storage(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._add("start", msgspec.to_builtins(run))

    def log(self, facts: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`. Raises StorageError."""
        self._add("log", {"step": step, **facts})

    def finish(self, status: Status, error: str | None) -> None:
        """As `Tracker.finish`. Raises StorageError."""
        self._add("finish", {"status": status, "error": error})

    def _add(self, event: str, facts: Mapping[str, Any]) -> None:
        line = json.dumps({"event": event, "time": now(), **facts}, ensure_ascii=False)
        with storage(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class Wandb:
    """Weights & Biases: one run of the project, with our run's name, found again by its configuration's hash."""

    def __init__(self, project: str) -> None:
        """Raises ConfigurationError where wandb is not installed."""
        self._wandb = _installed("wandb", "wandb")
        self.project = project
        self._run: Any = None

    def start(self, run: RunFacts) -> None:
        """As `Tracker.start`."""
        self._run = self._wandb.init(
            project=self.project,
            name=run.name,
            id=f"{run.name}-{run.config_hash}",
            resume="allow",
            config={**run.config, "config_hash": run.config_hash, "revision": run.revision},
        )

    def log(self, facts: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`."""
        self._run.log(dict(facts), step=step)

    def finish(self, status: Status, error: str | None) -> None:
        """As `Tracker.finish`."""
        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if status == "finished" else 1)


class Mlflow:
    """MLflow: a new run of the experiment `wolfscope` for each start of the command, tagged with our hash."""

    def __init__(self, uri: str | None) -> None:
        """uri: a tracking server or folder; None: MLflow's own default. Raises ConfigurationError without mlflow."""
        self._mlflow = _installed("mlflow", "mlflow-skinny")
        if uri:
            self._mlflow.set_tracking_uri(uri)

    def start(self, run: RunFacts) -> None:
        """As `Tracker.start`."""
        self._mlflow.set_experiment("wolfscope")
        self._mlflow.start_run(run_name=run.name)
        self._mlflow.set_tags(
            {"config_hash": run.config_hash, "revision": str(run.revision), "path": run.path, **run.versions}
        )
        self._mlflow.log_params(dict(_flat(run.config, ".")))

    def log(self, facts: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`."""
        self._mlflow.log_metrics(dict(facts), step=step)

    def finish(self, status: Status, error: str | None) -> None:
        """As `Tracker.finish`."""
        if error:
            self._mlflow.set_tag("error", error)
        self._mlflow.end_run({"finished": "FINISHED", "stopped": "KILLED"}.get(status, "FAILED"))


def _installed(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"--track {module} needs {module}, which is not installed ({error}): pip install {package}, or "
            "--track jsonl:FILE, which needs nothing"
        ) from error


_KINDS: dict[str, Callable[[str], Tracker]] = {
    "jsonl": lambda rest: JsonLines(Path(rest)),
    "wandb": lambda rest: Wandb(rest or "wolfscope"),
    "mlflow": lambda rest: Mlflow(rest or None),
}


def tracker_of(words: str) -> Tracker:
    """A tracker from words: `jsonl:FILE`, `wandb`, `wandb:PROJECT`, `mlflow`, `mlflow:URI`.

    Raises ConfigurationError for other words and where the package is not installed.
    """
    kind, _, rest = words.partition(":")
    if kind not in _KINDS:
        raise ConfigurationError(f"no tracker is called {kind!r}; there are: {', '.join(_KINDS)}")
    if kind == "jsonl" and not rest:
        raise ConfigurationError("--track jsonl needs a file: --track jsonl:runs/my.jsonl")
    return _KINDS[kind](rest)


class TrackedProgress(Progress):
    """Progress that is also sent to trackers, at most every few seconds."""

    def __init__(self, mode: Mode | None, trackers: Sequence[Tracker], every: float = 5.0) -> None:
        """every: seconds between calls of `Tracker.log`."""
        super().__init__(mode)
        self._trackers = list(trackers)
        self._pace, self._told = every, 0.0

    def show(self, counts: Counts, force: bool = False) -> None:
        """As `Progress.show`."""
        super().show(counts, force)
        if force or time.monotonic() - self._told >= self._pace:
            self._told = time.monotonic()
            facts = self.facts()
            numbers = {k: float(v) for k, v in _flat(facts, "/") if isinstance(v, int | float)}
            self._each(lambda tracker: tracker.log(numbers, int(facts["ended"])))

    @contextmanager
    def tracked(self, config: Config, path: Path) -> Iterator[None]:
        """Context manager around the playing: starts the trackers and reports the end to them."""
        if not self._trackers:
            yield
            return
        session = this_session()
        run = RunFacts(
            config.run.name, str(path), config.plain(), config.hash(), session.revision, session.versions
        )
        run = msgspec.json.decode(mask_bytes(msgspec.json.encode(run)), type=RunFacts)
        self._each(lambda tracker: tracker.start(run))
        status: Status = "failed"
        error: str | None = None
        try:
            yield
            status = "finished"
        except KeyboardInterrupt:
            status = "stopped"
            raise
        except Exception as failure:
            error = mask(f"{type(failure).__name__}: {failure}")
            raise
        finally:
            self._each(lambda tracker: tracker.finish(status, error))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                call(tracker)
            except Exception as error:  # noqa: BLE001 - whatever a tracker's server does, the run goes on
                self._trackers.remove(tracker)
                self.say(f"the tracker {type(tracker).__name__} has failed and is left out: {error}")


def _flat(facts: Mapping[str, Any], joint: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, joint, f"{prefix}{key}{joint}")
        else:
            yield prefix + key, value
