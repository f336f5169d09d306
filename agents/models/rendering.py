"""Renders a chat template in a process of its own, with bounds of time and memory; run as a script, it is the process.

A template is a program that comes with a model's folder. It is rendered as transformers renders it, in jinja2's
immutable sandbox; a loop of ten billion steps or a string of two gigabytes ends the small process and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

SECONDS = 3
"""Processor time of one template, all its renderings together."""
MEMORY = 768 * 2**20
"""Bytes of address space of the process."""
LONGEST = 1_000_000
"""Characters of one rendering."""


class TemplateRefused(ValueError):
    """A template that exceeds its bounds; the message says which."""


def render(
    template: str, renderings: Sequence[Mapping[str, Any]], clock: str | None = None
) -> list[tuple[str | None, str | None]]:
    """Each rendering's (text, None), or (None, the template's own error).

    renderings: the variables of each (messages, add_generation_prompt, ...), JSON types. clock: what the template is
    told that the time is, ISO 8601; None: now. Raises TemplateRefused.
    """
    wanted = json.dumps({"template": template, "renderings": list(renderings), "clock": clock})
    return list(_rendered(wanted))


@lru_cache(maxsize=64)
def _rendered(wanted: str) -> tuple[tuple[str | None, str | None], ...]:
    why = f"the chat template needs more than {SECONDS} s or {MEMORY >> 20} MB to render three short turns"
    try:
        done = subprocess.run(
            [sys.executable, "-I", __file__],
            input=wanted.encode(),
            capture_output=True,
            timeout=20 * SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TemplateRefused(why) from None
    if done.returncode != 0:
        raise TemplateRefused(why)
    found = json.loads(done.stdout)
    if any(error == "MemoryError" for _, error in found):
        raise TemplateRefused(why)
    return tuple((text, error) for text, error in found)


def main() -> None:
    """Read what is wanted from standard input, write the renderings to standard output."""
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    wanted = json.loads(sys.stdin.buffer.read())
    out = [_one(wanted["template"], variables, wanted["clock"]) for variables in wanted["renderings"]]
    sys.stdout.write(json.dumps(out))


def _one(template: str, variables: dict[str, Any], clock: str | None) -> tuple[str | None, str | None]:
    try:
        text = _environment(clock).from_string(template).render(**variables)
    except MemoryError:
        return None, "MemoryError"
    except Exception as error:  # noqa: BLE001 - whatever a stranger's program raises is its own error
        return None, f"{type(error).__name__}: {error}"[:1000]
    if len(text) > LONGEST:
        return None, f"it renders {len(text):,} characters, more than {LONGEST:,}"
    return text, None


def _environment(clock: str | None) -> Any:
    """As `transformers.utils.chat_template_utils` makes it."""
    from datetime import datetime

    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks the assistant's text; the mark is ignored here."""

        tags = {"generation"}  # noqa: RUF012 - jinja2's own form

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(x: Any, ensure_ascii: bool = False, **form: Any) -> str:
        return json.dumps(x, ensure_ascii=ensure_ascii, **form)

    def strftime_now(form: str) -> str:
        return (datetime.now() if clock is None else datetime.fromisoformat(clock)).strftime(form)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now}
    return made


if __name__ == "__main__":
    main()
