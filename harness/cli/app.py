"""What the verbs of the command line share: the app itself, the console, derived tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter

from harness.console import write
from harness.errors import WolfscopeError

if TYPE_CHECKING:
    from harness.play.preflight.place import Executor
    from harness.play.progress import Mode, Progress

RUNS = Path("runs")
SHOWN = 20
"""Most findings of a check that are printed."""

FAILING = 3
"""Exit status of a run whose models' backends failed too often."""

PLAY = Group("Play", sort_key=1)
CONFIGURE = Group("What can be configured", sort_key=2)
LOOK = Group("Look at games", sort_key=3)
ANALYSE = Group("Read activations and report", sort_key=4)
FOLDERS = Group("Run folders", sort_key=5)
MODELS = Group("The small model", sort_key=6)

app = App(
    name="wolfscope",
    help="A microscope for social deception: play tournaments of language models and scripted players, read what "
    "the models represent while they play, and report it against honest baselines.",
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

Flag = Annotated[bool, Parameter(negative="")]


def named(runs: tuple[Path, ...], verb: str) -> tuple[Path, ...]:
    if not runs:
        raise WolfscopeError(f"name at least one run folder: wolfscope {verb} RUN")
    return runs


def write_derived(runs: Sequence[Path], tables: dict[str, Any], names: Sequence[str]) -> Path:
    """Write tables derived from the tables `names` of some runs into the first run's folder `derived`; returns the
    folder."""
    from harness.run.derived import inputs_of, write_table

    inputs = inputs_of(runs, names)
    for name, table in tables.items():
        write_table(runs[0] / "derived" / f"{name}.parquet", table, inputs)
    return runs[0] / "derived"


def status_of(run: Path, say: Callable[[str], None]) -> int:
    """The exit status of a verb that played: 3, with a message, where a model's backend failed too often, else 0."""
    from harness.run.folder import load_run

    found = load_run(run).failing()
    for one in found:
        say(str(one))
    return FAILING if found else 0


def executor_of(local: bool, ray: bool) -> Executor:
    """Where work is done, by the flags --local and --ray. Raises WolfscopeError where both are given."""
    if local and ray:
        raise WolfscopeError("--local and --ray exclude each other; give one, or neither")
    return "local" if local else "ray" if ray else "auto"


def progress_of(quiet: bool, json: bool) -> Progress:
    from harness.play.progress import Progress

    return Progress(mode_of(quiet, json))


def mode_of(quiet: bool, json: bool) -> Mode | None:
    return "quiet" if quiet else "json" if json else None


def last_line(text: object) -> None:
    write(text)
