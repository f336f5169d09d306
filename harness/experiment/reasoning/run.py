"""Run a design's `[reasoning]`: measure every moment's reasoning after each step and continue it from there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.backends.base import Backend
from agents.llm.beliefs import role_words
from games import chance
from harness.experiment.arms import BASE, Arm
from harness.experiment.design import Design, ExperimentError, ReasoningSection
from harness.experiment.folder import Manifest
from harness.experiment.moments import Moment
from harness.experiment.reasoned import before_reasoning
from harness.experiment.reasoning.judge import judge_of
from harness.experiment.reasoning.posterior import Posteriors
from harness.experiment.reasoning.reads import Readout, forced, inside, prefixes
from harness.experiment.reasoning.rollouts import Rollout, Writer, same_words
from harness.experiment.reasoning.tables import done, join_tables, write_moment
from harness.experiment.scenes import Prompted, Scene, Scenes
from harness.experiment.scoring.questions import Ask
from harness.reasoning.changes import step_of
from harness.reasoning.played import NoReasoning, Played
from harness.reasoning.written import written_belief
from harness.run.folder import Run

Say = Callable[[str], None]


def with_reasoning(moments: Sequence[Moment], scenes: Sequence[Scenes]) -> tuple[list[Moment], list[str]]:
    """The moments whose reasoning can be changed, and a remark for the page where some were left out.

    Raises ExperimentError where none is left.
    """
    kept, reasons = [], []
    for moment in moments:
        try:
            played = scenes[moment.run].scene(moment).played
            if not played.steps:
                raise NoReasoning("its reasoning has no words")
            kept.append(moment)
        except NoReasoning as error:
            reasons.append(str(error))
    if not kept:
        raise ExperimentError(
            f"none of {len(moments):,} moments has a reasoning that can be changed; the first: {reasons[0]}"
        )
    return kept, [f"{len(reasons):,} moments left out, the first because {reasons[0]}"] if reasons else []


def read_reasonings(
    folder: Path,
    design: Design,
    manifest: Manifest,
    runs: Sequence[Run],
    scenes: Sequence[Scenes],
    scorer: Any,
    hooked: Any,
    say: Say,
) -> None:
    """Measure the remaining moments and write the tables. Raises StorageError, BackendError."""
    from agents.backends.hooked.backend import HookedBackend

    backend = HookedBackend(hooked)
    try:
        read_with(folder, design, manifest.moments, manifest.arms, runs, scenes, scorer, backend, say)
    finally:
        asyncio.run(backend.close())


def read_with(
    folder: Path,
    design: Design,
    moments: Sequence[Moment],
    arms: Sequence[Arm],
    runs: Sequence[Run],
    scenes: Sequence[Scenes],
    scorer: Any,
    backend: Backend,
    say: Say = lambda text: None,
) -> None:
    """As `read_reasonings`, with any scorer and any generating backend."""
    section = design.reasoning
    if section is None:
        raise ExperimentError(f"the design {design.name!r} has no [reasoning] table")
    judge = judge_of(section.judge)
    reader = ReasoningReader(
        section, Writer(backend, section.max_tokens), scorer, Readout.read(folder), arms, judge
    )
    posteriors = [Posteriors(run) for run in runs]
    todo = [m for m in moments if m.id not in done(folder)]
    for n, moment in enumerate(todo, 1):
        rows = reader.rows(scenes[moment.run].scene(moment), posteriors[moment.run])
        write_moment(folder, moment.id, rows)
        say(f"reasoning of {n + len(moments) - len(todo):,} of {len(moments):,} moments")
    join_tables(folder)


def resampled(scene: Scene, arm: Arm, rollouts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """An arm that resamples from a step on, as outcomes of its mean decision, and its sham, which corrects for the
    finite number of continuations: as many of those that continue after the step. Empty where the continued prefixes
    are not next to the step, or fewer than two continuations differ from it."""
    played, m = scene.played, scene.moment
    which: Any = arm.step
    k = step_of(played, which, m.subject, np.random.default_rng([m.id, m.seq, *arm.id.encode()]))
    of = [row for row in rollouts if row["arm"] == ""]
    other = [row["logprobs"] for row in of if row["k"] == k and not row["same"]]
    behind = [row["logprobs"] for row in of if k is not None and row["k"] == k + 1]
    n = min(len(other), len(behind))
    if n < 2:
        return []
    found = []
    for name, some in ((arm.id, other), (f"{arm.id}~sham", behind)):
        mean = np.log(np.exp(np.array(some[:n])).mean(axis=0))
        found.append({"moment": m.id, "arm": name, "options": list(played.answers), "logprobs": mean.tolist(),
                      "seats": [], "beliefs": []})  # fmt: skip
    return found


PLAIN = Arm(BASE, BASE, "", "none")


def belief_questions(scene: Scene, seats: Sequence[int]) -> dict[int, Prompted]:
    """The belief question about each seat, where the player asks it on a line of its own."""
    if scene.played.how != "items":
        return {}
    asked = {seat: scene.belief(PLAIN, seat) for seat in seats}
    return {seat: question for seat, question in asked.items() if question is not None}


class ReasoningReader:
    """Reads the reasoning of one moment after the other."""

    def __init__(
        self,
        section: ReasoningSection,
        writer: Writer,
        scorer: Any,
        readout: Readout | None,
        arms: Sequence[Arm],
        judge: Any = None,
    ) -> None:
        """judge: with a method `category(text, before)`."""
        self.judge = judge
        self.section, self.writer, self.scorer, self.readout = section, writer, scorer, readout
        self.players = [arm for arm in arms if arm.kind == "player"]
        self.resamples = [arm for arm in arms if arm.do == "resample"]

    def rows(self, scene: Scene, posteriors: Posteriors) -> dict[str, list[dict[str, Any]]]:
        """The rows of the four tables (`harness.experiment.reasoning.tables`)."""
        played, section = scene.played, self.section
        ks = prefixes(played, section.most)
        answers = forced(self.scorer, played, ks)
        seats = scene.living
        held = (
            inside(self.scorer, played, ks, seats, self.readout, belief_questions(scene, seats))
            if self.readout is not None
            else [[None] * len(seats)] * len(ks)
        )
        steps = [
            self._step(scene.moment.id, played, k) | {"logprobs": list(map(float, a)), "beliefs": b}
            for k, a, b in zip(ks, answers, held, strict=True)
        ]
        rollouts: list[dict[str, Any]] = []
        for k in ks:
            some = self._write(scene, played.prefix(k), k, section.rollouts)
            rollouts += self._rollout_rows(scene, played, played.prefix(k), "", k, some)
        for arm in self.players:
            head = self._head(scene, arm)
            if head is not None:
                some = self._write(scene, head, 0, section.rollouts, arm.id)
                rollouts += self._rollout_rows(scene, played, head, arm.id, 0, some)
        outcomes = [row for arm in self.resamples for row in resampled(scene, arm, rollouts)]
        moment = self._moment(scene, played, posteriors, seats, ks, answers)
        return {"moments": [moment], "steps": steps, "rollouts": rollouts, "outcomes": outcomes}

    def _write(
        self, scene: Scene, prefix: Sequence[int], k: int, n: int, arm: str = "", cached: bool = True
    ) -> list[Rollout]:
        trace, observation = scene.decision.trace, scene.observation
        settings = {} if trace is None else trace.sampling or {}
        known: dict[str, Any] = {key: settings[key] for key in ("temperature", "top_p") if key in settings}
        seeds = [chance.key(observation.seed, "reasoning", scene.moment.seq, k, r) >> 33 for r in range(n)]
        roles = role_words(observation)
        session = f"{scene.moment.id}#{arm}#{k}" if cached else None
        return self.writer.write(
            scene.player, prefix, scene.played.how, seeds, session, known, scene.words.names,
            (roles.get(scene.moment.role), tuple(roles.values())),
        )  # fmt: skip

    def _rollout_rows(
        self, scene: Scene, played: Played, prefix: Sequence[int], arm: str, k: int, some: Sequence[Rollout]
    ) -> list[dict[str, Any]]:
        if not some:
            return []
        # the whole context as played comes first: its shared prefix is computed once
        asks = [Ask((*prefix, *played.ids[played.edge(k) :]), played.choices)]
        asks += [Ask((*prefix, *one.body, *played.tail), played.choices) for one in some]
        found = self.scorer.score(asks)[1:]
        next_step = played.steps[k].text if k < len(played.steps) else ""
        return [
            {
                "moment": scene.moment.id, "arm": arm, "k": k, "r": r, "finished": one.finished,
                "same": same_words(one.steps[0].text if one.steps else "", next_step),
                "step": one.steps[0].text if one.steps else "", "n_steps": len(one.steps), "n_tokens": len(one.body),
                "categories": [step.category for step in one.steps], "body": scene.encoder.decode(one.body),
                "logprobs": list(map(float, logprobs)),
            }
            for r, (one, logprobs) in enumerate(zip(some, found, strict=True))
        ]  # fmt: skip

    def _head(self, scene: Scene, arm: Arm) -> tuple[int, ...] | None:
        """The tokens before a reasoning that is rewritten under another player's settings."""
        changed = scene.changed(arm)
        if changed is None:
            return None
        played = scene.played
        ids, _, _ = before_reasoning(played, *changed, scene.player, scene.observation)
        return (*ids, *played.ids[played.own : played.start])

    def _moment(
        self,
        scene: Scene,
        played: Played,
        posteriors: Posteriors,
        seats: Sequence[int],
        ks: Sequence[int],
        answers: np.ndarray,
    ) -> dict[str, Any]:
        m, section = scene.moment, self.section
        written = written_belief(played.steps, scene.words.names)
        source, posterior = posteriors.at(m.game_id, m.seq, m.seat)
        self.scorer.forget()
        cold = forced(self.scorer, played, ks)
        return {
            "moment": m.id, "game": f"{m.run}:{m.game_id}", "game_id": m.game_id, "seq": m.seq, "seat": m.seat,
            "agent": scene.decision.agent, "role": m.role, "faction": m.faction, "subject": m.subject,
            "subject_role": m.subject_role, "chosen": played.chosen, "n_steps": len(played.steps),
            "n_tokens": len(played.body), "options": list(played.answers), "seats": list(seats),
            "written": [written.get(seat) for seat in seats], "posterior": [posterior.get(seat) for seat in seats],
            "posterior_source": source, "cold": float(np.abs(cold - answers).max(initial=0.0)),
            "repeated": self._repeated(scene, played, section.repeats),
        }  # fmt: skip

    def _repeated(self, scene: Scene, played: Played, n: int) -> float | None:
        """The share of continuations with identical tokens when drawn again with the same seeds and no cache."""
        if not n or not self.section.rollouts:
            return None
        prefix = played.prefix(0)
        warm = self._write(scene, prefix, 0, n)
        cold = self._write(scene, prefix, 0, n, cached=False)
        return float(np.mean([a.output == b.output for a, b in zip(warm, cold, strict=True)]))

    def _step(self, moment: int, played: Played, k: int) -> dict[str, Any]:
        if k == 0:
            return {
                "moment": moment, "k": 0, "start": played.start, "end": played.start, "text": "", "category": None,
                "judged": None, "named": [],
            }  # fmt: skip
        s = played.steps[k - 1]
        before = played.steps[k - 2].text if k > 1 else ""
        judged = None if self.judge is None else self.judge.category(s.text, before)
        return {
            "moment": moment, "k": k, "start": s.start, "end": s.end, "text": s.text, "category": s.category,
            "judged": judged, "named": list(s.subjects),
        }  # fmt: skip
