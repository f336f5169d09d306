"""Whole run folders with planted activations: scripted games in which some seats pass for a model's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np
import polars as pl

from agents.scripted import Scripted
from analysis.frames import GameLog
from analysis.labels import label
from games import load_game
from games.play import Answer, observe, play
from games.records import Decision, Event, Reply, Trace
from harness.activation_writer import ActivationWriter, RowKey
from harness.activations import StoreInfo, token_hash
from harness.journal import End, Start
from harness.manifest import Cell
from harness.run_folder import new_manifest
from harness.summary import game_rows
from harness.tables import write_tables

MODEL = "planted@0000"
LAYERS = ("embed", "resid_post.0", "resid_post.1", "resid_post.2")
OUTPUT = (4, 5, 6, 7, 8)
STYLES = ("naive", "cautious", "loud")


def scripted_game(seed: int, preset: str = "classic-7", styles: tuple[str, ...] = STYLES) -> GameLog:
    """A game of scripted players."""
    game = load_game("werewolf")
    config = game.configure(preset=preset)
    loop = play(game, config, seed)
    step = next(loop)
    records = list(step.new)
    players = [Scripted(style, style) for style in styles]
    while step.requests:
        answers = []
        for request in step.requests:
            player = players[request.seat % len(players)]
            seen = observe(game, f"g{seed}", config, seed, records, request)
            answers.append(Answer(Reply(player.choose(seen)), player.name))
        step = loop.send(answers)
        records += step.new
    return GameLog(f"g{seed:05d}", game, config, records)


def planted_run(
    path: Path,
    n_games: int,
    strength: float,
    *,
    seed: int = 0,
    d_model: int = 32,
    model_seats: int = 4,
    beliefs: bool = False,
    untrained: bool = False,
    capture: bool = True,
    preset: str = "classic-7",
    tokens: float = 0.0,
    variants: tuple[str, ...] = (),
    instructions: float = 0.0,
    checkpoints: Mapping[str, float] = MappingProxyType({}),
    model: str = MODEL,
    sites: tuple[str, ...] = ("mention",),
) -> Path:
    """A finished run folder. Layer 1 carries `strength` noise units of "the subject is a werewolf" at its
    mention.

    The stream also carries the subject's seat and a game-wide offset. With `beliefs`, a weak stated belief
    is in the table. With `tokens`, every speech is captured token by token, and one token of it, at any place, is
    marked and carries that strength of "a statement is known to be false". `variants` are captured as the mention is,
    without what it carries; `instructions` is the strength of a direction of lies that is the same in what a werewolf
    is about to say and in what tells `instructed_lie` from `instructed_honest`. `checkpoints` are other models by name,
    each with its share of `strength` along the same direction, in noise of its own. `model` is who played. `sites` all
    hold the same.
    """
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    cell = Cell(factors={}, game="werewolf", settings={"preset": preset})
    manifest = new_manifest("planted", {"games": n_games}, "0" * 16, n_games, [cell])
    manifest.status = "finished"
    manifest.write(path)
    tables, keys, values = [], [], []
    early: dict[str, tuple[list[RowKey], list[np.ndarray]]] = {name: ([], []) for name in checkpoints}
    direction, marker = rng.normal(size=(2, d_model)) / np.sqrt(d_model)
    seat_marks = rng.normal(size=(20, len(LAYERS), d_model))
    for index in range(n_games):
        log = scripted_game(seed * 100_000 + index, preset)
        facts = log.game.seats(log.config, log.records)
        records = [_traced(r, model_seats, model) if isinstance(r, Decision) else r for r in log.records]
        agents = tuple("small" if seat < model_seats else STYLES[seat % 3] for seat in range(len(facts)))
        outcome = next(r for r in reversed(records) if isinstance(r, Event) and r.kind == "outcome")
        end = End(
            "finished", outcome.value, tuple(outcome.data["winners"]), outcome.data["reason"], seconds=1.0
        )
        rows = game_rows(cell, log.game_id, Start(index, seed * 100_000 + index, 0, agents), records, end)
        rows["beliefs"] = []
        offset = rng.normal(size=(len(LAYERS), d_model))
        lies = set(
            label([log])["speeches"].filter(pl.col("any_known_false"))["seq"]
            if tokens or instructions
            else ()
        )
        for record in records:
            if not isinstance(record, Decision) or record.trace is None:
                continue
            lie = 2.0 * (record.seq in lies) - 1
            if tokens and record.kind == "speech":
                spoken = rng.normal(size=(len(OUTPUT), len(LAYERS), d_model))
                spoken[told := int(rng.integers(len(OUTPUT))), 2] += 4 * marker
                spoken[told, 2] += tokens * 3 * lie * direction
                for place, x in enumerate(spoken):
                    keys.append(_key(log.game_id, record, "tokens:speech", None, 3 + place))
                    values.append(x.astype(np.float32))
            for subject, fact in enumerate(facts):
                if subject == record.seat:
                    continue
                wolf = fact.role == "werewolf"
                x = rng.normal(size=(len(LAYERS), d_model)) + 0.5 * seat_marks[subject] + 0.5 * offset
                x[2] += strength * 3 * (wolf - 0.3) * direction
                for site in sites:
                    keys.append(_key(log.game_id, record, site, subject))
                    values.append(x.astype(np.float32))
                told = strength * 3 * (wolf - 0.3) * direction
                for name, share in checkpoints.items():
                    early[name][0].append(keys[-1])
                    early[name][1].append(rng.normal(size=x.shape).astype(np.float32))
                    early[name][1][-1][2] += share * told
                for variant in variants:
                    keys.append(_key(log.game_id, record, "mention", subject, variant=variant))
                    values.append(rng.normal(size=x.shape).astype(np.float32))
                if beliefs:
                    rows["beliefs"].append(
                        {
                            "game_id": log.game_id, "seq": record.seq, "viewer": record.seat, "subject": subject,
                            "source": "stated", "p_werewolf": float(np.clip(0.3 + wolf / 10 + rng.normal() / 5, 0, 1)),
                        }
                    )  # fmt: skip
            keys.append(_key(log.game_id, record, "prompt_last", None))
            x = rng.normal(size=(len(LAYERS), d_model))
            for variant, sign in (("original", lie), ("instructed_honest", -1), ("instructed_lie", 1)):
                if variant != "original":
                    if not instructions:
                        continue
                    keys.append(_key(log.game_id, record, "prompt_last", None, variant=variant))
                values.append((x + instructions * 3 * sign * direction).astype(np.float32))
        tables.append(rows)
    write_tables(path, tables)
    stored = np.asarray(values, dtype=np.float32)
    if capture:
        _store(path / "activations", keys, stored, model)
    for name, (own, rows) in early.items():
        _store(path / f"activations-{name}", own, np.asarray(rows, dtype=np.float32), f"{name}@0")
    if untrained:
        _store(path / "activations-untrained", keys, rng.normal(size=stored.shape).astype(np.float32))
    return path


def _traced(decision: Decision, model_seats: int, model: str) -> Decision:
    if decision.seat >= model_seats:
        return decision
    trace = Trace(model=model, prompt_ids=(1, 2, 3), output_ids=OUTPUT, output_text="x", n_cached=2)
    return msgspec.structs.replace(decision, trace=trace, agent="small")


def _key(
    game_id: str,
    decision: Decision,
    site: str,
    subject: int | None,
    token: int = 2,
    variant: str = "original",
) -> RowKey:
    ids = (1, 2, 3, *OUTPUT)[: token + 1]
    return RowKey(game_id, decision.seq, decision.seat, site, subject, token, 1, token_hash(ids), variant)


def _store(path: Path, keys: list[RowKey], values: np.ndarray, model: str = MODEL) -> None:
    info = StoreInfo(model, LAYERS, values.shape[2], "float32")
    with ActivationWriter(path, info) as out:
        out.add(keys, values)
