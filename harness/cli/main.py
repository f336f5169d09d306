"""The command line, and the one place where rules, players, harness and analysis are put together.

Every verb imports what it needs when it runs, so that `--help` costs nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from harness.cli import (
    across,
    analyse,
    branch,
    capture,
    demo,
    experiment,
    features,
    models,
    play,
    runs,
    settings,
    show,
)
from harness.cli.app import app, last_line
from harness.cli.learning import finetune, outcome, planted, thinking, train, transfer
from harness.console import write
from harness.errors import WolfscopeError
from harness.machine import collect_seldom

GROUPS = (
    *(play, settings, show, capture, analyse, across, features, branch, experiment, runs),
    *(train, finetune, models, outcome, thinking, demo, planted, transfer),
)  # fmt: skip
"""The modules whose verbs the command line has; importing one registers them."""
EXTRAS = {
    "ray": "play", "httpx": "play", "torch": "models", "transformers": "models", "tokenizers": "models",
    "peft": "models", "vllm": "cpu] or wolfscope[cuda",
}  # fmt: skip
"""Package that a light install lacks -> the extra that brings it."""


@app.command
def version() -> int:
    """Print the versions of Wolfscope and of what it stands on."""
    from harness.run.manifest import this_session

    session = this_session()
    last_line(f"wolfscope {_version()} ({session.revision or 'no git revision'})")
    for name, number in session.versions.items():
        last_line(f"{name} {number}")
    return 0


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("wolfscope")
    except metadata.PackageNotFoundError:
        return "not installed"


app.version = _version
app.register_install_completion_command()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 success, 1 failure or fault found, 2 usage error, 129, 130 or 143 stopped."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]

    collect_seldom()
    by = signal.SIGINT

    def stop(number: int, frame: object) -> None:
        nonlocal by
        by = signal.Signals(number)
        if by is signal.SIGHUP:
            _without_terminal()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    warnings.showwarning = partial(_note, warnings.showwarning)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under `nohup`
        signal.signal(signal.SIGHUP, stop)
    try:
        from harness.checkout import check_packages

        check_packages()
        status = app(words, exit_on_error=False, print_error=False)
    except KeyboardInterrupt as stopped:
        where = f": {stopped}" if str(stopped) else "; what was written is whole"
        write(f"stopped{where}; the same command goes on from there", error=True)
        status = 128 + by
    except BrokenPipeError:
        # The reader of the output (`| head`) has gone; Python's buffered output must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except Exception as error:
        if debug:
            raise
        status = _explain(error)
    except BaseException as error:
        if debug or type(error).__name__ != "PanicException":  # polars' panic, which is not an Exception
            raise
        write(f"error: a table cannot be read ({error}): wolfscope check RUN names the file", error=True)
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _note(
    usual: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any, **more: Any
) -> None:
    """Prints a warning of this project as one line for the user, beside the verb's result."""
    if category.__name__ in ("MixedRun", "DamagedJournal"):
        write(f"note: {message}", error=True)
    else:
        usual(message, category, *where, **more)


def _without_terminal() -> None:
    """The terminal has gone: later output must not fail."""
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _explain(error: Exception) -> int:
    """One line about an error; the exit status."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRAS:
        extra = EXTRAS[(error.name or "").partition(".")[0]]
        write(
            f"error: this needs {error.name}, which a light install does not have: pip install 'wolfscope[{extra}]' "
            "(or `make setup` in a checkout)",
            error=True,
        )
        return 2
    if isinstance(error, WolfscopeError) or _is_users(error):
        write(f"error: {error}", error=True)
        return getattr(error, "status", 2)
    write(
        f"error: {type(error).__name__}: {error}\nThis is a fault of Wolfscope; the same command with --debug shows "
        "where. What was written before is whole.",
        error=True,
    )
    return 1


def _is_users(error: Exception) -> bool:
    """Whether the error's class is one that lower packages use for user errors."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        kinds
        & {
            "CycloptsError",
            "GameError",
            "BackendError",
            "EngineLost",
            "ModelFilesError",
            "SteeringError",
            "UnknownArchitecture",
            "ActivationsError",
            "AnalysisError",
        }
    )
