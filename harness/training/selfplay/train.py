"""Train a player only on the outcomes of its games.

Run it with `wolfscope train-by-outcome`. An iteration plays a batch of games in lock-step, credits every decision of
the learning seats with how its game ended, and takes a few clipped steps on whole contexts. All randomness derives
from (seed, iteration), so a stopped training resumes as if it had not been stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from games import load_game
from games.records import Decision
from harness.gate import own_folder
from harness.seals import keep_lines, read_state
from harness.training.checkpoint import checkpoint, restore
from harness.training.selfplay.advantages import Baselines, credit
from harness.training.selfplay.contexts import LearnerContext, contexts_of
from harness.training.selfplay.learner import Learner
from harness.training.selfplay.lockstep import Played, play_side_by_side
from harness.training.selfplay.monitored import Watch
from harness.training.selfplay.pool import LEARNER, Pool, plan
from harness.training.selfplay.sampler import Sampler
from harness.training.selfplay.settings import SelfPlayConfig, SelfPlayError
from harness.training.selfplay.step import Measured, batches, check_weights, objective

CURVE = "curve.jsonl"
"""File in the folder `training`, with one line per iteration."""


def train_by_outcome(config: SelfPlayConfig, out: Path, say: Callable[[str], None] = print) -> Path:
    """Train and save to `out` (Hugging Face format, bfloat16); resumes where an earlier call stopped.

    `out/checkpoints/NNNNNN` are model folders after so many games, `out/training/curve.jsonl` the curves. Raises
    SelfPlayError where the folder belongs to another configuration, or the sampler and the trainer diverge;
    RunDamaged.
    """
    torch.set_num_threads(config.threads)
    work = out / "training"
    own_folder(out)
    work.mkdir(exist_ok=True)
    run = Training(config, out, work, say)
    run.go_on()
    while run.games < config.games:
        run.iterate()
    run.learner.save(out)
    say(f"saved {out}")
    return out


class Training:
    """A running training by outcome."""

    def __init__(
        self, config: SelfPlayConfig, out: Path, work: Path, say: Callable[[str], None] = print
    ) -> None:
        self.config, self.out, self.work, self.say = config, out, work, say
        self.learner = Learner(config)
        name = self._name()
        self.samplers = [
            Sampler(
                self.learner.model,
                name,
                tokenizer=self.learner.tokenizer,
                eos=self.learner.eos,
                batch_tokens=config.rollouts.batch_tokens,
            )
            for _ in range(config.rollouts.parts)
        ]
        opponents: dict[str, Any] = {}
        self.pools = [Pool(config, sampler, opponents) for sampler in self.samplers]
        self.rules = load_game(config.game).configure(preset=config.preset)
        self.optimiser = torch.optim.AdamW(
            self.learner.parameters(), lr=config.optimiser.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        self.baselines = Baselines(config.objective.memory)
        self._watch: Watch | None = None
        self.iteration = self.games = self.steps = 0
        self.kept: dict[str, Path] = {}
        """The learner's earlier states by name."""

    def go_on(self) -> None:
        """Restore the state that an earlier call left, if there is one."""
        file = self.work / "state.json"
        if not file.is_file():
            return
        state = read_state(file)
        mine = self.config.model_dump(mode="json")
        theirs = SelfPlayConfig.model_validate(state["config"]).model_dump(mode="json")
        if other := sorted(k for k in mine if theirs[k] != mine[k] and k not in ("games", "checkpoints")):
            raise SelfPlayError(
                f"{self.out} holds a training with other settings ({', '.join(other)}): "
                f"{ {k: theirs[k] for k in other} }, but { {k: mine[k] for k in other} } was asked for; "
                "use the same settings to go on, or another folder"
            )
        restore(self.work, state["file"], self.learner.model, [self.optimiser], str(self.learner.device))
        self.iteration, self.games, self.steps = state["iteration"], state["games"], state["step"]
        self.baselines = msgspec.convert(state["baselines"], Baselines)
        self.kept = {name: self.out / "checkpoints" / name for name in state["kept"]}
        self._renew()
        keep_lines(self.work / CURVE, "iteration", self.iteration)
        self.say(f"going on after {self.games:,} of {self.config.games:,} games")

    def iterate(self) -> dict[str, Any]:
        """One iteration: games, steps, a line of the curves; returns the measurements."""
        began = time.monotonic()
        played = self.rollouts()
        rolled = time.monotonic()
        contexts = [c for i, p in enumerate(played) for c in contexts_of(p, i, {LEARNER})]
        credit(contexts, self.baselines, self.config.objective)
        watched = self.watch(played, contexts)
        told = self.learn(contexts)
        before = self.games
        self.games += len(played)
        self.iteration += 1
        line = {
            "iteration": self.iteration,
            "games": self.games,
            "weights": contexts[0].weights if contexts else "",
            **summary(played, contexts),
            **told,
            **watched,
            "rollout_s": round(rolled - began, 2),
            "step_s": round(time.monotonic() - rolled, 2),
        }
        with (self.work / CURVE).open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._renew()
        for mark in self.config.marks():
            if before < mark <= self.games:
                name = f"{mark:06d}"
                self.kept[name] = self.learner.save(self.out / "checkpoints" / name)
        ended = self.games >= self.config.games
        if self.iteration % self.config.save_every == 0 or ended:
            self.save()
        rate = (self.games - before) / (time.monotonic() - began)
        left = (self.config.games - self.games) / rate / 60
        won = "  ".join(f"{who} {share:.3f}" for who, share in line["won"].items())
        self.say(
            f"{self.games:>8,} games  won: {won}  entropy {line['entropy']}  kl {line['kl']:.3f}  "
            f"gap {line['gap']:.1e}  {rate:.1f} games/s  {max(0.0, left):.0f} min left"
        )
        return line

    def rollouts(self) -> list[Played]:
        """The games of this iteration."""
        planned = plan(self.config, self.rules, self.iteration, list(self.kept))
        casts = [pool.ready(planned, self.kept) for pool in self.pools]
        with self.learner.sampling():
            return play_side_by_side(planned, casts)

    def watch(self, played: Sequence[Played], contexts: Sequence[LearnerContext]) -> dict[str, float]:
        """Apply the monitor's penalty to the advantages, where there is one; returns the shares caught and lying."""
        if self.config.monitor is None:
            return {}
        if self._watch is None:
            self._watch = Watch(self.config, self.config.monitor, self.work / "monitor.json")
        return self._watch.penalise(played, contexts, self.learner.model, self.learner.tokenizer)

    def learn(self, contexts: Sequence[LearnerContext]) -> dict[str, Any]:
        """Take the steps of this iteration; returns their measurements."""
        settings, optimiser = self.config.objective, self.config.optimiser
        made = np.array([own.advantage for c in contexts for own in c.own])
        scale = max(float(made.std()), 1e-3) if len(made) else 1.0
        order = np.random.default_rng((self.config.seed, self.iteration, 1 << 20)).permutation(len(contexts))
        check_weights(contexts, self.learner.hash())
        seen: list[Measured] = []
        first = Measured(*(np.zeros(0),) * 3, [], np.zeros(0))
        n_batches = 0
        for number, share in enumerate(np.array_split(order, optimiser.steps)):
            some = [contexts[i] for i in share]
            n_made = sum(len(c.own) for c in some)
            if not n_made:
                continue
            mine: list[Measured] = []
            for batch in batches(some, optimiser.batch_tokens):
                measure = n_batches % settings.kl_every == 0
                n_batches += 1
                loss, measured = objective(
                    self.learner, batch.to(self.learner.device), settings, scale, measure
                )
                (loss / n_made).backward()
                mine.append(measured)
            if number == 0:
                first = joined(mine)
                self._check_gap(float(first.gap.mean()))
            seen += mine
            torch.nn.utils.clip_grad_norm_(self.learner.parameters(), optimiser.max_norm)
            rate = optimiser.learning_rate * self._pace()
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.steps += 1
        return told(joined(seen), first, made, settings.clip)

    def save(self) -> None:
        """Write a checkpoint to resume from."""
        checkpoint(
            self.work,
            self.learner.model,
            [self.optimiser],
            {
                "config": self.config.model_dump(mode="json"),
                "iteration": self.iteration,
                "games": self.games,
                "step": self.steps,
                "baselines": msgspec.to_builtins(self.baselines),
                "kept": list(self.kept),
            },
        )

    def _pace(self) -> float:
        """The learning rate now, as a share of the highest."""
        optimiser = self.config.optimiser
        rise = min(1.0, (self.steps + 1) / max(1, optimiser.warmup))
        left = 1.0 - self.games / self.config.games
        return rise * (min(1.0, left / optimiser.fall) if optimiser.fall else 1.0)

    def _name(self) -> str:
        """The learner's name and the hash of its weights."""
        return f"{self.learner.label}@{self.learner.hash()}"

    def _renew(self) -> None:
        """After a change of the weights: rename the learner and drop all cached contexts."""
        name = self._name()
        for sampler, pool in zip(self.samplers, self.pools, strict=True):
            sampler.name = name
            pool.renew()

    def _check_gap(self, gap: float) -> None:
        if gap > self.config.gap_bound:
            raise SelfPlayError(
                f"the sampler's log-probability of a drawn token and the trainer's differ by {gap:.2e} nats on "
                f"average before any step of iteration {self.iteration}, more than gap_bound = "
                f"{self.config.gap_bound:g}: they are not of one policy; use dtype = float32, or go on from the last "
                "checkpoint"
            )


def joined(some: Sequence[Measured]) -> Measured:
    """The concatenated measurements of several batches."""
    if not some:
        return Measured(*(np.zeros(0),) * 3, [], np.zeros(0))
    ratio, kl, entropy = (np.concatenate([getattr(m, f) for m in some]) for f in ("ratio", "kl", "entropy"))
    return Measured(
        ratio, kl, entropy, [k for m in some for k in m.kinds], np.concatenate([m.gap for m in some])
    )


def told(seen: Measured, first: Measured, made: np.ndarray, clip: float) -> dict[str, Any]:
    """The measurements of one iteration's steps, for the curves."""
    kinds = np.array(seen.kinds)
    return {
        "decisions": len(made),
        "entropy": {str(k): round(float(seen.entropy[kinds == k].mean()), 4) for k in sorted(set(kinds))},
        "kl": _mean(seen.kl[np.isfinite(seen.kl)]),
        "clipped": _mean(np.abs(seen.ratio - 1.0) > clip),
        "gap": _mean(first.gap),
        "first_ratio": float(np.abs(first.ratio - 1.0).max()) if len(first.ratio) else 0.0,
        "advantage_sd": round(float(made.std()), 4) if len(made) else 0.0,
    }


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 6) if len(values) else 0.0


def summary(played: Sequence[Played], contexts: Sequence[LearnerContext]) -> dict[str, Any]:
    """Wins of the learning side by opponents, and the learner's fallbacks per decision."""
    by: dict[str, dict[int, bool]] = {}
    for c in contexts:
        by.setdefault(c.opponents, {})[c.game] = c.won
    asked = [r for p in played for r in p.log if isinstance(r, Decision) and r.agent == LEARNER]
    lost = sum(r.fallback is not None for r in asked)
    return {
        "won": {who: round(float(np.mean(list(games.values()))), 4) for who, games in sorted(by.items())},
        "n": {who: len(games) for who, games in sorted(by.items())},
        "fallbacks": round(lost / max(1, len(asked)), 5),
    }
