"""The measurements at one moment: its model's answers under every arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from agents.hooks.intervention import Intervention
from harness.experiment.arms import BASE, WORDED, Arm
from harness.experiment.design import ExperimentError
from harness.experiment.moments import Donor, Moment
from harness.experiment.scenes import OPTIONS, Prompted, Scene, Scenes, positions
from harness.experiment.scoring.questions import Ask
from harness.features.dictionary import Dictionary
from harness.features.saved import load_dictionary

Key = tuple[str, str | int]
"""(arm, `options` or the seat whose role is asked for)."""


class Measurer:
    """Measures the moments of one experiment."""

    def __init__(
        self,
        scenes: Sequence[Scenes],
        scorers: Mapping[str | None, Any],
        arms: Sequence[Arm],
        vectors: np.ndarray,
        *,
        options: bool,
        beliefs: bool,
    ) -> None:
        """scorers: of the model that played (None) and of the other checkpoints that arms name."""
        self.scenes, self.scorers, self.arms, self.vectors = scenes, scorers, arms, vectors
        self.options, self.beliefs = options, beliefs
        self._dictionaries: dict[str, Dictionary] = {}

    def rows(self, moment: Moment) -> list[dict[str, Any]]:
        """A row (`harness.experiment.folder.OUTCOMES`) for each arm that the moment has.

        Starts with an empty cache, so that rows do not depend on the moments measured before.
        """
        for scorer in self.scorers.values():
            scorer.forget()
        scene = self.scenes[moment.run].scene(moment)
        asks, meant = self.asks(scene)
        found: dict[Key, Any] = {}
        for model, scorer in self.scorers.items():
            keys = [
                key
                for key in asks
                if self._arm(key).model == model and self._arm(key).control not in ("null", "cold")
            ]
            if keys:
                found.update(zip(keys, scorer.score([asks[key] for key in keys]), strict=True))
        own = self.scorers[None]
        for control in ("null", "cold"):
            keys = [key for key in asks if self._arm(key).control == control]
            if keys:
                if control == "cold":
                    own.forget()
                found.update(zip(keys, own.score([asks[key] for key in keys]), strict=True))
        p_of = scene.game.belief_targets[0].p
        return [row for arm in self.arms if (row := self._row(moment, arm, found, meant, p_of)) is not None]

    def asks(self, scene: Scene) -> tuple[dict[Key, Ask], dict[Key, Prompted]]:
        """All questions of a moment, those of the unchanged moment first, and what their answers mean."""
        asks: dict[Key, Ask] = {}
        meant: dict[Key, Prompted] = {}
        wanted: list[str | int] = [OPTIONS] if self.options else []
        if self.beliefs:
            # the subject and the control's player: each further one would cost a pass and add little
            about = (scene.moment.subject, scene.moment.other)
            wanted += [seat for seat in about if seat is not None]
        plain: dict[str | int, Prompted] = {}
        for what in wanted:
            base = _prompt(scene, self.arms[0], what)
            if base is None:
                raise ExperimentError(f"moment {scene.moment.id} has no prompt of its own for {what}")
            plain[what] = base
        for arm in self.arms:
            for what in wanted:
                key = (arm.id, what)
                worded = arm.kind in WORDED
                prompted = _prompt(scene, arm, what) if worded else plain[what]
                if prompted is None:
                    continue
                edits = self._edits(scene, arm, what, prompted)
                if edits is None:
                    continue
                asks[key] = Ask(prompted.ids, prompted.choices, edits)
                meant[key] = prompted
        return asks, meant

    def _arm(self, key: Key) -> Arm:
        return self._by_id[key[0]]

    @property
    def _by_id(self) -> dict[str, Arm]:
        return {arm.id: arm for arm in self.arms}

    def _edits(
        self, scene: Scene, arm: Arm, what: str | int, prompted: Prompted
    ) -> tuple[Intervention, ...] | None:
        """The changes of the stream under an arm; None where the moment has no such place."""
        if arm.kind not in ("direction", "latents", "patch"):
            return ()
        moment = scene.moment
        about = moment.subject if arm.about == "subject" else moment.other
        if about is None or arm.layer is None:
            return None
        # in a question about a third seat the subject is named where the game named it, or nowhere
        at = arm.at or "option"
        if isinstance(what, int) and what != about and at == "option":
            at = "last_mention"
        where = positions(prompted, about, at)
        if where is None:
            return None
        if arm.kind == "direction":
            kind: Any = "ablate" if arm.do == "ablate" else "add"
            vector = self.vectors[arm.vector or 0]
            return (
                Intervention(kind, arm.layer, vector, where, arm.scale if arm.scale is not None else 1.0),
            )
        if arm.kind == "latents":
            return (Intervention("patch", arm.layer, self._without(arm, prompted, where), where),)
        donor = moment.twin if arm.do == "twin" else moment.donor
        value = None if donor is None else self._donated(scene, donor, what, about, arm, len(where))
        return None if value is None else (Intervention("patch", arm.layer, value, where),)

    def _without(self, arm: Arm, prompted: Prompted, where: tuple[int, ...]) -> np.ndarray:
        """The stream (n, d_model) without the latents' contribution; for a control, moved equally far in another
        direction."""
        layer = arm.layer or 0
        stream = np.asarray(
            self.scorers[None].streams(prompted.ids, where, (layer,))[:, 0].numpy(), dtype=np.float32
        )
        part = self._dictionary(arm.dictionary or "").part(stream, arm.latents)
        if arm.do == "ablate":
            return stream - part
        far = np.linalg.norm(part, axis=1, keepdims=True)
        return np.asarray(stream + far * self.vectors[arm.vector or 0], dtype=np.float32)

    def _dictionary(self, folder: str) -> Dictionary:
        if folder not in self._dictionaries:
            self._dictionaries[folder] = load_dictionary(folder)
        return self._dictionaries[folder]

    def _donated(
        self, scene: Scene, donor: Donor, what: str | int, about: int, arm: Arm, n: int
    ) -> np.ndarray | None:
        """The donor's stream (n, d_model) at the same place of the same question."""
        there = msgspec.structs.replace(scene.moment, seq=donor.seq, seat=donor.seat)
        other = self.scenes[scene.moment.run].scene(there)
        if isinstance(what, int) and what == donor.seat:
            return None
        prompted = _prompt(other, self.arms[0], what)
        at = arm.at or "option"
        if isinstance(what, int) and what != about and at == "option":
            at = "last_mention"
        where = None if prompted is None else positions(prompted, about, at)
        if prompted is None or where is None or len(where) != n or arm.layer is None:
            return None
        stream = self.scorers[None].streams(prompted.ids, where, (arm.layer,))
        return np.asarray(stream[:, 0].numpy(), dtype=np.float32)

    def _row(
        self,
        moment: Moment,
        arm: Arm,
        found: Mapping[Key, Any],
        meant: Mapping[Key, Prompted],
        p_of: Callable[[Mapping[str, float]], float],
    ) -> dict[str, Any] | None:
        keys = [key for key in found if key[0] == arm.id]
        if not keys:
            return None
        row: dict[str, Any] = {
            "moment": moment.id, "arm": arm.id, "options": [], "logprobs": [], "seats": [], "beliefs": [],
        }  # fmt: skip
        for key in keys:
            answers, logprobs = meant[key].answers, found[key]
            if key[1] == OPTIONS:
                row["options"], row["logprobs"] = list(answers), [float(p) for p in logprobs]
            else:
                shares = np.exp(logprobs - logprobs.max())
                row["seats"].append(key[1])
                row["beliefs"].append(p_of(dict(zip(answers, (shares / shares.sum()).tolist(), strict=True))))
        return row


def _prompt(scene: Scene, arm: Arm, what: str | int) -> Prompted | None:
    return scene.options(arm) if what == OPTIONS else scene.belief(arm, int(what))


def unchanged(arms: Sequence[Arm]) -> Arm:
    """The arm without a change."""
    return next(arm for arm in arms if arm.id == BASE)
