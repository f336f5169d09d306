"""Compile the hot modules of games/ with mypyc. Called by `make fast`; needs a C compiler and Python's headers."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from mypyc.build import mypycify
from setuptools import Distribution

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from games.compiled import MODULES, folder  # noqa: E402


def main() -> None:
    """Build into a scratch folder, which then gets its name at once: nobody sees a part of it."""
    os.chdir(ROOT)
    done = folder()
    if done.is_dir():
        return
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    header = Path(sysconfig.get_path("include"), "Python.h")
    for what, found in ((compiler, shutil.which(compiler)), (str(header), header.exists())):
        if not found:
            sys.exit(
                f"wolfscope: error: compiling needs a C compiler and Python's headers, but there is no {what} "
                "(Debian and Ubuntu: sudo apt install build-essential python3.11-dev). Nothing else needs it."
            )
    done.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=done.parent) as scratch:
        sources = [f"games/{name}.py" for name in MODULES]
        command = Distribution(
            {
                "ext_modules": mypycify(
                    ["--config-file", "pyproject.toml", *sources], debug_level="0", target_dir=f"{scratch}/c"
                )
            }
        ).get_command_obj("build_ext")
        command.build_temp, command.build_lib = f"{scratch}/o", f"{scratch}/lib"
        command.ensure_finalized()
        command.run()
        if folder() != done:
            sys.exit("wolfscope: error: games/ was edited while it was compiled; run the same command again")
        os.rename(f"{scratch}/lib", done)


if __name__ == "__main__":
    main()
