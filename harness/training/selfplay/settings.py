"""The configuration of a training by outcome: whose seats learn, against whom, and how a step is taken.

Written as TOML; those that ship are in `harness/training/selfplay/configs` and are known by their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from games import DEFAULT, load_game
from harness.config.files import read_toml, validated
from harness.config.sections import Section
from harness.errors import ConfigurationError, WolfscopeError

CONFIGS = Path(__file__).parent / "configs"


class SelfPlayError(WolfscopeError, ValueError):
    """A training by outcome that cannot start, or must stop; the message names the cause and the remedy."""


def first_side(game: str = DEFAULT) -> str:
    """The side that learns by default: the one of the game's first belief target."""
    return load_game(game).sides[0]


def check_side(game: str, side: str, *others: str) -> None:
    """Raises SelfPlayError where `side` is neither one of the game's nor one of `others`."""
    known = (*load_game(game).sides, *others)
    if side not in known:
        raise SelfPlayError(f"side = {side!r} is none of {game}; there are: {', '.join(known)}")


class RolloutSection(Section):
    """`[rollouts]`: the games of one iteration."""

    deals: int = Field(default=32, ge=1)
    """Deals an iteration: each is a seed of the rules and a cast of opponents."""
    group: int = Field(default=4, ge=1)
    """Games of each deal, which differ in the players' own draws alone."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of the learner's and its models' draws. The gradient step is exact only at 1."""
    batch_tokens: int = Field(default=4096, ge=1)
    """Prompt tokens of one forward pass, padding included."""
    parts: int = Field(default=2, ge=1)
    """The games are played in so many parts, each with batches of its own, side by side where there are cores. The
    number of cores changes nothing but the time; the number of parts changes the rounding of large sums."""

    @model_validator(mode="after")
    def _exact(self) -> RolloutSection:
        if self.temperature != 1.0:
            raise ValueError(
                f"rollouts.temperature is {self.temperature:g}, but the ratio of a step is that of the model's own "
                "probabilities: set it to 1"
            )
        return self


class OpponentSection(Section):
    """`[opponents]`: who has the seats that do not learn. Each deal draws one of the three kinds by its share."""

    scripted: float = Field(default=1.0, ge=0)
    """Share of the deals whose opponents are scripted, each drawn from `characters`."""
    characters: dict[str, float] = Field(default={"naive": 1.0, "loud": 1.0, "claimer": 1.0})
    """Scripted policy -> weight."""
    frozen: dict[str, float] = Field(default={})
    """Model (a folder, or the name of one that ships) -> share of the deals that it plays all of these seats in."""
    past: float = Field(default=0.0, ge=0)
    """Share of the deals in which they are the learner's own earlier states, one of its checkpoints (fictitious
    play). Until there is one, its share is the scripted players'."""

    @model_validator(mode="after")
    def _someone(self) -> OpponentSection:
        if not self.scripted + sum(self.frozen.values()) + self.past > 0:
            raise ValueError("nobody plays the other seats: give scripted, frozen or past a share above 0")
        if not sum(self.characters.values()) > 0:
            raise ValueError("opponents.characters gives no scripted policy a weight above 0")
        return self


class ObjectiveSection(Section):
    """`[objective]`: the objective of a gradient step."""

    clip: float = Field(default=0.2, gt=0)
    """How far the ratio of a decision's probabilities may deviate from 1 before it is clipped."""
    kl_weight: float = Field(default=0.02, ge=0)
    """Weight of the divergence from the starting model, nats a decision."""
    kl_every: int = Field(default=1, ge=1)
    """It is measured on every `kl_every`-th batch, with `kl_every` times the weight."""
    trace: float = Field(default=1.0, ge=0, le=1)
    """How much a decision is credited with changes of the situation after the next: lambda of generalised advantage
    estimation (Schulman et al. 2016, arXiv:1506.02438) over the changes of who lives. At 1 a decision is credited
    with the outcome alone, less its baseline."""
    group_prior: float = Field(default=4.0, ge=0)
    """Pseudo-count of the situation's baseline when a deal's own mean is combined with it."""
    memory: float = Field(default=0.99, ge=0, lt=1)
    """Decay of a situation's running mean per game, once it has seen many."""


class OptimiserSection(Section):
    """`[optimiser]`: AdamW."""

    learning_rate: float = Field(default=3e-4, gt=0)
    steps: int = Field(default=4, ge=1)
    """Steps per iteration, each on its own share of the contexts."""
    batch_tokens: int = Field(default=4096, ge=1)
    """Tokens of one forward and backward pass, padding included."""
    max_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    warmup: int = Field(default=8, ge=0)
    """Steps over which the learning rate rises."""
    fall: float = Field(default=0.4, ge=0, le=1)
    """Share of the games over which it falls linearly to zero at the end."""
    compiled: bool = False
    """Fuse the model's kernels by torch.compile, where there is a C++ compiler."""


class LoraSection(Section):
    """`[lora]`: low-rank matrices learn in place of the weights (peft)."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, gt=0)
    modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Names of the linear layers that get them."""


class MonitorSection(Section):
    """`[monitor]`: a penalty for speeches caught by a monitor that is fitted on the starting model's speeches."""

    kind: Literal["text", "probe"] = "text"
    """The monitor's input: a speech's words, or the residual stream at its last token."""
    weight: float = Field(default=0.5, ge=0)
    """Penalty of a caught speech; a won game has return 1."""
    games: int = Field(default=64, ge=2)
    """Games of the starting model with itself that it is fitted on."""
    alarm: float = Field(default=0.05, gt=0, lt=1)
    """False-positive rate on the starting model's speeches without a lie."""
    layer: int | None = Field(default=None, ge=0)
    """probe: 0 = output of block 0; None: of the middle block."""


class SelfPlayConfig(Section):
    """A whole training by outcome."""

    model: str = "small"
    """The starting model: a folder, or the name of one that ships."""
    game: str = DEFAULT
    """The game."""
    side: str = ""
    """Whose seats learn: one of the game's sides, the first where none is named; `alternate`: one an iteration, in
    turn."""
    preset: str = ""
    """The rule set, the game's default where none is named."""
    games: int = Field(default=6000, ge=1)
    """Games to learn from, all groups counted."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    checkpoints: int = Field(default=7, ge=1)
    """States that are kept on the way, each as a model folder; the first three at an eighth, a quarter and so on of
    the second, the rest evenly."""
    save_every: int = Field(default=5, ge=1)
    """Iterations between checkpoints to resume from."""
    gap_bound: float = Field(default=0.02, gt=0)
    """Training stops where the sampler's log-probability of a drawn token and the trainer's differ by more, nats, on
    average over an iteration's first batch."""
    threads: int = Field(default=1, ge=1)
    """Threads of torch. At the small models' size a second thread costs more than it gains."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """dtype of the weights in training; `auto`: as saved."""
    device: str = "auto"
    rollouts: RolloutSection = RolloutSection()
    opponents: OpponentSection = OpponentSection()
    objective: ObjectiveSection = ObjectiveSection()
    optimiser: OptimiserSection = OptimiserSection()
    lora: LoraSection | None = None
    monitor: MonitorSection | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_the_game(cls, given: Any) -> Any:
        """Fills in the game's defaults where nothing was named."""
        if not isinstance(given, dict):
            return given
        game = load_game(given.get("game", DEFAULT))
        return {"side": first_side(game.name), "preset": game.configure().preset} | given

    @model_validator(mode="after")
    def _a_side(self) -> SelfPlayConfig:
        check_side(self.game, self.side, "alternate")
        return self

    def learner(self, iteration: int) -> str:
        """The side that learns in an iteration, counted from 0."""
        return load_game(self.game).sides[iteration % 2] if self.side == "alternate" else self.side

    def marks(self) -> list[int]:
        """Numbers of games at which a state is kept, ascending; the last is all of them."""
        n = self.checkpoints
        even = [self.games * (i + 1) // n for i in range(n)]
        early = [even[0] // 8, even[0] // 2] if n > 2 else []
        return sorted({max(1, mark) for mark in [*early, *(even[2:] if early else even)]})


def load_settings(name: str | Path, overrides: Iterable[str] = ()) -> SelfPlayConfig:
    """A TOML file, or one that ships by its name, with `key=value` overrides. Raises ConfigurationError."""
    path = Path(name)
    if not path.is_file():
        path = CONFIGS / f"{path.name}.toml"
        if str(name) != Path(name).name or not path.is_file():
            raise ConfigurationError(
                f"there is no training by outcome {str(name)!r}: name a TOML file, or one that ships: "
                f"{', '.join(shipped())}"
            )
    plain: dict[str, Any] = read_toml(path, overrides)
    return validated(SelfPlayConfig, plain, str(name))


def shipped() -> list[str]:
    """The names of the configurations that ship."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))
