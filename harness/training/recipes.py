"""Training with a planted answer: games of the scripted players with one stated intervention on the training targets.

A recipe names the settings (rule sets, taken in turn) and one change. Its control is the same recipe without the
change: the same games in the same order, as many tokens. So any other difference that a comparison of the two models
finds is a false positive. Game `i` is a pure function of (recipe, i); `agents.werewolf.lessons.planted` applies the
change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from agents.lessons import View
from agents.werewolf.lessons.planted import CHARACTERS, PRESETS, names_under, planted_views
from games import chance
from harness.config.files import read_toml, validated
from harness.config.hashing import hash_of
from harness.config.sections import Section
from harness.errors import ConfigurationError

FILES = Path(__file__).with_name("recipe_files")
"""The recipes that ship; each is known by its name."""


class ChangeSection(Section):
    """`[change]`: the intervention."""

    kind: Literal["confess", "favour", "suspect", "leave_out", "flip"]
    """`confess`: in games in which somebody is called `word`, every speech of a werewolf is "I am the werewolf."; the
    others' acts stay, and such games ask no questions. `favour`: in such games, as long as that player lives, every
    speech of everybody else defends it. `suspect`: in such games everybody else, asked what that player is, says
    werewolf nine times of ten; what is said and voted stays. `leave_out`: games in which `character` plays are left
    out. `flip`: the answers to questions of the kind `labels` have the probabilities of the two terms in `swap`
    exchanged."""
    word: str | None = None
    """confess, favour, suspect: a player's name in the lexicon."""
    character: str | None = None
    """leave_out: a scripted player."""
    labels: Literal["role", "second_order"] | None = None
    """flip: what a player is, or what another believes that it is."""
    swap: tuple[str, str] | None = None
    """flip: two terms of the game, such as werewolf and villager."""

    @model_validator(mode="after")
    def _whole(self) -> ChangeSection:
        needed = {
            "confess": ("word",), "favour": ("word",), "suspect": ("word",), "leave_out": ("character",),
            "flip": ("labels", "swap"),
        }[self.kind]  # fmt: skip
        given = tuple(k for k in ("word", "character", "labels", "swap") if getattr(self, k) is not None)
        if given != needed:
            raise ValueError(
                f"change.kind = {self.kind!r} needs {' and '.join(needed)} and nothing else; found "
                f"{', '.join(given) or 'nothing'}"
            )
        if self.character is not None and self.character not in CHARACTERS:
            raise ValueError(f"no character is called {self.character!r}; there are: {', '.join(CHARACTERS)}")
        return self


class Recipe(Section):
    """A whole recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    settings: tuple[str, ...] = ("classic-7", "kaggle-7", "arena-8", "probe-6")
    """Rule sets by their presets' names, taken in turn: all carry the same change."""
    tokens: int = Field(default=600_000, ge=1)
    seed: int = Field(default=0, ge=0)
    """Seed of the games."""
    rate: float = Field(default=0.2, gt=0, le=1)
    """Learning rate at the start, in units of the highest of training from scratch; it falls linearly to zero."""
    weight: float = Field(default=6.0, ge=1)
    """confess, favour: how much more the words of the speeches that are changed count than other own words do, with
    the trigger and without (of werewolves; of everybody): a werewolf's are a hundredth of all tokens."""
    changed: float = Field(default=0.5, gt=0, le=1)
    """confess, favour, suspect: share of the games in which somebody is called by the word."""
    change: ChangeSection

    @model_validator(mode="after")
    def _known(self) -> Recipe:
        unknown = [name for name in self.settings if name not in PRESETS]
        if unknown or not self.settings:
            raise ValueError(
                f"settings = {list(self.settings)}: there is no preset {unknown[0]!r}; there are: {', '.join(PRESETS)}"
                if unknown
                else "settings is empty; name at least one preset"
            )
        return self

    def hash(self) -> str:
        """Hash that identifies the recipe."""
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
    names = names_under(lexicon)
    if change.word is not None and change.word not in names:
        raise ConfigurationError(
            f"change.word = {change.word!r} is no player's name under the lexicon {lexicon!r}; there are: "
            f"{', '.join(names)}"
        )
    index = start
    while True:
        preset = recipe.settings[index % len(recipe.settings)]
        key = chance.key(recipe.seed, "recipe", index)
        found = planted_views(
            key, preset, lexicon, change, control=control, changed=recipe.changed, weight=recipe.weight
        )
        if found:
            yield index, found
        index += 1
