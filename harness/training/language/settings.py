"""The file that `wolfscope finetune` reads: which model learns from which decisions, and how."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from harness.config.sections import Section
from harness.errors import WolfscopeError


class FinetuneError(WolfscopeError, ValueError):
    """Data or model do not allow fine-tuning; the message names the fault and the remedy."""


class ModelSection(Section):
    """`[model]`: what learns."""

    folder: str
    """The model's folder in Hugging Face format."""
    weights: Literal["lora", "full"] = "lora"
    """`lora`: an adapter beside the untouched base, by `peft`; `full`: all weights, saved as a new model folder."""
    device: str = "auto"
    """`cpu`, `cuda` or `auto`."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """dtype of the base in training; auto: bfloat16 where the device multiplies in it natively (GPUs, and CPUs with
    AVX512-BF16: twice as fast), else float32. Trainable parameters are always float32."""


class LoraSection(Section):
    """`[lora]`: the adapter's shape, as `peft.LoraConfig` takes it."""

    rank: int = Field(default=8, ge=1, le=1024)
    """Rank of each pair of matrices."""
    alpha: float = Field(default=16.0, gt=0)
    """The pair's product counts `alpha / rank`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of a pair's inputs that is dropped while learning."""
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Names of the modules that get a pair; all linear maps inside the blocks by default."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """The numbers that are saved."""


class PlayerSection(Section):
    """`[player]`: how the model will be asked when it plays, as in an `[agents.*]` table."""

    prompt: Literal["chat", "transcript"] = "transcript"
    """The prompt style."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the prompt style (`choice`, `factors`, `template`, ...)."""


class LessonBeliefsSection(Section):
    """`[data.beliefs]`: questions about the others' roles, asked as `[beliefs]` asks them while playing."""

    before: tuple[str, ...] = ()
    """Kinds of decisions before which the seat is asked; none: no questions."""
    target: Literal["truth", "exact"] = "truth"
    """The right answer: the true role, or a role drawn from what the exact observer believes in the seat's place (so
    that a model that has learned it is calibrated). `exact` is Werewolf's alone."""
    most: int | None = Field(default=None, ge=1)
    """At most this many questions each time, drawn by the seed; None: one about each living other."""


class DataSection(Section):
    """`[data]`: the decisions to learn from."""

    runs: tuple[str, ...] = Field(min_length=1)
    """Run folders."""
    where: str = "true"
    """Which decisions are learned, an expression over the columns of `harness.training.language.lessons.COLUMNS`, e.g.
    `agent = 'bayesian' AND won`. A seat's other decisions are context and not learned."""
    held_out: float = Field(default=0.05, ge=0, lt=1)
    """Share of the games, drawn by their ids, held out from training for measurement."""
    reasoning: Literal["none", "logged"] = "none"
    """`logged`: learn also a player's reasoning before its decision, where the log has it."""
    silence: str = "I have nothing to say."
    """chat: the text for a player's silence, since an answer needs words."""
    beliefs: LessonBeliefsSection = LessonBeliefsSection()
    """Questions beside the decisions."""


class WeightsSection(Section):
    """`[train.weights]`: how much a token counts in the loss, by what it is."""

    speech: float = Field(default=1.0, ge=0)
    """Words said aloud."""
    choice: float = Field(default=4.0, ge=0)
    """A choice among options."""
    belief: float = Field(default=2.0, ge=0)
    """The answer to a question about a role."""
    reasoning: float = Field(default=1.0, ge=0)
    """Thinking and private notes."""


class TrainSection(Section):
    """`[train]`: how it learns."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the adapter's initial weights and the order of the lessons."""
    tokens: int = Field(default=1_000_000, ge=1)
    """Training tokens, including those that are not learned. If the data has fewer, it is read again."""
    batch_tokens: int = Field(default=2048, ge=1)
    """Tokens of one step, padding included."""
    max_context: int | None = Field(default=None, ge=16)
    """Longer lessons are cut after this many tokens; None: the model's own limit."""
    rate: float = Field(default=5e-4, gt=0)
    """Highest learning rate of AdamW; it rises over the first 3 % of the tokens and falls linearly to zero."""
    save_every: int = Field(default=100, ge=1)
    """Steps between checkpoints from which the same command resumes."""
    measure_every: int = Field(default=200, ge=1)
    """Steps between measurements on the games held out."""
    weights: WeightsSection = WeightsSection()
    """Weights of kinds of tokens in the loss."""


class FinetuneConfig(Section):
    """The file that `wolfscope finetune` reads."""

    model: ModelSection
    lora: LoraSection = LoraSection()
    player: PlayerSection = PlayerSection()
    data: DataSection
    train: TrainSection = TrainSection()

    @model_validator(mode="after")
    def _notes_need_reasoning(self) -> FinetuneConfig:
        factors = self.player.settings.get("factors") or {}
        asked = self.player.prompt == "chat" and (factors.get("scratchpad", True) or factors.get("beliefs"))
        if asked and self.data.reasoning == "none":
            raise ValueError(
                'the chat style asks for private notes, which no lesson has with data.reasoning = "none": set '
                "player.settings.factors = { scratchpad = false, beliefs = false }, or learn logged reasoning"
            )
        return self
