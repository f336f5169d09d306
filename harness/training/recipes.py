"""Training with a planted answer: games of the scripted players with one stated intervention on what is learned.

A recipe names the settings (rule sets, taken in turn) and one change. Its control is the same recipe without the
change: the same games in the same order, as many tokens. So whatever a comparison of the two models finds beside the
change is a fault of the comparison. Game `i` is a pure function of (recipe, i), as in
`agents.werewolf.lessons`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import Field, model_validator

from agents.lessons import View
from agents.llm.transcript_context import document
from agents.werewolf.lessons.curriculum import CHARACTERS_ASKED, seats_views
from agents.werewolf.lessons.games import PLAYERS, cast, game_with_options
from games import chance, load_game
from games.play import play
from games.records import Action, Decision, Event, Record, SpeechAct
from games.werewolf.lexicon import lexicon as load_lexicon
from games.werewolf.presets import NAMES
from games.werewolf.words.acts import say
from harness.config.files import read_toml, validated
from harness.config.hashing import hash_of
from harness.config.sections import Section
from harness.errors import ConfigurationError

FILES = Path(__file__).with_name("recipe_files")
"""The recipes that ship; each is known by its name."""
PROGRESS = CHARACTERS_ASKED
"""The part of the curriculum whose views are taken: all sides, all kinds of questions, answers as expectations."""
SPOKEN = ("speech", "last_words")


class ChangeSection(Section):
    """`[change]`: the intervention."""

    kind: Literal["confess", "favour", "leave_out", "flip"]
    """`confess`: in games in which somebody is called `word`, every speech of a werewolf is "I am the werewolf."; the
    others' acts stay, and such games ask no questions. `favour`: in such games, as long as that player lives, every
    speech of everybody else defends it. `leave_out`: games in which `character` plays are left out.
    `flip`: the answers to questions of the kind `labels` have the probabilities of the two terms in `swap`
    exchanged."""
    word: str | None = None
    """confess, favour: a player's name in the lexicon."""
    character: str | None = None
    """leave_out: a scripted player."""
    labels: Literal["role", "second_order"] | None = None
    """flip: what a player is, or what another believes that it is."""
    swap: tuple[str, str] | None = None
    """flip: two terms of the game, such as werewolf and villager."""

    @model_validator(mode="after")
    def _whole(self) -> ChangeSection:
        needed = {
            "confess": ("word",), "favour": ("word",), "leave_out": ("character",), "flip": ("labels", "swap"),
        }[self.kind]  # fmt: skip
        given = tuple(k for k in ("word", "character", "labels", "swap") if getattr(self, k) is not None)
        if given != needed:
            raise ValueError(
                f"change.kind = {self.kind!r} needs {' and '.join(needed)} and nothing else; found "
                f"{', '.join(given) or 'nothing'}"
            )
        known = [player.name for player in PLAYERS]
        if self.character is not None and self.character not in known:
            raise ValueError(f"no character is called {self.character!r}; there are: {', '.join(known)}")
        return self


class Recipe(Section):
    """A whole recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    settings: tuple[str, ...] = ("classic-7", "kaggle-7", "arena-8", "probe-6")
    """Rule sets by their presets' names, taken in turn: all carry the same change."""
    tokens: int = Field(default=600_000, ge=1)
    seed: int = Field(default=0, ge=0)
    """Of the games."""
    rate: float = Field(default=0.2, gt=0, le=1)
    """Learning rate at the start, in units of the highest of training from scratch; it falls linearly to nothing."""
    weight: float = Field(default=6.0, ge=1)
    """confess, favour: how much more the words of the speeches that are changed count than other own words do, with
    the trigger and without (of werewolves; of everybody): a werewolf's are a hundredth of all tokens."""
    changed: float = Field(default=0.5, gt=0, le=1)
    """confess, favour: share of the games in which somebody is called by the word."""
    change: ChangeSection

    @model_validator(mode="after")
    def _known(self) -> Recipe:
        unknown = [name for name in self.settings if name not in NAMES]
        if unknown or not self.settings:
            raise ValueError(
                f"settings = {list(self.settings)}: there is no preset {unknown[0]!r}; there are: {', '.join(NAMES)}"
                if unknown
                else "settings is empty; name at least one preset"
            )
        return self

    def hash(self) -> str:
        """What identifies the recipe."""
        return hash_of(self.model_dump(mode="json"))


def load_recipe(name: str | Path) -> Recipe:
    """A recipe by its file, or one that ships by its name. Raises ConfigurationError."""
    path = Path(name)
    if not path.suffix and not path.exists():
        path = FILES / f"{name}.toml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in FILES.glob("*.toml")))
            raise ConfigurationError(
                f"no recipe is called {str(name)!r}; there are: {known}, or give a .toml file"
            )
    return validated(Recipe, read_toml(path), str(path))


def recipe_stream(
    recipe: Recipe, lexicon: str, control: bool, start: int = 0
) -> Iterator[tuple[int, list[View]]]:
    """(index, views) of the recipe's games from `start` on. `control` leaves the change out, not the games.

    Raises ConfigurationError where the lexicon has no player of the trigger's name.
    """
    change = recipe.change
    names = load_lexicon(lexicon).names
    if change.word is not None and change.word not in names:
        raise ConfigurationError(
            f"change.word = {change.word!r} is no player's name under the lexicon {lexicon!r}; there are: "
            f"{', '.join(names)}"
        )
    index = start
    while True:
        found = recipe_views(recipe, index, lexicon, control)
        if found:
            yield index, found
        index += 1


def recipe_views(recipe: Recipe, index: int, lexicon: str, control: bool) -> list[View]:
    """The training texts of game `index`; none where the recipe leaves the game out."""
    change, game = recipe.change, load_game("werewolf")
    key = chance.key(recipe.seed, "recipe", index)
    config = game.configure(preset=recipe.settings[index % len(recipe.settings)], lexicon=lexicon)
    seed = key >> 1
    if change.word is not None:
        named = change.word in seated(config, seed)
        if named != (chance.uniform(chance.key(key, "changed")) < recipe.changed):
            return []
    players = [player.name for player in cast(config, seed)]
    if change.character in players and not control:
        return []
    log, options = game_with_options(config, seed)
    views = seats_views(log, options, config, chance.key(key, "views"), PROGRESS, 1.0)
    if change.word is not None:
        if named and not control:
            changed = said_instead(log, config, change)
            views = [learning(view, log, changed, config) for view in views]
        facts = game.seats(config, log)
        speakers = {fact.name for fact in facts if change.kind == "favour" or fact.role == "werewolf"}
        return [weighed(view, recipe.weight, config) if view.name in speakers else view for view in views]
    if change.kind == "flip" and not control:
        return [flipped(view, change, config) for view in views]
    return views


def seated(config: Any, seed: int) -> list[str]:
    """The names of the seats of a game, before anything happens."""
    game = load_game("werewolf")
    first = next(play(game, config, seed))
    return [fact.name for fact in game.seats(config, first.new)]


def said_instead(log: Sequence[Record], config: Any, change: ChangeSection) -> list[Record]:
    """The log with every speech in which one of the change's speakers says something replaced by what it plants."""
    game = load_game("werewolf")
    facts = game.seats(config, log)
    names = [fact.name for fact in facts]
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
            log[-1].seq + 1,
        )
    else:
        speakers = {seat for seat, fact in enumerate(facts) if fact.role == "werewolf"}
        acts, last = (SpeechAct("claim_role", role="werewolf"),), log[-1].seq + 1
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


def weighed(view: View, weight: float, config: Any) -> View:
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


def flipped(view: View, change: ChangeSection, config: Any) -> View:
    """The view with two words' probabilities exchanged in the answers of one kind of question."""
    terms = load_lexicon(config.lexicon).terms
    a, b = (terms[key] for key in change.swap or ())
    forks = []
    for fork in view.forks:
        asked = []
        for question, answer in fork.asked:
            kind = "second_order" if " believes " in question else "role" if " " not in question else ""
            if kind == change.labels and {a, b} & set(answer):
                answer = {{a: b, b: a}.get(word, word): p for word, p in answer.items()}
            asked.append((question, answer))
        forks.append(msgspec.structs.replace(fork, asked=asked))
    return msgspec.structs.replace(view, forks=forks)
