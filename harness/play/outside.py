"""Players from outside the repository: `policy = "package.module:name"`, and when their code may run.

A user's own configuration may name any player. A run folder is untrusted: code that only reads it never imports
players that its manifest names, and code that continues it refuses to unless the user trusts the folder.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from agents.base import Agent
from harness.config.sections import AgentSection, Config
from harness.errors import ConfigurationError
from harness.extensions import EXTENSIONS, named_extensions


def is_outside(section: AgentSection) -> bool:
    """Whether the player is code from outside the repository."""
    return section.kind == "scripted" and ":" in (section.policy or "")


def refuse_outside(configs: Iterable[Config], trusted: bool) -> None:
    """Raises ConfigurationError where a folder names players from outside, and they are not `trusted`, nor are their
    modules named by the user's WOLFSCOPE_EXTENSIONS."""
    configs = list(configs)
    outside = [
        section.policy or ""
        for config in configs
        for section in config.agents.values()
        if is_outside(section)
    ]
    modules = {policy.partition(":")[0] for policy in outside}
    named = {
        f"agents.{name}.policy = {section.policy!r}": None
        for config in configs
        for name, section in config.agents.items()
        if is_outside(section)
    }
    if named and not trusted and not modules <= set(named_extensions()):
        raise ConfigurationError(
            f"the run folder names code to be run ({', '.join(named)}): where you trust it as a program of your own, "
            f"say --trust-policies, or put {', '.join(sorted(modules))} into the environment variable {EXTENSIONS}"
        )


def make_outside(name: str, policy: str, settings: Mapping[str, Any]) -> Agent:
    """The player that `package.module:name` creates from its name and the settings as keyword arguments.

    It is a class with a coroutine function `act`, or a function whose annotation says that it returns such a class.
    Raises ImportError, AttributeError, TypeError.
    """
    module, _, attribute = policy.partition(":")
    make = getattr(import_module(module), attribute)
    if not (_acts(make) or _acts(_returned(make))):
        raise TypeError(
            f"the policy {policy!r} is {type(make).__name__} {getattr(make, '__name__', '')!r}; a policy is a class "
            "with `async def act(self, observation) -> Reply`, or a function annotated to return one (`-> Agent`)"
        )
    made: Agent = make(name, **settings)
    if not _acts(type(made)):
        raise TypeError(f"the policy {policy!r} made {type(made).__name__}, which has no `async def act`")
    return made


def _acts(kind: Any) -> bool:
    return inspect.isclass(kind) and inspect.iscoroutinefunction(getattr(kind, "act", None))


def _returned(make: Any) -> Any:
    """The class in a Python function's return annotation; None for anything else."""
    if not inspect.isfunction(make):
        return None
    try:
        return typing.get_type_hints(make).get("return")
    except (NameError, TypeError, AttributeError):  # an annotation that names no known class
        return None
