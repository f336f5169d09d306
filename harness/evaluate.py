"""Measure the small model on held-out games: is its language well-formed, and what does it say that it believes?

Run it with `wolfscope eval-small-model`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from agents.context import document
from agents.evidence import Evidence
from agents.hooked import load_hooked_backend
from agents.llm import TranscriptPlayer
from agents.model_files import load_tokenizer
from agents.observer import Observer
from agents.scripted import Style
from games import chance, load_game
from games.play import Answer, observe, play
from games.records import Decision, Record
from games.werewolf.config import Role
from games.werewolf.lexicon import lexicon
from harness.training_data import PLAYERS, WEIGHTS, scripted_game

HELD_OUT = 1 << 40
"""Game seeds from here on are never drawn in training, whose seeds are 63-bit hashes: a collision is that unlikely."""
FORM_PRESETS = ("classic-7", "probe-6", "kaggle-7")
N_BINS = 10


class Form(msgspec.Struct, frozen=True):
    """How many decisions of one kind were legal and well-formed, without constrained decoding."""

    kind: str
    n: int
    well_formed: int
    """At the first attempt."""
    fallbacks: int
    """Not within three attempts: the game's legal fallback stood in."""


class Belief(msgspec.Struct, frozen=True):
    """How well one source of beliefs tells werewolves from others, over living unrevealed subjects."""

    source: str
    n: int
    n_games: int
    auroc: float
    brier: float
    ece: float


async def play_games(player: TranscriptPlayer, presets: Sequence[str], n_games: int) -> list[list[Record]]:
    """Logs of games in which the player has every seat, many at once."""
    game = load_game("werewolf")

    async def one(index: int) -> list[Record]:
        config = game.configure(preset=presets[index % len(presets)])
        loop, log = play(game, config, HELD_OUT + index), list[Record]()
        step = next(loop)
        while True:
            log += step.new
            if not step.requests:
                return log
            seen = [observe(game, f"form-{index}", config, HELD_OUT + index, log, r) for r in step.requests]
            replies = await asyncio.gather(*(player.act(o) for o in seen))
            step = loop.send([Answer(reply, player.name) for reply in replies])

    return list(await asyncio.gather(*(one(i) for i in range(n_games))))


def measure_form(folder: Path, n_games: int = 60, presets: Sequence[str] = FORM_PRESETS) -> list[Form]:
    """Form by kind of decision, then over all (`kind="all"`)."""

    async def run() -> list[list[Record]]:
        backend = load_hooked_backend(folder)
        try:
            player = TranscriptPlayer("small", backend, load_tokenizer(folder), retries=2)
            return await play_games(player, presets, n_games)
        finally:
            await backend.close()

    n: Counter[str] = Counter()
    good: Counter[str] = Counter()
    fallback: Counter[str] = Counter()
    for log in asyncio.run(run()):
        for record in log:
            if isinstance(record, Decision) and record.trace is not None:
                for kind in (record.kind, "all"):
                    n[kind] += 1
                    good[kind] += record.trace.attempts == 1 and record.fallback is None
                    fallback[kind] += record.fallback is not None
    kinds = [*sorted(k for k in n if k != "all"), "all"]
    return [Form(kind, n[kind], good[kind], fallback[kind]) for kind in kinds]


class Asked(msgspec.Struct, frozen=True):
    """One belief question: about whom, what is true, and what ideal readers of the viewer's evidence would answer."""

    game: int
    question: str
    is_werewolf: bool
    exact: float
    """P(werewolf) under the scripted players' own policies and their mix."""
    rules: float
    """P(werewolf) where all that contradicts nothing is equally likely."""


def questions(preset: str, n_games: int) -> Iterator[tuple[list[str], list[Asked]]]:
    """Before every ballot of held-out scripted games, from each living plain villager's view of living others.

    Yields (lines read so far, questions).
    """
    game = load_game("werewolf")
    config = game.configure(preset=preset)
    mix: dict[str | Style, float] = dict(zip((player.name for player in PLAYERS), WEIGHTS, strict=True))
    for index in range(n_games):
        log = scripted_game(config, chance.key(HELD_OUT, "beliefs", index) >> 1)
        facts = game.seats(config, log)
        observers = {"exact": Observer("exact", config, mix), "rules": Observer("rules", config)}
        seen = Evidence.empty(config.n_players)
        voting = False
        for i, record in enumerate(log):
            opens = isinstance(record, Decision) and record.kind == "ballot" and not voting
            voting = isinstance(record, Decision) and record.kind == "ballot"
            viewers = [v for v in range(config.n_players) if seen.alive[v] and facts[v].role == "villager"]
            for viewer in viewers if opens else []:
                p = {kind: observer.p_werewolf(viewer) for kind, observer in observers.items()}
                asked = [
                    Asked(
                        game=index,
                        question=f"{facts[viewer].name} believes {facts[j].name} is",
                        is_werewolf=facts[j].role == "werewolf",
                        exact=float(p["exact"][j]),
                        rules=float(p["rules"][j]),
                    )
                    for j in range(config.n_players)
                    if j != viewer and seen.alive[j]
                ]
                yield document(game.text, log[:i], viewer, config), asked
            seen.add(record)
            for observer in observers.values():
                observer.update(record)


def stated_beliefs(
    folder: Path, preset: str = "classic-7", n_games: int = 200
) -> tuple[np.ndarray, list[Asked]]:
    """The model's stated P(werewolf) `(n_questions,)`, and the questions."""
    from agents.hooked_model import load_hooked_model

    hooked = load_hooked_model(folder)
    tokenizer = load_tokenizer(folder)
    lex = lexicon("classic")
    roles: tuple[str, ...] = Role.__args__  # type: ignore[attr-defined]
    role_ids = torch.tensor([tokenizer.convert_tokens_to_ids(lex.terms[role]) for role in roles])
    wolf = roles.index("werewolf")
    stated: list[float] = []
    all_asked: list[Asked] = []
    for lines, asked in questions(preset, n_games):
        head = "\n".join(lines) + "\n"
        rows = [
            [tokenizer.bos_token_id, *tokenizer(head + a.question, add_special_tokens=False)["input_ids"]]
            for a in asked
        ]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            logits = hooked.model(input_ids=ids, attention_mask=(ids != 0).long(), use_cache=False).logits
        for k, row in enumerate(rows):
            stated.append(float(torch.softmax(logits[k, len(row) - 1, role_ids].float(), dim=-1)[wolf]))
        all_asked += asked
    return np.array(stated), all_asked


def score(source: str, p: np.ndarray, truth: np.ndarray, games: np.ndarray) -> Belief:
    """AUROC, Brier score and expected calibration error (equal-width bins) of probabilities `(n,)`."""
    bins = np.minimum((p * N_BINS).astype(int), N_BINS - 1)
    ece = sum(
        (bins == b).mean() * abs(p[bins == b].mean() - truth[bins == b].mean())
        for b in range(N_BINS)
        if (bins == b).any()
    )
    return Belief(
        source=source,
        n=len(p),
        n_games=len(np.unique(games)),
        auroc=float(roc_auc_score(truth, p)),
        brier=float(((p - truth) ** 2).mean()),
        ece=float(ece),
    )


def evaluate(folder: Path, n_games: int = 60, n_belief_games: int = 200, say: Any = print) -> None:
    """Print both tables."""
    torch.set_num_threads(1)  # at this size a second thread costs more than it brings
    say(
        f"form: unconstrained decisions of {folder.name} in every seat of {n_games} games ({', '.join(FORM_PRESETS)})"
    )
    for f in measure_form(folder, n_games):
        say(
            f"  {f.kind:12} {f.well_formed:6} of {f.n:6} well-formed at once ({f.well_formed / f.n:.2%}), "
            f"{1 - f.fallbacks / f.n:.2%} within three attempts"
        )
    p, asked = stated_beliefs(folder, n_games=n_belief_games)
    truth, games = np.array([a.is_werewolf for a in asked]), np.array([a.game for a in asked])
    sources = {
        "stated": p,
        "rules": np.array([a.rules for a in asked]),
        "exact": np.array([a.exact for a in asked]),
    }
    say(
        f"stated belief: plain villagers before each ballot of {n_belief_games} scripted classic-7 games, living others"
    )
    for source, values in sources.items():
        b = score(source, values, truth, games)
        say(f"  {b.source:8} AUROC {b.auroc:.3f}  Brier {b.brier:.3f}  ECE {b.ece:.3f}  ({b.n} questions)")
