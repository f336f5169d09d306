"""Sparse dictionaries trained on the rows of a store, several in one pass over them, resumable.

    from harness.features.train import Training, train_dictionaries
    folders = train_dictionaries("runs/demo-1", Training(site="belief_mention", layer="resid_post.5"))

`wolfscope features train RUN --site S --layer L` does the same. Every dictionary sees the same rows in the same order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.activations.store import Activations
from harness.atomic import replacing, storage
from harness.config.hashing import hash_of
from harness.features.dictionary import Card, Dictionary, FeaturesError
from harness.features.fit import fit_of
from harness.features.modules import Kind, Learner, Plan
from harness.features.rows import Rows, rows_of
from harness.features.saved import CARD, save_dictionary
from harness.run.folder import load_run
from harness.seals import read_state, write_state

PROGRESS = "training.json"
MOST = 16_384
"""Most rows for normalisation, threshold and figures."""
KEEP_EVERY = 60.0
"""Seconds between two checkpoints from which a stopped training resumes."""
LONG = 50_000
"""Steps from which a training counts as long."""
NEAR_START = 0.8
"""A dictionary whose directions stay this near to their initial values (median cosine) has hardly learnt."""
Say = Callable[[str], None]


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a training."""

    site: str
    layer: str
    """The layer's name in the store: `resid_post.3`, `embed`, `mlp_out.2`."""
    kinds: tuple[Kind, ...] = ("batchtopk",)
    widths: tuple[int, ...] = (1024,)
    l0: tuple[int, ...] = (16,)
    seeds: tuple[int, ...] = (0,)
    rows: int = 1_000_000
    """Rows that each dictionary is trained on, summed over epochs."""
    batch: int = 512
    hold_out: float = 0.5
    """Share of the games held out from training."""
    dead_after: int = 50_000
    """Rows without firing after which a latent is revived."""
    lr: float | None = None
    """Largest step of Adam; None: by width and number of steps (`rate_of`)."""
    store: str = "activations"
    """Folder of the store: `activations`, `activations-untrained`."""

    @property
    def plans(self) -> tuple[Plan, ...]:
        """One for each combination."""
        return tuple(
            Plan(kind, width, k, seed)
            for kind in self.kinds
            for width in self.widths
            for k in self.l0
            for seed in self.seeds
        )


def train_dictionaries(
    run: str | Path, training: Training, out: str | Path | None = None, say: Say = lambda text: None
) -> list[Path]:
    """Train every combination; the folders, in the order of `Training.plans`. Resumes where an earlier call stopped.

    out: by default `features/<site>-<layer>` in the run folder (`features-untrained/...` for that store). Raises
    FeaturesError, ActivationsError, RunFolderError, StorageError.
    """
    opened = load_run(run)
    suffix = training.store.removeprefix("activations")
    place = Path(out) if out is not None else opened.path / f"features{suffix}" / folder_of(training)
    return train_on(opened.activations(training.store), training, place, say)


def train_on(store: Activations, training: Training, out: Path, say: Say = lambda text: None) -> list[Path]:
    """As `train_dictionaries`, for a store outside a run."""
    _check(training)
    if training.layer not in store.layers:
        raise FeaturesError(
            f"layer {training.layer!r} is not in {store.path}; it holds {', '.join(store.layers)}"
        )
    rows = rows_of(store, training.site, training.layer, training.hold_out)
    if rows.train.height < training.batch:
        raise FeaturesError(
            f"{rows.train.height:,} rows to train on, a batch takes {training.batch:,}: capture more of "
            f"{training.site}, or a smaller --batch"
        )
    with storage(out):
        out.mkdir(parents=True, exist_ok=True)
    key = hash_of([msgspec.to_builtins(training), store.info.model, rows.train.height, list(rows.games)])
    folders = [out / plan.name for plan in training.plans]
    todo = [i for i, folder in enumerate(folders) if not (folder / CARD).is_file()]
    if not todo:
        say(f"{len(folders)} dictionaries are there already: {out}")
        return folders
    session = _Session(out, key, training, rows, [training.plans[i] for i in todo], say)
    session.run()
    for i, learner in zip(todo, session.learners):
        card = save_finished(learner, session.scale, rows, training, folders[i])
        say(
            f"{folders[i].name}: explains {card.variance_explained:.1%} of held-out rows with {card.l0:.1f} latents "
            f"on, {card.dead:.1%} of the latents dead"
        )
        for stamp in card.stamps:
            say(f"note: {stamp}")
    session.clear()
    return folders


def folder_of(training: Training) -> str:
    """Name of the folder for a site and layer."""
    return f"{training.site.replace(':', '-')}-{training.layer}"


def _check(training: Training) -> None:
    if not training.plans:
        raise FeaturesError("nothing is to be trained: name at least one kind, width, L0 and seed")
    for plan in training.plans:
        if not 0 < plan.k <= plan.width:
            raise FeaturesError(
                f"L0 {plan.k} of a width of {plan.width}: it must lie between 1 and the width"
            )
    if training.batch < 2 or training.rows < training.batch:
        raise FeaturesError(
            f"{training.rows:,} rows in batches of {training.batch:,}: at least one batch of two rows is needed"
        )
    if not 0 < training.hold_out < 1:
        raise FeaturesError(f"hold-out {training.hold_out:g}: a share between 0 and 1 of the games is needed")


class _Session:
    """All dictionaries of one call, trained in parallel."""

    def __init__(
        self, place: Path, key: str, training: Training, rows: Rows, plans: Sequence[Plan], say: Say
    ):
        self.place, self.training, self.rows, self.say = place, training, rows, say
        self.key = hash_of([key, [plan.name for plan in plans]])
        sample = rows.some(MOST, 0)
        length = float(np.linalg.norm(sample, axis=1).mean())
        if not np.isfinite(length) or length == 0:
            raise FeaturesError(f"the rows of {training.layer} at {training.site} have length {length:g}")
        self.scale = float(np.sqrt(sample.shape[1])) / length
        mean = torch.from_numpy(sample.mean(axis=0) * self.scale)
        self.learners = [Learner(plan, sample.shape[1], mean, training.dead_after) for plan in plans]
        self.adams = [
            torch.optim.Adam(learner.parameters(), lr=rate_of(training, learner.plan), betas=(0.9, 0.999))
            for learner in self.learners
        ]
        self.step, self.total = 0, max(1, training.rows // training.batch)

    def run(self) -> None:
        """Train to the end, with regular checkpoints."""
        self._resume()
        per_epoch = self.rows.train.height // self.training.batch
        began, kept, first = time.monotonic(), time.monotonic(), self.step
        while self.step < self.total:
            epoch, skipped = divmod(self.step, per_epoch)
            for number, batch in enumerate(self.rows.batches(self.training.batch, 0, epoch)):
                if number < skipped:
                    continue
                if self.step >= self.total:
                    break
                self._one(torch.from_numpy(batch * np.float32(self.scale)))
                self.step += 1
                if time.monotonic() - kept > KEEP_EVERY:
                    self.keep()
                    kept = time.monotonic()
                    left = (kept - began) / (self.step - first) * (self.total - self.step)
                    self.say(f"{self.step:,} of {self.total:,} steps; about {left:,.0f} s left")

    def _one(self, x: Tensor) -> None:
        warm, falling = max(1, self.total // 20), max(1, self.total // 5)
        share = min(1.0, (self.step + 1) / warm, (self.total - self.step) / falling)
        for learner, adam in zip(self.learners, self.adams):
            for group in adam.param_groups:
                group["lr"] = rate_of(self.training, learner.plan) * share
            adam.zero_grad(set_to_none=True)
            learner.loss(x).backward()
            learner.drop_parallel()
            torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            adam.step()
            learner.shorten()
            if self.step < self.total - falling and self.step % 50 == 49:
                _forget(adam, learner, learner.replant(x))

    def keep(self) -> None:
        """Write the state from which the training resumes. Raises StorageError."""
        tensors: dict[str, Tensor] = {}
        for i, (learner, adam) in enumerate(zip(self.learners, self.adams)):
            tensors |= {f"{i}.{name}": value.contiguous() for name, value in learner.state_dict().items()}
            for name, parameter in learner.named_parameters():
                for what, value in adam.state.get(parameter, {}).items():
                    tensors[f"{i}.adam.{name}.{what}"] = value.contiguous()
        file = self.place / f"training-{self.step}.safetensors"
        with replacing(file) as part:
            save_file(tensors, part)
        progress = {"key": self.key, "step": self.step, "total": self.total, "plans": self._names()}
        write_state(self.place / PROGRESS, progress, file)
        self._tensors(but=file)

    def _resume(self) -> None:
        path = self.place / PROGRESS
        if not path.is_file():
            return
        progress = read_state(path)
        if progress["key"] != self.key:
            raise FeaturesError(
                f"{self.place} holds a training of {', '.join(progress['plans'])} with other settings or rows, stopped "
                f"at step {progress['step']:,}: give the settings it had, choose another --out, or remove {path}"
            )
        tensors = load_file(self.place / progress.get("file", "training.safetensors"))
        for i, (learner, adam) in enumerate(zip(self.learners, self.adams)):
            mine = {n.removeprefix(f"{i}."): v for n, v in tensors.items() if n.startswith(f"{i}.")}
            learner.load_state_dict({n: v for n, v in mine.items() if not n.startswith("adam.")})
            for name, parameter in learner.named_parameters():
                head = f"adam.{name}."
                adam.state[parameter] = {
                    n.removeprefix(head): v for n, v in mine.items() if n.startswith(head)
                }
        self.step = int(progress["step"])
        self.say(f"going on at step {self.step:,} of {self.total:,}")

    def _names(self) -> list[str]:
        return [learner.plan.name for learner in self.learners]

    def clear(self) -> None:
        """Remove the state of a finished training."""
        (self.place / PROGRESS).unlink(missing_ok=True)
        self._tensors()

    def _tensors(self, but: Path | None = None) -> None:
        """Remove the tensors of all states except one."""
        for file in self.place.glob("training-*.safetensors"):
            if file != but:
                file.unlink()


def rate_of(training: Training, plan: Plan) -> float:
    """The largest learning rate of Adam. The rate of long trainings (2e-4 * sqrt(16384 / width), at most 2e-3) hardly
    moves the directions in a short one, so it grows with the square root of `LONG` / steps."""
    if training.lr is not None:
        return training.lr
    steps = max(1, training.rows // training.batch)
    return min(2e-3, 2e-4 * (16384 / plan.width) ** 0.5) * min(8.0, max(1.0, (LONG / steps) ** 0.5))


def _forget(adam: Any, learner: Learner, latents: list[int]) -> None:
    """Reset Adam's moments of reinitialised latents."""
    if not latents:
        return
    for parameter, where in (
        (learner.w_dec, (latents,)), (learner.w_enc, (slice(None), latents)), (learner.b_enc, (latents,)),
    ):  # fmt: skip
        for what in ("exp_avg", "exp_avg_sq"):
            adam.state[parameter][what][where] = 0


def save_finished(learner: Learner, scale: float, rows: Rows, training: Training, folder: Path) -> Card:
    """Give a trained dictionary its threshold and its figures on held-out rows, and write it; its card."""
    plan = learner.plan
    weights = {
        name: getattr(learner, name).detach().numpy().astype(np.float32)
        for name in ("w_enc", "b_enc", "w_dec", "b_dec")
    }
    card = Card(
        kind=plan.kind, model=rows.store.info.model, site=training.site, layer=training.layer,
        d_model=rows.store.d_model, width=plan.width, activation="topk" if plan.kind == "topk" else "threshold",
        k=plan.k, normalisation="scale", scale=scale, n_rows=rows.train.height, held_out=rows.games,
        prefixes=plan.prefixes if plan.kind == "matryoshka" else (), seed=plan.seed, stamps=_hardly(learner),
        source=f"trained on {training.store} by wolfscope, {training.rows:,} rows seen",
    )  # fmt: skip
    bare = Dictionary(card, **weights, threshold=np.zeros(plan.width, dtype=np.float32))
    level = 0.0 if plan.kind == "topk" else threshold_of(bare, rows.some(MOST, 1))
    found = Dictionary(card, **weights, threshold=np.full(plan.width, level, dtype=np.float32))
    fit = fit_of(found, rows.some(MOST, 2, held_out=True))
    card = msgspec.structs.replace(
        card, variance_explained=fit.variance_explained, l0=fit.l0, dead=fit.dead, n_held_out=fit.n_rows
    )
    save_dictionary(Dictionary(card, **weights, threshold=found.threshold), folder)
    return card


def _hardly(learner: Learner) -> tuple[str, ...]:
    """A warning for a dictionary that was trained too little to be judged, even if it explains much variance."""
    near = learner.near_start
    if near < NEAR_START:
        return ()
    told = (
        f"hardly trained: half of its directions lie within a cosine of {near:.2f} of the random ones that they began "
        "as; train on more rows (--rows) before concluding anything of its latents"
    )
    return (told,)


def threshold_of(found: Dictionary, x: Any) -> float:
    """The threshold at which an average row of `x` (n_rows, d_model) has `k` active latents."""
    before = np.maximum(
        found.before(np.asarray(x, dtype=np.float32) * np.float32(found.card.scale)), 0
    ).ravel()
    n = min(before.size - 1, round(found.card.k * len(x)))
    return max(0.0, float(np.partition(before, before.size - 1 - n)[before.size - 1 - n]))
