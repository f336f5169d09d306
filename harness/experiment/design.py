"""A design: which moments, what is changed, against which controls, what is measured, what is tested.

Written as TOML; the designs that ship are in `harness/experiment/designs` and are known by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from games import SHIPPED, load_game
from harness.config.files import read_toml, validated
from harness.config.hashing import hash_of
from harness.config.sections import Section
from harness.errors import WolfscopeError
from harness.reasoning.changes import DOES, Which
from harness.reasoning.sections import ReasoningSection, TurnsSection

DESIGNS = Path(__file__).parent / "designs"

Where = Literal["option", "last_mention", "mentions", "answer", "all"]
"""Positions by meaning: where the question names the subject; where the context names it last, or each time; the last
token of the prompt, from which the answer is read; every token of the prompt."""
SUBJECTS = ("drawn", "any", "leader", "least", "other_faction", "own_faction", "last_accused", "last_accuser")
ASKED = tuple(load_game(name).belief_targets[0].name for name in SHIPPED)
"""The first belief target of each game; any of these names means the game's own."""
Kind = Literal[
    "direction", "latents", "patch", "role_line", "utterance", "lexicon", "player", "model", "reasoning"
]  # fmt: skip


class ExperimentError(WolfscopeError, ValueError):
    """A design that cannot be run on these games; the message says why and names the remedy."""


class MomentsSection(Section):
    """`[moments]`: a query over the runs' model decisions."""

    kind: str = "ballot"
    """The kind of decision."""
    n: int = Field(default=100, ge=1)
    """Number of moments to draw."""
    players: Literal["models", "all"] = "models"
    """Whose decisions: those of models, or also those of scripted players."""
    per_game: int = Field(default=2, ge=1)
    """At most this many from one game."""
    seed: int = Field(default=0, ge=0)
    where: tuple[str, ...] = ()
    """Predicates `fact op value`, all of which must hold: `day >= 2`, `faction == village`, `lies == true`,
    `stated_leader > .6`. The facts are those of `harness.experiment.facts.FACTS`."""
    subject: str = Field(default="drawn", pattern=f"^({'|'.join((*SUBJECTS, *ASKED))})$")
    """Whom the change is about: `drawn` a living other whose faction the viewer has not been told; `any`
    any living other; `leader` and `least` the one of unknown faction that it suspects most or least;
    `werewolf` or `evil` (what the game asks of others first), `other_faction`, `own_faction` by the truth;
    `last_accused`, `last_accuser` by what was said last before the decision."""
    fit_share: float = Field(default=0.4, ge=0, lt=1)
    """Share of the games that directions are fitted on, where a design fits one; no moment comes from them."""


class DirectionSection(Section):
    """`[directions.NAME]`: a vector, and where it was read. Exactly one of `fit`, `probe`, `vector`, `dictionary`."""

    fit: Literal["belief"] | None = None
    """`belief`: the difference of the class means of "the subject is a werewolf" where the model is asked for its
    belief about the subject, on the games of `moments.fit_share`, at the layer that tells the classes apart best there
    (the last one aside, which no later token reads)."""
    probe: str | None = None
    """A probe that a report saved (.json or .safetensors): its direction, its layer and its site."""
    vector: str | None = None
    """A .npy or .safetensors file with one vector (d_model,); needs `layer`."""
    dictionary: str | None = None
    """The folder of a sparse dictionary (`wolfscope features`); needs `latents`, whose directions are added up."""
    latents: tuple[int, ...] = ()
    """Numbers of latents of `dictionary`."""
    layer: int | None = Field(default=None, ge=0)
    """0 = output of block 0. One that is not the probe's own is stamped on the page."""

    @model_validator(mode="after")
    def _one(self) -> DirectionSection:
        given = [name for name in ("fit", "probe", "vector", "dictionary") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of fit, probe, vector, dictionary is needed; found {', '.join(given) or 'none'}"
            )
        if (self.dictionary is not None) != bool(self.latents):
            raise ValueError("dictionary and latents go together: name the folder, and which latents of it")
        if self.vector is not None and self.layer is None:
            raise ValueError("a bare vector needs layer: nothing tells where it was read")
        return self


class ArmSection(Section):
    """`[[arms]]`: one change."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    kind: Kind
    direction: str | None = None
    """direction: the key of a `[directions.*]` table. patch: whose layer."""
    do: str = ""
    """direction: `add` (default) or `ablate`. latents: `ablate` (default), which leaves all else as it is, what the
    dictionary misses too, or `add`. role_line: `remove` or `swap`. utterance: `remove`, `flip`, `filler`,
    `add`. reasoning: as in `harness.reasoning.changes.Do`, `cut`, `drop`, `resample`, `edit`, `shuffle`, `filler`,
    `other`, `none`.
    patch: `opposite` (default): from the seat of the same wave, asked the same in the same public state, whose
    stated belief about the subject differs most."""
    scales: tuple[float, ...] = (1.0,)
    """direction: multiples of the stream's own norm; a dose-response where there are several. The largest is the one
    that is tested, and has the controls."""
    at: Where | None = None
    """direction, patch: None is the site of the direction's own card."""
    layer: int | None = Field(default=None, ge=0)
    """direction, patch: None is the direction's own."""
    act: str = "accuse"
    """utterance add: the kind of typed act said about the subject."""
    by: Literal["most_suspect", "least_suspect", "drawn"] = "drawn"
    """utterance add: which living third seat says it, by the viewer's belief."""
    step: Which = "subject"
    """reasoning cut, drop, resample, edit: which step, by default the last that names the subject."""
    lexicon: str | None = None
    """lexicon: the words in which the same game, speeches included, is retold."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """player: dotted keys of the player's `[agents.*]` table: { "settings.factors.advice" = true }."""
    model: str | None = None
    """model: the folder of another checkpoint with the same words."""
    sham_of: str | None = None
    """The arm whose sham this is: this one serves only as that arm's control."""

    @model_validator(mode="after")
    def _fits(self) -> ArmSection:
        known = {
            "direction": ("", "add", "ablate"),
            "latents": ("", "ablate", "add"),
            "patch": ("", "opposite"),
            "role_line": ("remove", "swap"),
            "utterance": ("remove", "flip", "filler", "add"),
            "lexicon": ("",),
            "player": ("",),
            "model": ("",),
            "reasoning": tuple(do for do in DOES if do != "irrelevant"),
        }[self.kind]
        if self.do not in known:
            raise ValueError(
                f"arm {self.name}: do = {self.do!r} is nothing that a {self.kind} arm does; there are: "
                f"{', '.join(word or 'none' for word in known)}"
            )
        needed = {
            "direction": "direction", "latents": "direction", "patch": "direction", "lexicon": "lexicon",
            "player": "settings", "model": "model",
        }.get(self.kind)  # fmt: skip
        if needed is not None and not getattr(self, needed):
            raise ValueError(f"arm {self.name}: a {self.kind} arm needs {needed}")
        if self.kind == "direction" and (
            not self.scales or (any(s == 0 for s in self.scales) and self.do != "ablate")
        ):
            raise ValueError(
                f"arm {self.name}: a push of strength 0 changes nothing; scales = {list(self.scales)}"
            )
        return self


class ControlsSection(Section):
    """`[controls]`: what each arm is compared with; on by default."""

    null: bool = True
    """Asked again without any change, with a warm and with an empty cache: the noise floor."""
    sham: bool = True
    """For a change of words: as many tokens changed elsewhere, or a neutral act in place of the tested one."""
    random: int = Field(default=20, ge=0)
    """Random directions of the same norm at the same place."""
    orthogonal: int = Field(default=20, ge=0)
    """The same, orthogonal to the tested one."""
    sign_flip: bool = True
    other_layer: bool = True
    """The same push, half the depth away."""
    other_subject: bool = True
    """The same push about another living player; its effect on the subject is measured."""


class OutcomesSection(Section):
    """`[outcomes]`: what is measured."""

    options: bool = True
    """The exact distribution over the legal options."""
    beliefs: bool = False
    """The model's stated beliefs about the subject and the control's player, asked on forks: the positive control of
    a belief direction."""
    continuations: int = Field(default=0, ge=0)
    """Continuations to the end of each moment and arm, seeds paired across arms (arms that play can carry out)."""


class StrategicSection(Section):
    """`[strategic]`: at each moment, a speech, every act of a menu is played out."""

    continuations: int = Field(default=20, ge=2)
    """Continuations of each act, with the same seeds for all acts of a moment."""
    most: int = Field(default=9, ge=2)
    """Acts of a menu."""


class TestSection(Section):
    """`[test]`: the family for multiple-testing correction, and the smallest effect of interest."""

    family: tuple[str, ...] = ()
    """The arms that are tested together; none named: all arms of the file."""
    outcome: Literal["p_subject", "belief_subject", "entropy", "moved", "won", "exiled", "votes", "lies"] = (
        "p_subject"
    )
    """p_subject: probability of choosing the subject among the legal options. belief_subject: stated probability that
    it is a werewolf. moved: total variation distance from the unchanged distribution. won, exiled, votes,
    lies: of what follows (`harness.experiment.continuations.FUTURES`)."""
    smallest: float = Field(default=0.05, gt=0)
    """The smallest effect of interest, in units of the outcome."""
    power: float = Field(default=0.8, gt=0, lt=1)
    spread: float = Field(default=0.15, gt=0)
    """Expected standard deviation of a game's mean effect, for the number of games that is needed."""


class Design(Section):
    """A whole design."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    question: str
    moments: MomentsSection = MomentsSection()
    directions: dict[str, DirectionSection] = Field(default_factory=dict)
    arms: tuple[ArmSection, ...] = ()
    controls: ControlsSection = ControlsSection()
    outcomes: OutcomesSection = OutcomesSection()
    strategic: StrategicSection | None = None
    reasoning: ReasoningSection | None = None
    turns: TurnsSection | None = None
    test: TestSection = TestSection()

    @model_validator(mode="after")
    def _names_known(self) -> Design:
        if self.reasoning is None and any(arm.do == "resample" for arm in self.arms):
            raise ValueError("an arm that resamples needs continuations: a [reasoning] table with rollouts")
        others = bool(self.arms) or self.reasoning is not None
        if (self.strategic is None) != others:
            raise ValueError("a design has either arms or a [strategic] table, or else a [reasoning] table")
        if self.reasons and any(arm.kind == "lexicon" for arm in self.arms):
            raise ValueError(
                "a reasoning stays in the words it was written in: a lexicon arm has none before it"
            )
        if self.turns is not None and (self.reasoning or any(arm.kind != "player" for arm in self.arms)):
            raise ValueError(
                "[turns] are taken anew by the player: its arms are of kind player, with no [reasoning]"
            )
        belief = None if self.reasoning is None else self.reasoning.belief
        if belief is not None and (
            belief not in self.directions or self.directions[belief].vector is not None
        ):
            raise ValueError(
                f"reasoning.belief = {belief!r} is no fitted direction or saved probe; there are: "
                f"{', '.join(self.directions) or 'none'}"
            )
        names = [arm.name for arm in self.arms]
        tested = [arm.name for arm in self.arms if arm.sham_of is None]
        for arm in self.arms:
            if arm.sham_of is not None and arm.sham_of not in tested:
                raise ValueError(
                    f"arm {arm.name} is the sham of {arm.sham_of!r}; arms there are: {', '.join(tested)}"
                )
        if len(set(names)) < len(names):
            raise ValueError(f"two arms have the same name: {', '.join(sorted(names))}")
        for arm in self.arms:
            if arm.direction is not None and arm.direction not in self.directions:
                raise ValueError(
                    f"arm {arm.name}: there is no direction {arm.direction!r}; there are: "
                    f"{', '.join(self.directions) or 'none'}"
                )
            if arm.kind == "latents" and self.directions[arm.direction or ""].dictionary is None:
                raise ValueError(
                    f"arm {arm.name}: directions.{arm.direction} is of no dictionary: it has no latents"
                )
        unknown = [name for name in self.test.family if name not in names]
        if unknown:
            raise ValueError(
                f"test.family names {unknown[0]!r}, which is no arm; there are: {', '.join(names)}"
            )
        for text in self.moments.where:
            parse_predicate(text)
        return self

    @property
    def family(self) -> tuple[str, ...]:
        """The arms that are tested together."""
        return self.test.family or tuple(arm.name for arm in self.arms if arm.sham_of is None)

    @property
    def reasons(self) -> bool:
        """Whether questions are asked after the reasoning as played."""
        return self.reasoning is not None or any(arm.kind == "reasoning" for arm in self.arms)

    def hash(self) -> str:
        """Hash that identifies the design."""
        plain = self.model_dump(mode="json")
        for section in (one for one in plain["directions"].values() if one["dictionary"] is None):
            del section["dictionary"], section["latents"]  # older designs without these keys keep their hash
        for arm in (one for one in plain["arms"] if one["lexicon"] is None):
            del arm["lexicon"]
        if plain["turns"] is None:
            del plain["turns"]
        return hash_of(plain)


def load_design(name: str | Path, overrides: Iterable[str] = ()) -> Design:
    """A design by its file, or one that ships by its name. Raises ConfigurationError, ExperimentError."""
    path = Path(name)
    if not path.suffix and not path.exists():
        path = DESIGNS / f"{name}.toml"
        if not path.is_file():
            raise ExperimentError(
                f"no design is called {str(name)!r}; there are: {', '.join(shipped())}, or give a .toml file"
            )
    return parse_design(read_toml(path, overrides), str(path))


def parse_design(plain: dict[str, Any], source: str = "design") -> Design:
    """Validate a design given as plain data. Raises ConfigurationError naming every complaint."""
    return validated(Design, plain, source)


def shipped() -> list[str]:
    """The names of the designs that ship."""
    return sorted(path.stem for path in DESIGNS.glob("*.toml"))


_PREDICATE = re.compile(r"\s*(\w+)\s*(==|!=|>=|<=|>|<)\s*(.+?)\s*$")


def parse_predicate(text: str) -> tuple[str, str, Any]:
    """`fact op value` as its three parts; numbers and true/false as such. Raises ValueError."""
    match = _PREDICATE.match(text)
    if match is None:
        raise ValueError(f"moments.where: {text!r} is no predicate; write for instance 'day >= 2'")
    name, op, word = match.groups()
    if word in ("true", "false"):
        return name, op, word == "true"
    try:
        return name, op, float(word)
    except ValueError:
        return name, op, word.strip("\"'")
