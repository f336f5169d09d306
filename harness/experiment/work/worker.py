"""Work at one moment: its model asked under every arm, its continuations played, its menu of acts played out.

A worker is made of an experiment's folder, in which everything that will be asked is written down before it is asked;
so one on another machine does what one in this process does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.experiment.continuations import Futures, follow
from harness.experiment.design import Design, ExperimentError
from harness.experiment.folder import Manifest, read_manifest, read_vectors
from harness.experiment.measure import Measurer
from harness.experiment.moments import Moment
from harness.experiment.scenes import Scenes
from harness.experiment.strategic import play_menu
from harness.experiment.work.models import Say, load_model, load_scorers
from harness.experiment.work.scripted import ScriptedMeasurer
from harness.run.folder import Run, load_run
from harness.schedule.branched import schedule_of

Rows = list[dict[str, Any]]


class Worker:
    """What one process needs to work at the moments of one experiment. Models and games are read as they are needed."""

    def __init__(
        self,
        folder: Path,
        design: Design,
        manifest: Manifest,
        runs: Sequence[Run],
        hooked: Any,
        device: str,
        say: Say,
    ) -> None:
        """hooked: the model that played (`load_model`), None where none did."""
        self.folder, self.design, self.manifest, self.runs = folder, design, manifest, runs
        self.hooked, self.device, self.say = hooked, device, say
        self._close: Any = None

    @classmethod
    def of(cls, folder: Path, device: str) -> Worker:
        """The worker of an experiment's folder. Raises RunFolderError, ExperimentError, ModelFilesError."""
        manifest = read_manifest(folder)
        design = Design.model_validate(manifest.design)
        runs = [load_run(source.path) for source in manifest.runs]

        def silent(text: str) -> None:
            """Whoever sends the work tells how it goes."""

        return cls(folder, design, manifest, runs, load_model(runs, device, silent), device, silent)

    def do(self, what: str, moment: Moment, given: Any = None) -> Rows:
        """The rows of one moment: `ask` (`folder.OUTCOMES`), `follow` (`continuations.FUTURES`; given: the rows of
        `ask`), `acts` (`strategic.ACTS`). Raises ExperimentError, BackendError."""
        if what == "ask":
            return self.measurer.rows(moment)
        if what == "follow":
            return follow(self.futures[moment.run], moment, given, self.design.outcomes.continuations)
        run, futures, scenes = self.runs[moment.run], self.futures[moment.run], self.scenes[moment.run]
        if self.design.strategic is None:
            raise ExperimentError(f"the design {self.design.name!r} has no [strategic] table")
        return play_menu(run, futures, scenes, moment, self.design.strategic, self._plain_scorer)

    def close(self) -> None:
        """Free the model that continuations are played with."""
        if self._close is not None:
            asyncio.run(self._close())
            self._close = None

    @cached_property
    def scenes(self) -> list[Scenes]:
        """The moments of each run."""
        return [Scenes(run, self.design.reasons) for run in self.runs]

    @cached_property
    def scorers(self) -> Any:
        """What reads answers, by model."""
        return load_scorers(self.hooked, self.manifest, self.scenes, self.device, self.say)

    @cached_property
    def measurer(self) -> Measurer | ScriptedMeasurer:
        """Asks the arms."""
        if self.hooked is None:
            return ScriptedMeasurer(self.runs, self.manifest.arms)
        outcomes = self.design.outcomes
        return Measurer(
            self.scenes, self.scorers, self.manifest.arms, read_vectors(self.folder), options=outcomes.options,
            beliefs=outcomes.beliefs,
        )  # fmt: skip

    @cached_property
    def futures(self) -> Any:
        """What plays each run's games on: scripted players as they are, models through one hooked backend."""
        if self.hooked is None:
            return [Futures(run, {}) for run in self.runs]
        from agents.backends.hooked.backend import HookedBackend

        backend = HookedBackend(self.hooked)
        self._close = backend.close
        found = []
        for run in self.runs:
            names = {name for config in schedule_of(run.manifest).configs for name in config.backends}
            found.append(Futures(run, dict.fromkeys(names, backend)))
        return found

    @cached_property
    def _plain_scorer(self) -> Any:
        if self.hooked is None:
            return None
        from harness.experiment.scoring.packed import PackedScorer, packs
        from harness.experiment.scoring.plain import PlainScorer

        return PackedScorer(self.hooked) if packs(self.hooked) else PlainScorer(self.hooked)
