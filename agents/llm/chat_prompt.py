"""The words of the `chat` style: the templates of `agents/llm/prompts` filled in, and the factors that switch parts.

What a player is told of the rules is generated from the running configuration by the game. Every factor is off by
default and part of the agent's settings, so it is in the manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from agents.llm.prompts.examples import examples
from agents.llm.prompts.versions import FOLDER, prompts_hash, render
from games.base import Game
from games.records import Request

__all__ = ["FOLDER", "Factors", "prompts_hash", "question_text", "render", "system_text"]


class Factors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parts of the prompt that vary between experiments."""

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
    version: Literal["standard", "short"] = "standard"
    """The prompts: `standard`, or `short` for small models (few words, the rules' first lines; of what is said, the
    first line counts)."""
    digest: bool = False
    """Say before each question who is in the game, who is out, and who has said what, as the seat has seen it."""
    examples: int = 0
    """Number of worked examples: questions under the running rules with well-formed answers, from no real game."""
    prefill: bool = False
    """Prefill: the prompt ends with `SAY:`, and the model continues from there."""


def system_text(
    game: Game, config: Any, words: Any, seat: int, factors: Factors, choose: bool = False
) -> str:
    """What a seat is told before the game. choose: whether its first answers hold its choices."""
    told = render(
        "system",
        factors.version,
        name=words.names[seat],
        names=words.names,
        rules=game.rules_text(config).strip(),
        scratchpad=factors.scratchpad,
        max_chars=words.max_chars,
        advice=_own(factors.advice, "advice"),
        persona=factors.persona,
        monitored=_own(factors.monitored, "monitored"),
    ).strip()
    if not factors.examples:
        return told

    def ask(request: Request, options: Sequence[str], speaks: bool) -> str:
        stage = "free" if speaks or factors.scratchpad else "choice"
        return question_text(
            game,
            request,
            words,
            factors=factors,
            options=tuple(options),
            speaks=speaks,
            stage=stage,
            choose=choose,
        )

    shown = examples(game, words, factors.examples, ask, factors.scratchpad)
    return "\n\n".join([told, *(f"Example:\n{question}\nYou write:\n{answer}" for question, answer in shown)])


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
    digest: str = "",
) -> str:
    """The question put to a seat. stage: `free` (notes, words, and where `choose` the choice) or `choice` (only it);
    digest: what is said of the table before it."""
    line = game.text.question(request, words).rstrip('" ')
    asked = render(
        "question",
        factors.version,
        line=line,
        options=options,
        speaks=speaks,
        scratchpad=factors.scratchpad,
        beliefs=factors.beliefs,
        enemy=words.term(game.belief_targets[0].name) if factors.beliefs else "",
        stage=stage,
        choose=choose,
    ).strip()
    return f"{digest}\n{asked}" if digest else asked
