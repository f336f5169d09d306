"""The sections of a run's configuration, with defaults and validation."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.backends.registry import KINDS, named_kinds
from games import DEFAULT
from harness.config.hashing import hash_of
from harness.config.identity import identity


class Section(BaseModel):
    """A table of the configuration. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunSection(Section):
    """`[run]`: how many games, and how they are played."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The run's name; the default run folder is `runs/<name>`."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """All games' seeds derive from it."""
    games: int = Field(default=100, ge=1, le=10_000_000)
    """Games to play of each combination of the experiment's factors; in all, that times their number."""
    in_flight: int | None = Field(default=None, ge=1, le=100_000)
    """Games played at the same time, all runners together; None: 64, fewer where the contexts of fewer fill the caches
    of the engines (`wolfscope run CONFIG --dry-run` tells)."""
    runners: int | None = Field(default=None, ge=1, le=1024)
    """Processes that play games; None: one a CPU core for scripted players alone, else one for 256 games in flight."""
    fail_on_error: int = Field(default=10, ge=0)
    """Stop the run when this many games have failed; 0 never stops. Failed games are recorded either way."""
    max_backend_errors: float = Field(default=0.05, ge=0, le=1)
    """Share of a model's decisions that its backend may fail to make; above it the run ends with exit status 3."""
    clock: str | None = Field(default=None, pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(\+\d\d:\d\d)?)?$")
    """The time that chat templates are given, ISO 8601; None: when the run first began, also after a resume."""


class GameSection(BaseModel):
    """`[game]`: which game; every further key is a setting of that game, which checks it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = DEFAULT
    """The game."""

    @property
    def settings(self) -> dict[str, Any]:
        """The game's own settings."""
        return dict(self.model_extra or {})


class SamplingSection(Section):
    """`sampling`: how a model's tokens are drawn."""

    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling: draw from the most probable tokens that together have this probability; 1: all."""
    max_tokens: int | None = Field(default=None, ge=1)
    """None: 64 in transcript style, 512 in chat style."""


class SteeringSection(Section):
    """`[agents.NAME.steering]`: a saved vector added to (or taken from) the residual stream of this player's model."""

    vector: str
    """A .safetensors or .npy file with one vector (d_model,), or RUN#GAME/SEQ/SITE: what was captured at that decision
    (`runs/my#g00012-.../31/prompt_last`) at the same layer, to be patched in."""
    key: str | None = None
    """The tensor's name in a .safetensors file that holds several."""
    layer: int = Field(ge=0)
    """0 = output of block 0."""
    kind: Literal["add", "ablate", "patch"] = "add"
    """add: `scale` times the residual's own norm along the direction; ablate: take `scale` of its component away;
    patch: put the vector in the residual's place."""
    scale: float = Field(default=1.0, allow_inf_nan=False)
    """How much; see `kind`."""
    positions: Literal["all", "prompt", "generated"] | tuple[int, ...] = "all"
    """Every token, those of the prompt, those that output is read from, or token indices of the context."""
    point: Literal["embed", "resid_post", "attn_out", "mlp_out"] = "resid_post"
    """The stream that is changed."""
    seats: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    """Only these seats; None: wherever the player sits."""


class AgentSection(Section):
    """`[agents.NAME]`: one kind of player."""

    kind: Literal["scripted", "llm", "human", "imported"]
    """`scripted`: by rules; `llm`: a model; `human`: at the terminal; `imported`: elsewhere, and cannot play here."""
    policy: str | None = None
    """scripted: the policy's name (`wolfscope policies`), or `package.module:name` for a player of your own."""
    backend: str | None = None
    """llm: the key of a `[backends.*]` table."""
    prompt: str = "transcript"
    """llm: the prompt style, `transcript` or `chat`."""
    sampling: SamplingSection = SamplingSection()
    """llm: how its tokens are drawn."""
    retries: int = Field(default=1, ge=0, le=20)
    """llm: how often an unusable reply is asked again before the recorded fallback."""
    settings: dict[str, Any] = {}
    """Further settings of the policy or prompt style."""
    steering: SteeringSection | None = None
    """llm on a backend of kind "transformers": every forward pass for this player is steered."""

    @model_validator(mode="after")
    def _complete(self) -> AgentSection:
        needed = {"scripted": "policy", "llm": "backend"}.get(self.kind, "kind")
        if getattr(self, needed) is None:
            raise ValueError(f'an agent with kind = "{self.kind}" needs {needed}')
        other = {"scripted": ("backend",), "llm": ("policy",)}.get(self.kind, ("policy", "backend"))
        if self.kind != "llm":
            other = (*other, "steering")
        for name in other:
            if getattr(self, name) is not None:
                raise ValueError(f'{name} has no meaning for an agent with kind = "{self.kind}": remove it')
        return self


class PriceSection(Section):
    """`[backends.NAME.prices]`: prices per million tokens, in any one currency."""

    prompt: float = Field(ge=0)
    """Price of prompt tokens."""
    cached: float | None = Field(default=None, ge=0)
    """Price of prompt tokens from the prefix cache; None: the price of the others."""
    generated: float = Field(ge=0)
    """Price of generated tokens."""


class BackendSection(Section):
    """`[backends.NAME]`: where a model runs."""

    kind: str
    """vllm: engines; transformers: a model that can be steered; openai: a server; mock: none (`registry.KINDS`)."""
    model: str = "small"
    """A model folder, `small`, `small-nonsense` or `small-unasked` for those in the repository, or the served model's
    name (openai)."""
    url: str | None = None
    """openai: the server's base address, e.g. http://127.0.0.1:8000/v1."""
    serve: bool = False
    """openai: start vLLM's own server for the folder `model`, on loopback, and stop it at the end."""
    tokenizer: str | None = None
    """openai: a folder with the model's tokenizer."""
    api_key_env: str | None = None
    """openai: the environment variable that holds the key."""
    device: str = "auto"
    """vllm, transformers: `cpu`, `gpu`/`cuda` or `auto`."""
    replicas: int | None = Field(default=None, ge=1)
    """vllm: engines side by side. By default one on a GPU, and on a CPU as many as there are cores, seats and memory
    for."""
    tensor_parallel: int = Field(default=1, ge=1)
    """vllm: GPUs an engine."""
    max_concurrent: int = Field(default=64, ge=1)
    """Requests in flight, an engine."""
    settings: dict[str, Any] = {}
    """Further settings. vllm: fields of `agents.backends.vllm.settings.EngineSettings` (`dtype`, `max_context`,
    `kv_cache_gb`, `gpu_memory`, `extra`, ...). transformers: of `agents.backends.hooked.settings.HookedSettings`
    (`dtype`, ...). openai: `api` (tokens, text or chat), `timeout_s`, `give_up_s`, `fields` (a field of requests ->
    what this server calls it, or false), `system_role`, `check` (false: its list of models is not asked), and further
    fields of every request."""
    prices: PriceSection | None = None
    """Prices per million tokens."""

    @model_validator(mode="after")
    def _complete(self) -> BackendSection:
        if self.kind not in KINDS:
            raise ValueError(f"kind = {self.kind!r} is no kind of backend; there are: {', '.join(KINDS)}")
        if self.kind == "openai" and (self.url is None) != self.serve:
            raise ValueError(
                'a backend with kind = "openai" needs url, or serve = true to start a server of its own, and not both'
            )
        if self.serve and self.kind != "openai":
            raise ValueError(f'serve has no meaning for a backend with kind = "{self.kind}": remove it')
        return self


class RosterSection(Section):
    """`[roster]`: who sits where. Exactly one of `mix`, `seats` and `roles`."""

    mix: dict[str, int] | None = None
    """Agent -> share. The shares are dealt out again and again, balanced over seats, roles and opponents; where they
    add up to the number of seats, every game has exactly these players."""
    seats: tuple[str, ...] | None = None
    """One agent a seat, the same in every game (roles are dealt by the game's seed)."""
    roles: dict[str, str | tuple[str, ...]] | None = None
    """Role or faction -> agent or agents that take turns; `others` for the rest."""

    @model_validator(mode="after")
    def _one(self) -> RosterSection:
        given = [name for name in ("mix", "seats", "roles") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of mix, seats, roles is needed; found {', '.join(given) or 'none'}"
            )
        if self.mix is not None and (not self.mix or min(self.mix.values()) < 1):
            raise ValueError(
                f"mix needs at least one agent, each with a share of at least 1; found {self.mix}"
            )
        return self

    def agents(self) -> list[str]:
        """Every agent that is named."""
        if self.mix is not None:
            return list(self.mix)
        if self.seats is not None:
            return list(self.seats)
        named = (self.roles or {}).values()
        return [agent for one in named for agent in ((one,) if isinstance(one, str) else one)]


class ActivationsSection(Section):
    """`[activations]`: what `wolfscope capture` records of this run."""

    enabled: bool = False
    """Whether `wolfscope capture` has something to do for this run without being told what."""
    backend: str | None = None
    """The `[backends.*]` whose model is captured; None: the only one that agents of this run use."""
    sites: tuple[str, ...] = ("prompt_last",)
    """Sites where activations are read (`wolfscope sites`)."""
    layers: tuple[str | int | float, ...] | Literal["all"] = "all"
    """Layer numbers (0 = output of block 0), fractions of the depth (0.5), `embed`; `attn_out` and `mlp_out` for the
    blocks' parts. "all": `embed` and every block."""
    variants: tuple[str, ...] = ("original",)
    """`original`, or what `harness.capture.variants` names."""
    while_playing: bool = False
    """Record activations of a backend of kind "transformers" during play; `wolfscope capture` adds the rest."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """The numbers that are stored."""


class BeliefsSection(Section):
    """`[beliefs]`: what model players are asked after a game has ended, on forks of the contexts that they had."""

    enabled: bool = False
    """Whether they are asked."""
    before: tuple[str, ...] = ("ballot",)
    """Kinds of decisions before which the seat is asked; where it is not given, the game's own `belief_moments`."""
    second_order: bool = False
    """Ask also for second-order beliefs: what each other player believes about each third."""
    orders: int = Field(default=2, ge=1, le=24)
    """chat: orders of the options to average over."""
    agents: tuple[str, ...] | None = None
    """Agents that are asked; None: all models."""


class LimitSection(Section):
    """How much may be used; None: no limit."""

    tokens: int | None = Field(default=None, ge=0)
    """Prompt tokens, cached ones included, and generated tokens."""
    seconds: float | None = Field(default=None, ge=0)
    """seat: waiting for its answers; game: since it was started or resumed; run: all sessions together."""
    cost: float | None = Field(default=None, ge=0)
    """Cost by the backends' `prices`."""


class BudgetSection(Section):
    """`[budget]`: exceeding a game's or a seat's limit ends the game; exceeding the run's limit starts no more
    games."""

    seat: LimitSection | None = None
    """Each seat of each game."""
    game: LimitSection | None = None
    """Each game."""
    run: LimitSection | None = None
    """All games together."""


class ExperimentSection(Section):
    """`[experiment]`: settings that are varied and crossed."""

    factors: dict[str, tuple[Any, ...]] = {}
    """Dotted key of `game`, `agents` or `roster` -> its levels, e.g. "game.preset" = ["classic-7", "probe-6"]."""


class Config(Section):
    """A whole configuration file."""

    run: RunSection = RunSection()
    game: GameSection = GameSection()
    agents: dict[str, AgentSection]
    backends: dict[str, BackendSection] = {}
    roster: RosterSection
    activations: ActivationsSection = ActivationsSection()
    beliefs: BeliefsSection = BeliefsSection()
    budget: BudgetSection = BudgetSection()
    experiment: ExperimentSection = ExperimentSection()

    @model_validator(mode="after")
    def _names_known(self) -> Config:
        for name in self.roster.agents():
            if name not in self.agents:
                raise ValueError(
                    f"roster names the agent {name!r}, {_known(name, self.agents, '[agents.*]')}"
                )
        for name, agent in self.agents.items():
            if agent.backend is not None and agent.backend not in self.backends:
                known = _known(agent.backend, self.backends, "[backends.*]")
                raise ValueError(f"agents.{name}.backend is {agent.backend!r}, {known}")
            if agent.steering is not None and not KINDS[self.backends[agent.backend or ""].kind].steers:
                raise ValueError(
                    f"agents.{name}.steering needs a backend with {named_kinds(steers=True)}; {agent.backend!r} is "
                    f'"{self.backends[agent.backend or ""].kind}"'
                )
        if self.activations.while_playing:
            chosen = self.activations.backend
            kinds = {n: b.kind for n, b in self.backends.items() if chosen in (None, n)}
            if sum(KINDS[kind].watches for kind in kinds.values()) != 1:
                raise ValueError(
                    f"activations.while_playing needs one backend with {named_kinds(watches=True)}, named as "
                    f"activations.backend where there are several; found {kinds or chosen}"
                )
        limits = (self.budget.seat, self.budget.game, self.budget.run)
        if any(limit is not None and limit.cost is not None for limit in limits):
            for name in self.roster.agents():
                backend = self.agents[name].backend
                if backend is not None and self.backends[backend].prices is None:
                    raise ValueError(
                        f"budget limits the cost, but backends.{backend} has no prices: add "
                        f"[backends.{backend}.prices] with prompt and generated, each for a million tokens"
                    )
        for key, levels in self.experiment.factors.items():
            if key.split(".")[0] not in ("game", "agents", "roster"):
                raise ValueError(f"experiment.factors: {key!r} cannot be varied, only game, agents, roster")
            if not levels:
                raise ValueError(f"experiment.factors: {key!r} has no levels")
        return self

    def plain(self) -> dict[str, Any]:
        """The whole configuration as JSON types, defaults filled in."""
        return self.model_dump(mode="json")

    def hash(self) -> str:
        """Hash of the settings that decide which games are played; how they are executed does not count."""
        return hash_of(identity(self.plain()))


def _known(name: str, known: Iterable[str], where: str) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}"
    return f"which no {where} defines; {hint}"
