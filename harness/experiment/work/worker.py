"""Work at one moment: its model asked under every arm, its continuations played, its menu of acts played out.

A worker is created from an experiment's folder, which holds the whole plan before anything is asked; so a worker on
another machine does the same as one in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.config.models import model_folder
from harness.experiment.continuations import Futures, follow
from harness.experiment.design import Design, ExperimentError
from harness.experiment.folder import Manifest, read_manifest, read_vectors
from harness.experiment.measure import Measurer
from harness.experiment.moments import Moment
from harness.experiment.scenes import Scenes
from harness.experiment.strategic import play_menu
from harness.experiment.work.models import Say, folders_of, load_cast, load_model, load_scorers
from harness.experiment.work.scripted import ScriptedMeasurer
from harness.run.folder import Run, load_run
from harness.schedule.branched import schedule_of

Rows = list[dict[str, Any]]


class Worker:
    """One process's state for the moments of one experiment. Models and games are loaded on demand."""

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
        """hooked: the model that played (`load_model`); None where none did, or where several did and only continue
        games (`cast`)."""
        self.folder, self.design, self.manifest, self.runs = folder, design, manifest, runs
        self.hooked, self.device, self.say = hooked, device, say
        self._close: Any = None
        self._scorers: dict[str, Any] = {}

    @classmethod
    def of(cls, folder: Path, device: str) -> Worker:
        """The worker of an experiment's folder. Raises RunFolderError, ExperimentError, ModelFilesError."""
        manifest = read_manifest(folder)
        design = Design.model_validate(manifest.design)
        runs = [load_run(source.path) for source in manifest.runs]

        def silent(text: str) -> None:
            """Ignores messages: the sender of the work reports progress."""

        return cls(folder, design, manifest, runs, asked_model(design, runs, device, silent), device, silent)

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
        return play_menu(run, futures, scenes, moment, self.design.strategic, self._scorer_of(moment))

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
        """The scorers of answers, by model."""
        return load_scorers(self.hooked, self.manifest, self.scenes, self.device, self.say)

    @cached_property
    def measurer(self) -> Measurer | ScriptedMeasurer:
        """The measurer of the arms."""
        if self.hooked is None:
            return ScriptedMeasurer(self.scenes, self.manifest.arms)
        outcomes = self.design.outcomes
        return Measurer(
            self.scenes, self.scorers, self.manifest.arms, read_vectors(self.folder), options=outcomes.options,
            beliefs=outcomes.beliefs,
        )  # fmt: skip

    @cached_property
    def models(self) -> list[dict[str, Any]]:
        """Run by run, the local model that each backend asks; the one model for all where one sits. Raises
        ExperimentError where a player asks a server."""
        asked = [
            {
                name: section
                for config in schedule_of(run.manifest).configs
                for name, section in config.backends.items()
            }
            for run in self.runs
        ]
        for run, sections in zip(self.runs, asked, strict=True):
            if served := [name for name, section in sections.items() if section.kind == "openai"]:
                raise ExperimentError(
                    f"games of {run.manifest.name} cannot be played on: [backends] {', '.join(served)} asks a server, "
                    "whose model is not here. Leave out continuations and menus of acts, or name runs of local models"
                )
        if self.hooked is not None:
            return [dict.fromkeys(sections, self.hooked) for sections in asked]
        cast = load_cast(self.runs, self.device, self.say)
        return [
            {name: cast[model_folder(section).resolve()] for name, section in sections.items()}
            for sections in asked
        ]

    @cached_property
    def futures(self) -> Any:
        """Continues each run's games: scripted players as they are, models through one hooked backend each."""
        if not any(self.models):
            return [Futures(run, {}) for run in self.runs]
        from agents.backends.hooked.backend import HookedBackend

        every = {id(model): model for models in self.models for model in models.values()}
        backends = {key: HookedBackend(model) for key, model in every.items()}

        async def close() -> None:
            for backend in backends.values():
                await backend.close()

        self._close = close
        return [
            Futures(run, {name: backends[id(model)] for name, model in models.items()})
            for run, models in zip(self.runs, self.models, strict=True)
        ]

    def _scorer_of(self, moment: Moment) -> Any:
        """The scorer of the model that decided at a moment; None where no model sits."""
        if self.hooked is not None:
            return self._scorer(self.hooked)
        run, future = self.runs[moment.run], self.futures[moment.run]
        config = future.configs[run.manifest.cells.index(run.cell(moment.game_id))]
        backend = config.agents[future.seated(moment.game_id)[moment.seat]].backend
        return self._scorer(self.models[moment.run][backend]) if backend else None

    def _scorer(self, model: Any) -> Any:
        if model.name not in self._scorers:
            from harness.experiment.scoring.packed import PackedScorer, packs
            from harness.experiment.scoring.plain import PlainScorer

            self._scorers[model.name] = PackedScorer(model) if packs(model) else PlainScorer(model)
        return self._scorers[model.name]


def asked_model(design: Design, runs: Sequence[Run], device: str, say: Say) -> Any:
    """The model that a design asks (`load_model`); None where none sits, or where a menu is played out among several.

    Raises ExperimentError.
    """
    if design.strategic is not None and len(folders_of(runs)) > 1:
        return None
    return load_model(runs, device, say)
