"""Run a design's `[turns]`: whole turns repeated under each arm, with exact truth labels of what was said.

turns.parquet   one row a moment, arm and turn: thought, speech and choice, and the stream for a probe
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from agents.backends.base import Backend
from agents.llm.beliefs import role_words
from agents.llm.chat import ChatPlayer
from games import chance
from games.records import NOBODY, Reply
from harness.atomic import replacing, storage
from harness.experiment.arms import BASE, Arm
from harness.experiment.design import Design
from harness.experiment.moments import Moment
from harness.experiment.scenes import Scene, Scenes
from harness.reasoning.categories import category_of
from harness.reasoning.played import subjects_of
from harness.reasoning.sections import TurnsSection
from harness.reasoning.steps import Cut, cut_text
from harness.run.folder import Run

NAME = "turns.parquet"
TURNS: dict[str, Any] = {
    "moment": pl.Int32,
    "game": pl.String,
    "names": pl.List(pl.String),  # of the seats
    "role": pl.String,
    "faction": pl.String,
    "arm": pl.String,  # `unchanged`, or the design's
    "r": pl.Int32,
    "own": pl.Boolean,  # the player's own act; false where its answer could not be used
    "reasoning": pl.String,  # null where none was written
    "categories": pl.List(pl.String),  # of its steps, by rule
    "said": pl.String,  # null where nothing was
    "statements": pl.Int32,  # typed acts that assert something
    "lies": pl.Int32,  # of those: false, and the speaker knows
    "option": pl.Int16,  # the choice; null where there was none to make
    "against": pl.Boolean,  # the chosen player is of another faction; null for no player
    "stream": pl.List(pl.Float32),  # (d_model,) at the turn's last token; null without token ids
}
Say = Callable[[str], None]


def turn_arms(design: Design) -> list[Arm]:
    """The arms of a design with `[turns]`: the player as it is, and each change of its settings."""
    if design.turns is None:
        return []
    arms = [Arm(BASE, BASE, "", "none")]
    for section in design.arms:
        of = section.sham_of or section.name
        control: Any = "sham" if section.sham_of else ""
        arms.append(Arm(section.name, of, control, "player", settings=dict(section.settings)))
    return arms


def write_turns(
    folder: Path,
    section: TurnsSection,
    moments: Sequence[Moment],
    arms: Sequence[Arm],
    runs: Sequence[Run],
    hooked: Any,
    say: Say,
) -> None:
    """Play the remaining turns and write `turns.parquet`. Raises StorageError, ExperimentError."""
    from agents.backends.hooked.backend import HookedBackend
    from harness.experiment.scoring.packed import PackedScorer, packs
    from harness.experiment.scoring.plain import PlainScorer

    n_layers = hooked.layout.n_layers
    layer = n_layers * 2 // 3 if section.layer is None else min(section.layer, n_layers - 1)
    scorer = PackedScorer(hooked) if packs(hooked) else PlainScorer(hooked)

    def stream(ids: Sequence[int]) -> Any:
        return scorer.streams(tuple(ids), (len(ids) - 1,), (layer,))[0, 0].tolist()

    backend = HookedBackend(hooked)
    try:
        turns_with(folder, section, moments, arms, [Scenes(run) for run in runs], backend, stream, say)
    finally:
        asyncio.run(backend.close())


def turns_with(
    folder: Path,
    section: TurnsSection,
    moments: Sequence[Moment],
    arms: Sequence[Arm],
    scenes: Sequence[Scenes],
    backend: Backend,
    stream: Callable[[Sequence[int]], Any],
    say: Say = lambda text: None,
) -> None:
    """As `write_turns`, with any backend; `stream`: token ids of a whole turn -> the stored vector of the last
    token."""
    place = folder / "turns"
    with storage(folder):
        place.mkdir(parents=True, exist_ok=True)
    for n, moment in enumerate(moments, 1):
        part = place / f"{moment.id:05d}.parquet"
        if not part.is_file():
            scene = scenes[moment.run].scene(moment)
            rows = [row for arm in arms for row in _turns(scene, arm, section.n, backend, stream)]
            with replacing(part) as file:
                pl.DataFrame(rows, schema=TURNS).write_parquet(file)
        say(f"turns of {n:,} of {len(moments):,} moments")
    parts = [pl.read_parquet(p) for p in sorted(place.glob("[0-9]*.parquet"))]
    with replacing(folder / NAME) as file:
        (pl.concat(parts) if parts else pl.DataFrame(schema=TURNS)).write_parquet(file)


def _turns(
    scene: Scene, arm: Arm, n: int, backend: Backend, stream: Callable[[Sequence[int]], Any]
) -> list[dict[str, Any]]:
    player, observation = scene.taking(arm, backend)
    seeds = [chance.key(scene.observation.seed, "turn", scene.moment.seq, r) for r in range(n)]

    async def ask() -> list[Reply]:
        seen = [msgspec.structs.replace(observation, seed=seed) for seed in seeds]
        return [await player.act(seen[0]), *await asyncio.gather(*map(player.act, seen[1:]))]

    with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop of its own
        replies = thread.submit(lambda: asyncio.run(ask())).result()
    context = player.context(observation)
    return [
        _row(scene, arm, r, player, reply, context.ids[: context.own], stream)
        for r, reply in enumerate(replies)
    ]


def _row(
    scene: Scene, arm: Arm, r: int, player: Any, reply: Reply, before: Sequence[int], stream: Any
) -> dict[str, Any]:
    m, action, trace, names = scene.moment, reply.action, reply.trace, scene.words.names
    roles = role_words(scene.observation)
    how: Cut = "sentences" if isinstance(player, ChatPlayer) else "items"
    thought = None if trace is None else trace.reasoning
    steps = [(thought or "")[a:b].strip() for a, b in cut_text(thought or "", how)]
    said = scene.said(action)
    chosen = action.option if scene.observation.request.options else None
    target = None if chosen is None or chosen == NOBODY else chosen
    emitted = trace is not None and trace.output_ids
    return {
        "moment": m.id, "game": f"{m.run}:{m.game_id}", "names": list(names), "role": m.role,
        "faction": m.faction, "arm": arm.id, "r": r, "own": reply.fallback is None, "reasoning": thought,
        "categories": [category_of(s, subjects_of(s, names), roles.get(m.role), tuple(roles.values())) for s in steps],
        "said": action.text or None, "statements": sum(s.label != "none" for s in said),
        "lies": sum(s.label == "lie" for s in said), "option": chosen,
        "against": None if target is None else scene.factions[target] != m.faction,
        "stream": stream((*before, *trace.prompt_ids, *trace.output_ids)) if trace is not None and emitted else None,
    }  # fmt: skip
