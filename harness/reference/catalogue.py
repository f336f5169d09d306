"""Every table of a configuration with its keys, and every name that a key can have as its value."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agents.backends.hooked.settings import HookedSettings
from agents.backends.vllm.settings import EngineSettings
from agents.llm.chat_prompt import Factors
from agents.werewolf.styles import STYLES, Style
from games import DEFAULT, SHIPPED, load_game
from games.printable import lines_of
from harness.activations.format import SITES
from harness.config import sections
from harness.config.files import EXAMPLES
from harness.config.judge import JudgeSection
from harness.reference.fields import Key, keys_of
from harness.reference.players import BAYESIAN, HUMAN, MODEL, OPENAI, PREFIX


class Table(msgspec.Struct, frozen=True):
    """One table of the configuration."""

    name: str
    """The table's name as written: `run`, `agents.NAME.settings`."""
    about: str
    keys: list[Key]


class Named(msgspec.Struct, frozen=True):
    """Something that a configuration names."""

    name: str
    about: str


def tables() -> list[Table]:
    """All of them, in the order of the file."""
    from agents.llm.thinking import Thinking
    from agents.llm.written.private import Private

    found = [Table("run", "How much, and how it is carried out.", keys_of(sections.RunSection))]
    for game in sorted(SHIPPED):
        default = load_game(game).configure()
        config = type(default)
        own = Key("name", "text", f'"{DEFAULT}"', "", f"The game; one of {', '.join(sorted(SHIPPED))}.")
        keys = [
            msgspec.structs.replace(key, default=f'"{default.preset}"') if key.name == "preset" else key
            for key in keys_of(config)
        ]
        about = (
            f"Which game, and the rules of {game}. A preset sets many keys at once; keys beside it change it."
        )
        found.append(Table("game", about, [own, *keys]))
    settings = "agents.NAME.settings"
    found += [
        Table("agents.NAME", "One kind of player.", keys_of(sections.AgentSection)),
        Table("agents.NAME.sampling", "How a model's tokens are drawn.", keys_of(sections.SamplingSection)),
        Table(settings, "of a scripted character: where it differs from its own. Rates are probabilities, weights are "
              "in nats of a softmax.", keys_of(Style)),
        Table(settings, 'of policy = "bayesian".', BAYESIAN),
        Table(settings, 'of kind = "human".', HUMAN),
        Table(settings, 'of kind = "llm", both prompt styles.', MODEL),
        Table(f"{settings}.prefix", "One decision that begins with words put into the model's mouth.", PREFIX),
        Table(f"{settings}.factors", 'of prompt = "chat": what varies in the prompt between experiments.',
              keys_of(Factors)),
        Table(f"{settings}.thinking", 'of prompt = "chat": what is done with the thinking of a reasoning model.',
              keys_of(Thinking)),
        Table(f"{settings}.thinks", 'of prompt = "transcript": the private line that a model of the typed language '
              "writes before its decisions.", keys_of(Private)),
        Table("agents.NAME.steering", "A vector added to, or taken from, the residual stream of this player's model.",
              keys_of(sections.SteeringSection)),
        Table("backends.NAME", "Where a model runs.", keys_of(sections.BackendSection)),
        Table("backends.NAME.prices", "What a million tokens cost, in any one currency.",
              keys_of(sections.PriceSection)),
        Table("backends.NAME.settings", 'of kind = "vllm", and of serve = true.',
              keys_of(EngineSettings, ("device", "replicas", "tensor_parallel", "max_concurrent"))),
        Table("backends.NAME.settings", 'of kind = "transformers".', keys_of(HookedSettings)),
        Table("backends.NAME.settings", 'of kind = "openai"; further keys are fields of every request.', OPENAI),
        Table("roster", "Who sits where: exactly one of the three.", keys_of(sections.RosterSection)),
        Table("activations", "What `wolfscope capture` records of this run.", keys_of(sections.ActivationsSection)),
        Table("beliefs", "What model players are asked after a game, on forks of the contexts that they had.",
              keys_of(sections.BeliefsSection)),
        Table("budget", "Who is over it ends the game; a run that is over its own starts no more games.",
              keys_of(sections.BudgetSection)),
        Table("budget.seat, budget.game, budget.run", "How much may be used.", keys_of(sections.LimitSection)),
        Table("experiment", "Settings that are varied and crossed.", keys_of(sections.ExperimentSection)),
        Table("judge", "In the file of `wolfscope judge`, beside [backends.NAME]: who is asked, and how.",
              keys_of(JudgeSection)),
    ]  # fmt: skip
    return found


def presets() -> list[Named]:
    """The named rule sets of every game: seats, roles, and the rules that are not the default."""
    games = [load_game(name) for name in SHIPPED]
    return [
        Named(name, f"{game.name}, {_preset(game.configure(preset=name))}")
        for game in games
        for name in game.presets
    ]


def _preset(config: Any) -> str:
    roles = ", ".join(f"{n} {role}{'s' if n > 1 else ''}".replace("werewolfs", "werewolves")
                      for role, n in config.roles.items())  # fmt: skip
    plain, fields = config.model_dump(mode="json"), type(config).model_fields
    changed = [
        f"{key} = {_toml(value)}"
        for key, value in plain.items()
        if key not in ("preset", "roles", "lexicon") and value != _default(fields[key])
    ]
    return f"{config.n_players} seats ({roles}); " + (", ".join(changed) or "all else as the default")


def _default(field: Any) -> Any:
    return json.loads(json.dumps(field.default, default=str))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_toml(v) for v in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def policies() -> list[Named]:
    """The scripted players: characters with their distinguishing traits, and the others."""
    plain = msgspec.to_builtins(Style())
    found = []
    for name, style in STYLES.items():
        own = {k: v for k, v in msgspec.to_builtins(style).items() if v != plain[k]}
        found.append(Named(name, ", ".join(f"{k} = {v:g}" for k, v in own.items())))
    return [
        *found,
        Named("random", "uniform over the legal acts; it has no settings"),
        Named("bayesian", "acts on the exact posterior over roles of everything that it has seen"),
        Named(
            "package.module:name",
            "a player of your own: a class with `async def act(self, observation) -> Reply`",
        ),
    ]


def lexicons() -> list[Named]:
    """The words under which a game can be shown."""
    games = [load_game(name) for name in SHIPPED]
    words = []
    for name in dict.fromkeys(name for game in games for name in game.lexicons):
        shown = [
            f"{game.name}: {', '.join(game.text.words_in(game.configure(lexicon=name))[:4])}, ..."
            for game in games
            if name in game.lexicons
        ]
        words.append(Named(name, "; ".join(shown)))
    return [*words, Named("random-SEED", "pronounceable invented words drawn from a seed, e.g. random-7")]


def sites() -> list[Named]:
    """The named sites of activations, as `harness.activations.sites` explains them."""
    from harness.activations import sites as module

    told: dict[str, str] = {}
    name = ""
    for line in lines_of(module.__doc__ or "")[2:]:
        if line and not line.startswith(" "):
            name, _, text = line.partition("  ")
            for one in name.split(", "):
                told[one.strip()] = text.strip()
        elif line.strip():
            for one in name.split(", "):
                told[one.strip()] += f" {line.strip()}"
    return [Named(site, told.get(site) or told["tokens:SPAN"]) for site in SITES] + [
        Named("mention:SEAT", "the same of one seat alone, e.g. mention:3")
    ]


def configs() -> list[Named]:
    """The configurations that ship, with the first comment of each."""
    return [Named(path.stem, _first_comment(path)) for path in sorted(EXAMPLES.glob("*.toml"))]


def _first_comment(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    lines = itertools.takewhile(lambda line: line.startswith("#"), lines_of(text))
    words = " ".join(line.removeprefix("#").strip() for line in lines)
    return words.partition(". ")[0].removesuffix(".") + "."


def lists() -> Iterator[tuple[str, str, list[Named]]]:
    """(verb, what it lists, the names), of all names."""
    yield "presets", "Rule sets, for game.preset", presets()
    yield "policies", "Scripted players, for agents.NAME.policy", policies()
    yield "lexicons", "Words under which a game is shown, for game.lexicon", lexicons()
    yield "sites", "Where activations are read, for activations.sites", sites()
    yield "configs", "Configurations that ship; their names can be given in place of a file", configs()
