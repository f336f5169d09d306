"""Makes players from their configuration, inside the process that plays them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature

from agents.backends.base import Backend
from agents.base import Agent
from agents.policies import make_policy
from games import load_game
from harness.config.sections import AgentSection, BackendSection, Config
from harness.errors import ConfigurationError
from harness.play.outside import is_outside, make_outside, refuse_outside
from harness.play.words import Known, check_words

PROMPTS = ("transcript", "chat")
"""The prompt styles that a model player can have."""


def make_agent(name: str, config: Config, backends: Mapping[str, Backend], *, outside: bool = False) -> Agent:
    """The player called `name`. Raises ConfigurationError where the configuration names something that does not
    exist, and for outside code unless `outside`.

    Scripted policies are the game's own. A policy `package.module:name` is a user-defined player (`play.outside`),
    whose code runs on creation.
    """
    section = config.agents[name]
    try:
        if section.kind == "scripted":
            policy = section.policy or ""
            if is_outside(section):
                refuse_outside([config], outside)
                return make_outside(name, policy, section.settings)
            return make_policy(load_game(config.game.name), name, policy, section.settings)
        if section.kind == "imported":
            raise ValueError('it played in another program (kind = "imported") and cannot play here')
        if section.kind == "human":
            from agents.human import HumanPlayer

            return HumanPlayer(name, **section.settings)
        backend = section.backend or ""
        asked, source = _steered(section, backends[backend]), config.backends[backend]
        return _model_player(name, section, asked, source, config.run.clock)
    except (ImportError, AttributeError, TypeError, ValueError, KeyError) as error:
        raise ConfigurationError(f"agents.{name}: {error}") from error


def _model_player(
    name: str, section: AgentSection, backend: Backend, source: BackendSection, clock: str | None
) -> Agent:
    from agents.models.folder import load_tokenizer
    from harness.config.models import model_folder

    _check_prompt(section)
    if "prefix" in section.settings:
        return _begun(name, section, backend, source, clock)
    words_only = source.kind == "openai" and not source.serve and source.settings.get("api") == "chat"
    tokenizer = None if words_only else load_tokenizer(model_folder(source))
    common = {
        **section.sampling.model_dump(exclude_none=True),
        "retries": section.retries,
    }
    if section.prompt == "chat":
        from agents.llm.chat import ChatPlayer

        _check_settings(section, ChatPlayer)
        return ChatPlayer(name, backend, tokenizer, clock=clock, **common, **section.settings)
    from agents.llm.transcript import TranscriptPlayer

    if tokenizer is None:
        raise ValueError('api = "chat" takes messages, which only prompt = "chat" makes')
    _check_settings(section, TranscriptPlayer)
    return TranscriptPlayer(name, backend, tokenizer, **common, **section.settings)


def _steered(section: AgentSection, backend: Backend) -> Backend:
    if section.steering is None:
        return backend
    from agents.backends.steered import Steered
    from harness.activations.steering import intervention_of

    return Steered(backend, [intervention_of(section.steering)], section.steering.seats)


def _begun(
    name: str, section: AgentSection, backend: Backend, source: BackendSection, clock: str | None
) -> Agent:
    """The player with one decision that begins with given words: settings.prefix = { text, decision }.

    In `chat` style they begin a thinking model's thinking, else its answer.
    """
    from agents.llm.encoder import Encoder
    from agents.llm.prefill import OneDecision, Prefilled
    from agents.models.folder import load_tokenizer
    from harness.config.models import model_folder

    settings = dict(section.settings)
    given = settings.pop("prefix")
    usual = section.model_copy(update={"settings": settings})
    other, begun = usual, backend
    if section.prompt == "chat":
        thinking = {**(settings.get("thinking") or {}), "given": given["text"], "given_whole": False}
        other = section.model_copy(update={"settings": settings | {"thinking": thinking}})
    else:
        ids = Encoder(load_tokenizer(model_folder(source))).encode(given["text"])[0]
        begun = Prefilled(backend, ids)
    return OneDecision(
        name,
        _model_player(name, usual, backend, source, clock),
        _model_player(name, other, begun, source, clock),
        given["decision"],
    )


def _check_prompt(section: AgentSection) -> None:
    if section.prompt not in PROMPTS:
        raise ValueError(f"no prompt style is called {section.prompt!r}; there are: {', '.join(PROMPTS)}")


def _check_settings(section: AgentSection, player: type) -> None:
    """Raises ValueError for a setting that players of the prompt style do not have."""
    known = [
        name
        for name, p in signature(player).parameters.items()
        if p.kind is p.KEYWORD_ONLY and name != "clock"
    ]
    for name in section.settings:
        if name not in known:
            raise ValueError(
                f"players with prompt = {section.prompt!r} have no setting {name!r}; theirs are: "
                f"{', '.join(sorted(known))}"
            )


def prompt_hashes(configs: Iterable[Config]) -> dict[str, str]:
    """Agent -> version and hash of its prompt templates, of all seated agents that have any."""
    from agents.llm.chat_prompt import prompts_hash

    return {
        name: prompts_hash(
            str((config.agents[name].settings.get("factors") or {}).get("version", "standard"))
        )
        for config in configs
        for name in config.roster.agents()
        if config.agents[name].kind == "llm" and config.agents[name].prompt == "chat"
    }


def check_agents(
    configs: Iterable[Config], said: Iterable[tuple[str, str]] = (), outside: bool = True
) -> None:
    """Find wrong names before anything is started: creates every scripted player once per cell, and checks every text
    that models will read against their tokenizers (`said`: see `harness.play.words.check_words`).

    outside: make players from outside the repository too, whose code then runs. Raises ConfigurationError,
    ModelFilesError.
    """
    known: Known = set()
    said = [*said]
    for config in configs:
        _check_agents(config, outside)
        check_words(config, said, known)


def _check_agents(config: Config, outside: bool) -> None:
    for name, section in config.agents.items():
        if not outside and is_outside(section):
            continue
        if section.kind in ("scripted", "imported"):
            make_agent(name, config, {}, outside=outside)
            continue
        try:
            _check_prompt(section)
        except ValueError as error:
            raise ConfigurationError(f"agents.{name}: {error}") from error
