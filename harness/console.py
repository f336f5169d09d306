"""All output of the command line to a terminal or a pipe: one gate for untrusted text.

Names, errors, paths and words may come from a run folder, a server or a model. Control characters are shown as
`<U+XXXX>` (`games.printable`), and known secrets are masked (`agents.backends.secrets`) in all text.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from agents.backends.secrets import mask
from games.printable import printable

__all__ = ["console", "say", "shown", "write", "write_json"]


def write(text: object, error: bool = False) -> None:
    """One or more lines to standard output, or to standard error."""
    stream = sys.stderr if error else sys.stdout
    stream.write(f"{printable(mask(str(text)))}\n")
    stream.flush()


def write_json(value: Any) -> None:
    """A value as one line of JSON in ASCII."""
    sys.stdout.write(mask(json.dumps(value, ensure_ascii=True)) + "\n")
    sys.stdout.flush()


def console(error: bool = False) -> Console:
    """A console that prints text literally: no markup, no emoji codes, no highlighting."""
    return Console(stderr=error, highlight=False, markup=False, emoji=False)


def say(to: Console, text: str) -> None:
    """One message to a console."""
    to.print(shown(text), soft_wrap=True)


def shown(text: object, style: str = "") -> Text:
    """Text for a cell or a line of a console."""
    return Text(printable(mask(str(text))), style=style)
