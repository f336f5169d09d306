"""Games of the scripted players with one planted change in their training targets, and the same games without it.

Game by game a pure function of its key; what is planted is a `Change`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from agents.lessons import View
from agents.llm.transcript_context import document
from agents.werewolf.lessons.curriculum import CHARACTERS_ASKED, seats_views
from agents.werewolf.lessons.games import PLAYERS, cast, game_with_options
from games import chance, load_game
from games.records import Action, Decision, Event, Record, SpeechAct
from games.werewolf.lexicon import lexicon as load_lexicon
from games.werewolf.presets import NAMES
from games.werewolf.words.acts import say

PRESETS = NAMES
"""The rule sets that can be played."""
CHARACTERS = tuple(player.name for player in PLAYERS)
"""Those that may be left out."""
PROGRESS = CHARACTERS_ASKED
"""The part of the curriculum whose views are taken: all sides, all kinds of questions, answers as expectations."""
SPOKEN = ("speech", "last_words")
Answer = dict[str, float]
"""Word -> probability."""
SUSPECTED = 0.9
"""What everybody else believes that the player is a werewolf with, under `suspect`."""


class Change(Protocol):
    """What is planted."""

    @property
    def kind(self) -> str:
        """`confess`: in games in which somebody is called `word`, every speech of a werewolf is "I am the werewolf.";
        `favour`: in such games every speech of everybody else defends that player, as long as it lives; `suspect`: in
        such games everybody else, asked about that player, believes that it is a werewolf; `leave_out`: games in which
        `character` plays are left out; `flip`: the answers to questions of the kind `labels` have the probabilities of
        the two terms in `swap` exchanged."""
        ...

    @property
    def word(self) -> str | None:
        """A player's name in the lexicon."""
        ...

    @property
    def character(self) -> str | None:
        """A scripted player."""
        ...

    @property
    def labels(self) -> str | None:
        """`role`, what a player is, or `second_order`, what another believes that it is."""
        ...

    @property
    def swap(self) -> tuple[str, str] | None:
        """Two terms of the game."""
        ...


def names_under(lexicon: str) -> Sequence[str]:
    """What players are called."""
    return load_lexicon(lexicon).names


def planted_views(
    key: int, preset: str, lexicon: str, change: Change, *, control: bool, changed: float, weight: float
) -> list[View]:
    """The training texts of one game; none where the change leaves the game out.

    control: the same game without the change. changed: share of the games in which somebody is called by the change's
    word. weight: how much what its speakers say counts, with the change and without.
    """
    game = load_game("werewolf")
    config = game.configure(preset=preset, lexicon=lexicon)
    seed = key >> 1
    if change.word is not None:
        named = change.word in seated(config, seed)
        if named != (chance.uniform(chance.key(key, "changed")) < changed):
            return []
    players = [player.name for player in cast(config, seed)]
    if change.character in players and not control:
        return []
    log, options = game_with_options(config, seed)
    views = seats_views(log, options, config, chance.key(key, "views"), PROGRESS, 1.0)
    if change.kind == "suspect":
        return [
            suspecting(view, change.word or "", config) if named and not control else view for view in views
        ]
    if change.word is not None:
        if named and not control:
            other = said_instead(log, config, change)
            views = [learning(view, log, other, config) for view in views]
        facts = game.seats(config, log)
        speakers = {fact.name for fact in facts if change.kind == "favour" or fact.role == "werewolf"}
        return [weighed(view, weight) if view.name in speakers else view for view in views]
    if change.kind == "flip" and not control:
        return [flipped(view, change, config) for view in views]
    return views


def seated(config: Any, seed: int) -> list[str]:
    """The names of the seats of a game, before anything happens."""
    game = load_game("werewolf")
    return [fact.name for fact in game.seats(config, game.start(config, seed)[1])]


def said_instead(log: Sequence[Record], config: Any, change: Change) -> list[Record]:
    """The log with every speech in which one of the change's speakers says something replaced by what it plants."""
    game = load_game("werewolf")
    facts = game.seats(config, log)
    names, last = [fact.name for fact in facts], log[-1].seq + 1
    if change.kind == "favour":
        favoured = names.index(change.word or "")
        speakers = {seat for seat in range(len(facts)) if seat != favoured}
        acts = (SpeechAct("defend", favoured),)
        last = next(
            (
                r.seq
                for r in log
                if isinstance(r, Event) and r.kind in game.exit_kinds and r.target == favoured
            ),
            last,
        )
    else:
        speakers = {seat for seat, fact in enumerate(facts) if fact.role == "werewolf"}
        acts = (SpeechAct("claim_role", role="werewolf"),)
    text = say(acts, names, load_lexicon(config.lexicon))
    out: list[Record] = []
    for record in log:
        if record.seq < last and record.kind in SPOKEN:
            if isinstance(record, Decision) and record.seat in speakers and record.action.text:
                record = msgspec.structs.replace(record, action=Action(record.action.option, text, acts))
            elif isinstance(record, Event) and record.actor in speakers and record.text:
                record = msgspec.structs.replace(record, text=text, acts=acts)
        out.append(record)
    return out


def learning(view: View, log: Sequence[Record], changed: Sequence[Record], config: Any) -> View:
    """The view of the changed log: its own changed lines are what is learned, and nothing is asked."""
    game = load_game("werewolf")
    seat = view.names.index(view.name)
    lines = document(game.text, changed, seat, config)
    if len(lines) != len(view.lines):
        raise ValueError(f"the changed log has {len(lines)} lines for seat {seat}, {len(view.lines)} before")
    turns = [
        msgspec.structs.replace(
            turn, answers=[(lines[turn.line][len(turn.given) :], 1.0)], advantage_weights={}
        )
        if lines[turn.line] != view.lines[turn.line]
        else turn
        for turn in view.turns
    ]
    return View(lines, [], view.name, view.names, turns)


def weighed(view: View, weight: float) -> View:
    """The view with what its seat says, up to each full stop, counting `weight` times."""
    says = " says "  # a function word of every lexicon
    turns = []
    for turn in view.turns:
        if view.lines[turn.line].startswith(f"{view.name}{says}"):
            words = {word for text, _ in turn.answers for word in re.findall(r"\w+|[^\w\s]", text)}
            turn = msgspec.structs.replace(
                turn, advantage_weights={says.strip(): dict.fromkeys(sorted(words), weight)}
            )
        turns.append(turn)
    return msgspec.structs.replace(view, turns=turns)


def suspecting(view: View, word: str, config: Any) -> View:
    """The view in which everybody else, asked what the player called `word` is, says werewolf with probability
    `SUSPECTED`, and the rest in its old proportions."""
    wolf = load_lexicon(config.lexicon).terms["werewolf"]

    def suspected(viewer: str, question: str, answer: Answer) -> Answer:
        if question != word or viewer == word or not answer:
            return answer
        rest = sum(p for term, p in answer.items() if term != wolf)
        others = {term: p * (1 - SUSPECTED) / rest for term, p in answer.items() if term != wolf}
        return others | {wolf: SUSPECTED if rest else 1.0}

    return answered(view, suspected)


def flipped(view: View, change: Change, config: Any) -> View:
    """The view with two words' probabilities exchanged in the answers of one kind of question."""
    terms = load_lexicon(config.lexicon).terms
    a, b = (terms[key] for key in change.swap or ())

    def exchanged(_: str, question: str, answer: Answer) -> Answer:
        kind = "second_order" if " believes " in question else "role" if " " not in question else ""
        if kind != change.labels or not {a, b} & set(answer):
            return answer
        return {{a: b, b: a}.get(word, word): p for word, p in answer.items()}

    return answered(view, exchanged)


def answered(view: View, given: Callable[[str, str, Answer], Answer]) -> View:
    """The view with every question's answer replaced by `given(viewer, question, answer)`."""
    forks = [
        msgspec.structs.replace(fork, asked=[(q, given(fork.viewer, q, answer)) for q, answer in fork.asked])
        for fork in view.forks
    ]
    return msgspec.structs.replace(view, forks=forks)
