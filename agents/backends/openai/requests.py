"""The fields of a request to an OpenAI-compatible server, and their names on servers with other fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.backends.base import Message, Prompt

Fields = Mapping[str, "str | bool"]
"""Field of a request -> what this server calls it; false: it is left out."""

PROBE = "Answer with the word yes."
"""The words of a probe request, which no server has a reason to refuse."""
MERGED = "user"
"""The system role's name where a server takes none: its text then begins the first user message."""


def check_fields(fields: Any) -> dict[str, str | bool]:
    """`settings.fields` of a configuration. Raises ValueError."""
    if not isinstance(fields, Mapping):
        raise ValueError(
            f'fields = {fields!r}: write a table, e.g. {{ max_tokens = "max_completion_tokens", seed = false }}'
        )
    for name, said in fields.items():
        if not (said is False or (isinstance(said, str) and said)):
            raise ValueError(
                f"fields.{name} = {said!r}: give the name that the server knows, or false to leave the field out"
            )
    if (fixed := {"model", "messages", "prompt"} & set(fields)) and any(fields[f] is False for f in fixed):
        raise ValueError(f"fields.{min(fixed)} = false: no request goes without it")
    return dict(fields)


def common_fields(served: str, prompt: Prompt) -> dict[str, Any]:
    """The fields of every request."""
    sampling = prompt.sampling
    body: dict[str, Any] = {
        "model": served,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    return body


def messages_of(messages: Sequence[Message], system_role: str = "system") -> list[dict[str, str]]:
    """The messages as JSON. system_role: what the server calls the role, `user` for one that has none."""
    told = [{"role": m.role, "content": m.content} for m in messages]
    if system_role == MERGED and len(told) > 1 and told[0]["role"] == "system" and told[1]["role"] == "user":
        first = {"role": "user", "content": f"{told[0]['content']}\n\n{told[1]['content']}"}
        return [first, *told[2:]]
    for message in told:
        if message["role"] == "system":
            message["role"] = system_role
    return told


def probe_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request with harmless words: if it is refused too, the words are not the reason."""
    probe = dict(body)
    if "messages" in probe:
        roles = [m["role"] for m in probe["messages"]]
        head = [{"role": roles[0], "content": "Be brief."}] if roles[0] != "user" else []
        probe["messages"] = [*head, {"role": "user", "content": PROBE}]
    elif isinstance(probe.get("prompt"), str):
        probe["prompt"] = PROBE
    else:
        probe["prompt"] = list(probe.get("prompt", ()))[:4]
    return probe


def named(body: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """The body with this server's field names."""
    told = {}
    for name, value in body.items():
        called = fields.get(name, name)
        if called is not False:
            told[str(called)] = value
    return told
