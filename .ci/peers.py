"""Build the environments of other tools that the tests hold this project to. Called by `make peers`.

    readers   nnsight and TransformerLens, which must read the rows that are stored here
    inspect   Inspect and Scout, which must open what is exported here, and run a tournament as a task

Each is an environment of its own under `.cache/peers` (or $WOLFSCOPE_PEERS), outside git. It sees the project's
environment, and holds beside it only what the tools want otherwise; the project's own never changes. What is there
already is kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = Path(os.environ.get("WOLFSCOPE_PEERS") or ROOT / ".cache" / "peers")
STAMP = "wolfscope-peers.txt"
PEERS = {
    "readers": ("nnsight==0.8.1", "transformer-lens==4.3.0"),
    "inspect": ("inspect-ai==0.3.285", "inspect-scout==0.6.1"),
}
"""Environment -> what is installed into it."""


def main() -> None:
    """Build those that are named, or all."""
    asked = sys.argv[1:] or list(PEERS)
    unknown = [name for name in asked if name not in PEERS]
    if unknown:
        sys.exit(f"no peers are called {unknown[0]!r}; there are {', '.join(PEERS)}")
    for name in asked:
        build(name)


def build(name: str) -> None:
    """Make one environment unless it is there as it should be."""
    home, wanted = PLACE / name, PEERS[name]
    below = sysconfig.get_paths()["purelib"]
    stamp = "\n".join([sys.version, below, *wanted]) + "\n"
    if (home / STAMP).is_file() and (home / STAMP).read_text() == stamp:
        say(f"{name}: {home} is there")
        return
    say(f"{name}: {', '.join(wanted)} into {home}; some minutes")
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=True)
    found = next((home / "lib").glob("python*/site-packages"))
    (found / "wolfscope-below.pth").write_text(below + "\n")
    # conflicts with what lies below are meant: each environment shadows the versions that its tools want otherwise
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-warn-conflicts", *wanted]
    subprocess.run(pip, check=True)
    (home / STAMP).write_text(stamp)


def say(text: str) -> None:
    """One line for whoever waits."""
    sys.stdout.write(f"wolfscope: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
