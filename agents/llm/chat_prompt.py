"""The words of the `chat` style: Jinja templates in `agents/llm/prompts`, their hash, and the factors that
switch parts.

What a player is told of the rules is generated from the running configuration by the game. Every factor is off by
default and part of the agent's settings, so it is in the manifest.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from games.base import Game
from games.records import Request

FOLDER = Path(__file__).parent / "prompts"
VERSION = "chat-1"
"""Changes with the code around the templates; the templates themselves are in the hash."""


class Factors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What varies in the prompt between experiments."""

    scratchpad: bool = True
    """Private notes before each answer."""
    advice: bool | str = False
    """Strategic advice: the built-in one, or one's own."""
    persona: str = ""
    """Who the player is told to be."""
    monitored: bool | str = False
    """A notice that the reasoning is being read: the built-in one, or one's own."""
    beliefs: bool = False
    """Ask for beliefs about the others before each answer; unlike elicitation, this is part of the game's context."""


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), undefined=jinja2.StrictUndefined, autoescape=False
    )


def render(template: str, **values: Any) -> str:
    """A template of `agents/llm/prompts`, filled in."""
    return _environment().get_template(f"{template}.jinja").render(**values)


@cache
def prompts_hash() -> str:
    """`chat-1@hash`: the version, and a hash over all templates, names included."""
    digest = blake2b(digest_size=6)
    for path in sorted(FOLDER.glob("*.jinja")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return f"{VERSION}@{digest.hexdigest()}"


def system_text(game: Game, config: Any, words: Any, seat: int, factors: Factors) -> str:
    """What a seat is told before the game."""
    return render(
        "system",
        name=words.names[seat],
        names=words.names,
        rules=game.rules_text(config).strip(),
        scratchpad=factors.scratchpad,
        max_chars=words.max_chars,
        advice=_own(factors.advice, "advice"),
        persona=factors.persona,
        monitored=_own(factors.monitored, "monitored"),
    ).strip()


def _own(factor: bool | str, template: str) -> str:
    if isinstance(factor, str):
        return factor
    return render(template).strip() if factor else ""


def question_text(
    game: Game,
    request: Request,
    words: Any,
    *,
    factors: Factors,
    options: tuple[str, ...],
    speaks: bool,
    stage: str,
    choose: bool,
) -> str:
    """The question put to a seat. stage: `free` (notes, words, and where `choose` the choice) or `choice` (only it)."""
    line = game.text.question(request, words).rstrip('" ')
    return render(
        "question",
        line=line,
        options=options,
        speaks=speaks,
        scratchpad=factors.scratchpad,
        beliefs=factors.beliefs,
        enemy=words.term(game.belief_targets[0].name) if factors.beliefs else "",
        stage=stage,
        choose=choose,
    ).strip()
