"""The thinking model before its training: the small model's weights, and new words after the frozen ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.werewolf.lessons.thinking.vocabulary import make_tokenizer
from harness.training import growth
from harness.training.thinking import attention as forks


def grown(folder: Path, lexicon: str, seed: int, layers: int | None = None) -> Any:
    """The model in `folder` with embeddings for the added words (`harness.training.growth.grown`)."""
    return growth.grown(folder, make_tokenizer(lexicon), seed, forks.NAME, layers)
