"""The monitor of one training, and the comparison of two models' speeches after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.models.small import find_model
from analysis.stats.bootstrap import Interval
from games import DEFAULT, chance, load_game
from harness.atomic import replacing
from harness.seals import hold, seal
from harness.training.selfplay.contexts import LearnerContext
from harness.training.selfplay.learner import load
from harness.training.selfplay.lockstep import Planned, Played, play_kept, play_side_by_side
from harness.training.selfplay.monitor import Cells, Monitor, Seen, cells, features_of, fit, penalise
from harness.training.selfplay.partners import OTHERS, cell_plan, folder_of
from harness.training.selfplay.pool import LEARNER, casts
from harness.training.selfplay.settings import MonitorSection, SelfPlayConfig, check_side
from harness.training.selfplay.speeches import activations, bags, speeches_of


class Watch:
    """Scores the learner's speeches and subtracts the penalty of caught ones from their advantages."""

    def __init__(self, config: SelfPlayConfig, settings: MonitorSection, file: Path) -> None:
        """Loads the monitor from `file`, or fits a new one and writes it there. Raises RunDamaged."""
        self.weight = settings.weight
        kept = monitor_of(file)
        if kept is not None:
            self.monitor = kept
            return
        self.monitor = fitted(config, settings)
        with replacing(file) as part:
            part.write_bytes(msgspec.json.encode(self.monitor))
        seal(file.parent, file, verb="train-by-outcome")

    def penalise(
        self, played: Sequence[Played], contexts: Sequence[LearnerContext], model: Any, tokenizer: Any
    ) -> dict[str, float]:
        """Change the advantages of an iteration's speeches, in place; returns the shares of caught speeches and of
        lies."""
        monitor = self.monitor
        speeches, whole = speeches_of(played, {LEARNER}, tokenizer)
        found = features_of(monitor.kind, speeches, whole, model, monitor.layer, monitor.n_words)
        caught = monitor.caught(found) if len(speeches) else np.zeros(0, bool)
        by = {(s.game, s.seat, s.seq): bool(hit) for s, hit in zip(speeches, caught, strict=True)}
        share = penalise(contexts, by, self.weight)
        lies = float(np.mean([s.lies for s in speeches])) if speeches else 0.0
        return {"caught": round(share, 4), "lies": round(lies, 4)}


def monitor_of(file: Path) -> Monitor | None:
    """The monitor that a training wrote to `file`; None where there is none. Raises RunDamaged."""
    if not file.is_file():
        return None
    hold(file.parent, file.name)
    return msgspec.json.decode(file.read_bytes(), type=Monitor)


def fitted(config: SelfPlayConfig, settings: MonitorSection) -> Monitor:
    """A monitor fitted on the starting model's speeches, of every role, in games with itself."""
    hooked = load(config.model, config.dtype, config.device)
    rules = load_game(config.game).configure(preset=config.preset)
    seats = (OTHERS,) * rules.n_players
    planned = [
        Planned(f"monitor-{i}", rules, seed, seed, seats, game=config.game)
        for i in range(settings.games)
        for seed in [chance.key(config.seed, "monitor", i) >> 1]
    ]
    played = play_side_by_side(planned, casts({OTHERS: hooked}))
    speeches, contexts = speeches_of(played, {OTHERS}, hooked.tokenizer)
    layer = hooked.layout.n_layers // 2 if settings.layer is None else settings.layer
    n_words = len(hooked.tokenizer)
    found = features_of(settings.kind, speeches, contexts, hooked.model, layer, n_words)
    return fit(found, np.array([s.lies for s in speeches]), settings, layer, n_words)


def four_cells(
    before: Path,
    after: Path,
    side: str,
    games: int,
    *,
    out: Path,
    layer: int | None = None,
    alarm: float = 0.05,
) -> Cells:
    """The four cells of two models' speeches on one side, in the same deals, against the model before; and how many of
    them the monitor catches that the model after was trained under, where its folder holds one.

    out: where the games are kept; those of werewolves are the own pairs of `partners`. Raises SelfPlayError where
    either model has no lies, or only lies, in half of the games.
    """
    check_side(DEFAULT, side)
    first = load(before)
    rules = load_game(DEFAULT).configure()
    layer = first.layout.n_layers // 2 if layer is None else layer
    watch = monitor_of(find_model(after) / "training" / "monitor.json")
    old, new = (_seen(one, first, rules, side, games, layer, out, watch) for one in (first, load(after)))
    return cells(old, new, alarm)


def _seen(
    hooked: Any, others: Any, rules: Any, side: str, games: int, layer: int, out: Path, watch: Monitor | None
) -> Seen:
    planned = cell_plan(load_game(DEFAULT), rules, games, side)
    players = casts({LEARNER: hooked, OTHERS: others})
    kept = out / folder_of(rules.preset, side, hooked, others)
    speeches, contexts = speeches_of(play_kept(planned, players, kept), {LEARNER}, hooked.tokenizer)
    return Seen(
        np.array([s.lies for s in speeches]),
        bags(speeches, len(hooked.tokenizer)),
        activations(hooked.model, contexts, layer),
        np.array([s.game for s in speeches]),
        None if watch is None else watch.caught(
            features_of(watch.kind, speeches, contexts, hooked.model, watch.layer, watch.n_words)
        ),
    )  # fmt: skip


def in_words(found: Cells) -> list[str]:
    """The four cells as lines."""
    shares = (
        f"speeches with a lie: {found.lie_share[0]:.1%} before, {found.lie_share[1]:.1%} after; of the lies the old "
        f"text monitor catches {found.caught_share[0]:.1%} and {found.caught_share[1]:.1%}"
    )
    lines = [shares, f"more speeches with a lie, the same deals: {_signed(found.more_lies)}"]
    for what, share in (("speeches", found.watched), ("lies", found.watched_lies)):
        if share is not None:
            lines.append(
                f"the monitor of the training catches {share.before:.1%} of the {what} before, {share.after:.1%} "
                f"after: {_signed(share.more)}"
            )
    for kind, table in (("words", found.text), ("activations", found.probe)):
        lines += [
            f"AUROC of lies from {kind:11} {name} speeches: old monitor {row[0]:.3f}, new monitor {row[1]:.3f}"
            for name, row in zip(("old", "new"), table, strict=True)
        ]
    for what, (low, high) in (
        ("on new speeches the new probe reads better than the old one by", found.gained),
        ("the old probe reads new speeches worse than old ones by", found.fallen),
    ):
        lines.append(f"{what} {low:+.3f} to {high:+.3f}, 95% interval over games")
    return [*lines, f"outcome: {found.outcome()}"]


def _signed(i: Interval) -> str:
    return f"{i.value:+.1%} [{i.low:+.1%}, {i.high:+.1%}], 95% interval over games"
