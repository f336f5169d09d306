"""Measure a small model of any game on held-out games: whether its language is well-formed, who wins in its hands, and
its stated and represented beliefs.

Run it with `wolfscope eval-small-model`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import torch

from agents.backends.hooked.backend import load_hooked_backend
from agents.exam import lexicon_of
from agents.llm.transcript import TranscriptPlayer
from agents.models.folder import load_tokenizer
from games import DEFAULT
from harness.model_evaluation.beliefs import print_beliefs
from harness.model_evaluation.playing import print_competence, print_form


def evaluate(
    folder: Path, *, game: str = DEFAULT, n_games: int = 200, n_belief_games: int = 400, say: Any = print
) -> None:
    """Print all tables; those of play, or of beliefs, are left out where no games are asked for. Raises GameError where
    the game has no lessons, or the model not its words."""
    torch.set_num_threads(1)  # at this size a second thread costs more than it gains
    lexicon = lexicon_of(game, load_tokenizer(folder))
    if n_games:
        player = load_player(folder)
        print_form(player, game, n_games, say, lexicon)
        print_competence(player, game, n_games, say, lexicon)
        asyncio.run(player.backend.close())
    if n_belief_games:
        print_beliefs(folder, game, n_belief_games, say)


def load_player(folder: Path) -> TranscriptPlayer:
    """The model as an unconstrained player with two retries. The caller must close its backend."""
    return TranscriptPlayer("small", load_hooked_backend(folder), load_tokenizer(folder), retries=2)
