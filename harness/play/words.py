"""The gate for words that a configuration or a user puts into a model's context.

A tokenizer with an unknown-word token maps every unknown word to it: the model cannot distinguish them, and nothing
fails. So each text that is known before the games begin (lexicon, names, prefix, persona, advice, prefilled thinking,
a speech that a branch inserts) is checked against the tokenizer of every seated model that will read it. Unknown
words during a game are counted in `Trace.sampling["unknown"]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from games import load_game
from harness.config.sections import AgentSection, Config
from harness.errors import ConfigurationError

OWN = (
    ("prefix", "text"),
    ("thinking", "given"),
    ("factors", "persona"),
    ("factors", "advice"),
    ("factors", "monitored"),
)
"""Settings of a model player that hold the user's words."""
SHOWN = 8
"""Most unknown words that a message names."""

Known = set[tuple[Path, str]]
"""(folder of a tokenizer, text or lexicon) pairs that passed the check."""


def check_words(config: Config, said: Iterable[tuple[str, str]] = (), known: Known | None = None) -> None:
    """Check every text of a configuration against the tokenizers of the seated models that read it.

    said: further (place, text) pairs that all seated models will read. known: pairs checked before; passing ones are
    added.

    Raises ConfigurationError naming the text, the words and the model, ModelFilesError.
    """
    known = set() if known is None else known
    texts = [*said]
    game = load_game(config.game.name)
    rules = game.configure(**config.game.settings)
    lexicon, words = rules.lexicon, tuple(game.text.words_in(rules))
    for name in dict.fromkeys(config.roster.agents()):
        section = config.agents[name]
        folder = _tokenizer_of(section, config)
        if folder is None:
            continue
        model = config.backends[section.backend or ""].model
        _check_lexicon(name, model, folder, lexicon, words, known)
        for where, text in [*texts, *_own_texts(name, section)]:
            _check_text(name, model, folder, where, text, lexicon, known)


def _tokenizer_of(section: AgentSection, config: Config) -> Path | None:
    """The folder of the tokenizer of a player's contexts; None where it has none."""
    from harness.config.models import model_folder

    if section.kind != "llm":
        return None
    source = config.backends[section.backend or ""]
    if source.kind == "openai" and not source.serve and source.settings.get("api") == "chat":
        return None
    return model_folder(source)


def _own_texts(name: str, section: AgentSection) -> Iterator[tuple[str, str]]:
    for table, key in OWN:
        found = section.settings.get(table)
        text = found.get(key) if isinstance(found, dict) else None
        if isinstance(text, str) and text:
            yield f"agents.{name}.settings.{table}.{key}", text


def _encoder(folder: Path) -> Any:
    from agents.llm.encoder import Encoder
    from agents.models.folder import load_tokenizer

    return Encoder(load_tokenizer(folder))


def _check_text(
    name: str, model: str, folder: Path, where: str, text: str, lexicon: str, known: Known
) -> None:
    if (folder, text) in known:
        return
    if unknown := _encoder(folder).unknown_words(text):
        shown = ", ".join(map(repr, unknown[:SHOWN])) + (", ..." if len(unknown) > SHOWN else "")
        raise ConfigurationError(
            f"{where}: the tokenizer of {model} (agents.{name}) does not know {shown}, and would read each as the same "
            f"token: use words of the lexicon {lexicon!r} and of the game's sentences, or a model with a general "
            "vocabulary in that seat"
        )
    known.add((folder, text))


def _check_lexicon(
    name: str, model: str, folder: Path, lexicon: str, words: tuple[str, ...], known: Known
) -> None:
    """Checks that a model with a small vocabulary knows the words that the game can show, except those of roles that
    are not dealt."""
    key = (folder, f"words {' '.join(words)}")
    if key in known:
        return
    encoder = _encoder(folder)
    missing = [word for word in words if encoder.unknown_words(f" {word}")]
    if missing:
        raise ConfigurationError(
            f"agents.{name}: the tokenizer of {model} does not know {len(missing)} of the {len(words)} words of "
            f"the lexicon {lexicon!r} ({', '.join(missing[:3])}, ...): set game.lexicon to the one that the model was "
            "trained under, or take a model trained under this one (`small-nonsense` knows nonsense)"
        )
    known.add(key)
