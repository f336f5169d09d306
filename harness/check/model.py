"""Checks of a model's folder before anything starts: every check that a later command would make, one line each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agents.llm.dialogue import TokenDialogue, Words
from agents.llm.encoder import Encoder, TokenizerError
from agents.llm.template import Turns
from agents.models.errors import ModelFilesError
from games import load_game
from games.base import Game
from games.play import Answer, observe, play, stamp
from games.records import Decision, Record

CONTEXT, GAMES = 2048, 8
"""Context length and number of games for which sizes are stated."""
ROOM = 256
"""Most tokens of the context at whose end the parity row is read."""


class Finding(msgspec.Struct, frozen=True):
    """The result of one check."""

    what: str
    told: str
    """The result, or the fault with its remedy."""
    ok: bool = True

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'NO':<3} {self.what}: {self.told}"


def check_model(
    folder: Path,
    game: str,
    preset: str | None = None,
    *,
    weights: bool = True,
    device: str = "auto",
) -> Iterator[Finding]:
    """Files, sizes, tokenizer, names, template, and with `weights` layers, one parity row, one decision.

    Stops after a failed check that all later ones need.
    """
    from agents.models.adapter import base_of, facts_of, is_adapter
    from agents.models.folder import (
        check_model_dir,
        check_tensor_names,
        load_tokenizer,
        model_name,
        vocab_size,
    )

    try:
        folder = check_model_dir(folder)
        check_tensor_names(folder)
        name = model_name(folder)
    except ModelFilesError as error:
        yield Finding("files", str(error), False)
        return
    kind = f", a LoRA adapter of {base_of(folder).name}" if is_adapter(folder) else ""
    data = f", taught on lessons {facts_of(folder)['data']}" if "data" in facts_of(folder) else ""
    yield Finding("files", f"{name}{kind}{data}")
    yield from _sizes(base_of(folder) if is_adapter(folder) else folder)
    rules = load_game(game)
    config = rules.configure(**({} if preset is None else {"preset": preset}))
    try:
        tokenizer = load_tokenizer(folder)
        encoder = Encoder(tokenizer)
    except (ModelFilesError, TokenizerError) as error:
        yield Finding("tokenizer", str(error), False)
        return
    rows = vocab_size(folder)
    fits = len(tokenizer) <= rows
    told = f"{len(tokenizer):,} tokens, the model has rows for {rows:,}"
    yield Finding("tokenizer", told + ("" if fits else ": it is another model's; copy the model's own"), fits)
    yield _names(rules, config, encoder)
    style, finding = _template(encoder)
    yield finding
    if weights:
        yield from _played(folder, rules, config, style, device)


def _sizes(folder: Path) -> Iterator[Finding]:
    from harness.check.sizes import sizes_of

    try:
        found = sizes_of(folder)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        yield Finding("size", f"transformers has no model for this config.json ({error})", False)
        return
    yield Finding("size", "; ".join(found.lines(CONTEXT, GAMES)))


def _names(game: Game, config: Any, encoder: Encoder) -> Finding:
    """How the players' names and the game's words are tokenized: a name of several tokens is read at its last."""
    words = [word for word in game.text.words_in(config) if word[:1].isalpha()]
    several = [word for word in words if len(encoder.encode(f" {word}")[0]) > 1]
    unknown = encoder.unknown_words(" ".join(words))
    if unknown:
        told = f"no tokens for {', '.join(unknown[:6])}: choose another lexicon, or another model"
        return Finding("names", told, False)
    shown = f" (several: {', '.join(several[:8])}{', ...' if len(several) > 8 else ''})" if several else ""
    return Finding(
        "names", f"{len(words) - len(several)} of {len(words)} words of {game.name} are one token{shown}"
    )


def _template(encoder: Encoder) -> tuple[str, Finding]:
    """(the prompt style that fits, what was found)."""
    try:
        turns = Turns(encoder)
    except TokenizerError as error:
        return "transcript", Finding(
            "template", f"{error}", ok=not getattr(encoder.tokenizer, "chat_template", None)
        )
    marks = turns.markers
    end = encoder.decode(turns.stop_ids) or "none"
    parts = [
        "system role" if marks.after_system is not None else "no system role: it stands in the first turn"
    ]
    parts.append(f"a turn ends with {end!r}")
    if marks.opener:
        parts.append(
            f"it opens thinking with {marks.opener!r}, which is closed by {marks.closer!r} before options"
        )
    elif marks.closer:
        parts.append(f"answers begin with {marks.closer!r}")
    dialogue = TokenDialogue(encoder, turns, "a system text", [])
    dialogue.user([Words(f"{end} said a player", "speech", 0)])
    ids = dialogue.context.ids
    speech = next(s for s in dialogue.context.spans if s.kind == "speech")
    safe = not set(ids[speech.start : speech.end]) & encoder.control
    parts.append("players' words hold no control token" if safe else "PLAYERS' WORDS CAN HOLD CONTROL TOKENS")
    return "chat", Finding("template", "; ".join(parts), safe)


def _played(folder: Path, game: Game, config: Any, style: str, device: str) -> Iterator[Finding]:
    """Layers, one parity row, one decision."""
    from agents.hooks.layers import UnknownArchitecture
    from agents.hooks.model import load_hooked_model

    try:
        hooked = load_hooked_model(folder, device=device)
    except (ModelFilesError, UnknownArchitecture) as error:
        yield Finding("layers", str(error), False)
        return
    layout = hooked.layout
    dtype = str(hooked.dtype).removeprefix("torch.")
    yield Finding("layers", f"{layout.n_layers} in {layout.where}, width {layout.d_model}, {dtype}")
    decision, prompt = asyncio.run(_decide(folder, hooked, game, config, style))
    yield _parity(hooked, prompt[:ROOM])
    how = "at once" if decision.trace is not None and decision.trace.attempts == 1 else "after repair"
    text = "" if decision.trace is None else decision.trace.output_text
    if decision.fallback is not None:
        told = f"{style}, {decision.kind}, not usable ({decision.fallback}): {text[:200]!r}"
        yield Finding("decision", f"{told}; wolfscope finetune teaches it, or try factors.version = 'short'")
    else:
        yield Finding("decision", f"{style}, {decision.kind}, {how}: {text[:200]!r}")


def _parity(hooked: Any, ids: list[int]) -> Finding:
    """Compares the captured stream after the middle block with `output_hidden_states` of a plain pass."""
    import torch

    from harness.capture.parity import TOLERANCE, plain_rows

    # never the last: `output_hidden_states` has it after the final norm
    at = (hooked.layout.n_layers - 1) // 2
    with torch.inference_mode():
        plain = hooked.model(
            input_ids=torch.tensor([ids], device=hooked.device), output_hidden_states=True, use_cache=False
        ).hidden_states[at + 1][0, -1]
        found = torch.from_numpy(plain_rows(hooked, tuple(ids), (f"resid_post.{at}",)))[0, -1].to(
            plain.device
        )
    error = float((found - plain.float()).norm() / plain.float().norm())
    bound = TOLERANCE[str(hooked.dtype).removeprefix("torch.")]
    told = f"layer {at} after {len(ids)} tokens differs from a plain pass by {error:.1e} (at most {bound:g})"
    return Finding("parity", told, error <= bound)


async def _decide(
    folder: Path, hooked: Any, game: Game, config: Any, style: str
) -> tuple[Decision, list[int]]:
    """(the first speech of a game that scripted players have begun, the ids of its prompt)."""
    from agents.backends.hooked.backend import HookedBackend
    from agents.policies import make_policy, players_of
    from harness.config.sections import (
        AgentSection,
        BackendSection,
        Config,
        GameSection,
        RosterSection,
        SamplingSection,
    )
    from harness.play.factory import make_agent

    settings: dict[str, Any] = {"factors": {"scratchpad": False}} if style == "chat" else {"choice": "repair"}
    section = AgentSection(kind="llm", backend="m", prompt=style, settings=settings,
                           sampling=SamplingSection(temperature=0.0, max_tokens=48))  # fmt: skip
    wanted = Config(
        agents={"m": section},
        backends={"m": BackendSection(kind="transformers", model=str(folder))},
        roster=RosterSection(seats=("m",)),
        game=GameSection(name=game.name),
    )
    backend = HookedBackend(hooked)
    try:
        player: Any = make_agent("m", wanted, {"m": backend})
        other = make_policy(game, "other", players_of(game).policies()[0], {})
        loop = play(game, config, 1)
        records: list[Record] = []
        step = next(loop)
        while True:
            records += step.new
            for request in step.requests:
                if request.kind in game.speech_kinds:
                    seen = observe(game, "check", config, 1, records, request)
                    reply = await player.act(seen)
                    return stamp(request, Answer(reply), len(records), records), list(
                        player.context(seen).ids
                    )
            seats = [observe(game, "check", config, 1, records, request) for request in step.requests]
            step = loop.send([Answer(await other.act(seen)) for seen in seats])
    finally:
        await backend.close()
