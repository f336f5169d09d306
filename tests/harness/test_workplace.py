"""What a command leaves besides its run: nothing; and whom its processes listen to: nobody else."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from harness.play.pools.workplace import PREFIX, workplace

ROOT = Path(__file__).resolve().parents[2]


def test_the_temporary_folder_is_ones_own_and_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with workplace() as folder, workplace() as inner:
        assert inner == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert Path(tempfile.gettempdir()) == folder == Path(os.environ["TMPDIR"])
        (folder / "left").mkdir()
    assert not folder.exists()
    assert Path(tempfile.gettempdir()) != folder
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    old = folder.parent / f"{PREFIX}{int(gone.stdout)}-abcd"
    old.mkdir()
    own = folder.parent / f"{PREFIX}{os.getpid()}-kept"
    own.mkdir()
    with workplace():
        assert not old.exists()
        assert own.exists()
    own.rmdir()


def test_a_run_listens_on_loopback_alone_ends_on_sighup_and_leaves_nothing(tmp_path: Path) -> None:
    """With a home folder that cannot be written."""
    config, run, tmp = tmp_path / "c.toml", tmp_path / "run", Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    mix = "\n".join(f'[agents.{p}]\nkind = "scripted"\npolicy = "{p}"' for p in ("loud", "random"))
    config.write_text(
        f"[run]\ngames = 100000\nrunners = 1\n{mix}\n[roster]\nmix = {{ loud = 3, random = 4 }}\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp), "HOME": "/proc/nowhere", "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_AUTH_MODE", None)
    command = [sys.executable, "-m", "harness", "run", str(config), "--out", str(run)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # tests under nohup inherit that it is ignored
    )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while not (logs := list(run.glob("journal/*.jsonl"))) or not logs[0].stat().st_size:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.1)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        running = {Path(word).name for p in family for word in p.cmdline()[:4]}
        assert "raylet" in running
        assert not running & {"monitor.py", "log_monitor.py", "dashboard.py"}  # nobody asks them
        heard = {
            c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN
        }
        assert heard <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        tokens = list(tmp.rglob("token"))
        assert [stat.S_IMODE(token.stat().st_mode) for token in tokens] == [0o600]
        process.send_signal(signal.SIGHUP)
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 128 + signal.SIGHUP, said
        assert "same command" in said
        assert list(tmp.iterdir()) == []
    finally:
        process.kill()
        tmp.rmdir()
