"""The set-up script, with a stand-in for Python and pip, so that nothing is downloaded."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = "awk bash cat chmod cksum cp dirname env flock grep mkdir rm sed sleep tail tee touch uname".split()

# Answers as a Python of version $VERSION would; pip calls are written to $CALLS.
FAKE_PYTHON = r"""#!/usr/bin/env bash
case "$*" in
    *"import sys; print("*) echo "${VERSION:-3.11.9}" ;;
    *"import ensurepip, venv"*) [ -z "${NO_ENSUREPIP:-}" ] ;;
    "--version") echo "Python ${VERSION:-3.11.9}" ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo "command = fake -m venv $3" >"$3/pyvenv.cfg" ;;
    *" pip --version"*) ;;
    *compile_games.py) [ -z "${NO_COMPILER:-}" ] && touch "$(dirname "$0")/compiled" ;;
    *" --dry-run "*) [ -z "${NO_CPU_TORCH:-}" ] ;;
    *" pip "*)
        echo "$*" >>"$CALLS"
        case "$*" in *tests.txt*) sleep "${SLOW_TESTS:-0}"; [ -z "${NO_TOOLS:-}" ] || exit 1 ;; esac
        case "$*" in *--editable*) ;; *) exit 0 ;; esac
        sleep "${SLOW_INSTALL:-0}"
        [ -z "${BROKEN_INDEX:-}" ] || { echo "ERROR: No matching distribution"; exit 1; }
        touch "$(dirname "$0")/wolfscope"; chmod +x "$(dirname "$0")/wolfscope" ;;
esac
"""

FAKE_DF = """#!/usr/bin/env bash
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
echo "disk 1 1 $(( ${FREE_GB:-100} * 1048576 )) 1% /"
"""


class Checkout:
    """A folder with what the set-up reads, and a PATH on which the stand-in is the only Python."""

    def __init__(self, path: Path) -> None:
        self.path = path / "checkout"
        self.bin = path / "bin"
        self.calls_path = path / "calls"
        (self.path / ".ci").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(ROOT / ".ci/setup.sh", self.path / ".ci/setup.sh")
        shutil.copy(ROOT / "pyproject.toml", self.path)
        shutil.copytree(ROOT / "constraints", self.path / "constraints")
        for tool in TOOLS:
            found = shutil.which(tool)
            if found:
                (self.bin / tool).symlink_to(found)
        self.add("python3.11", FAKE_PYTHON)
        self.add("df", FAKE_DF)

    def add(self, name: str, script: str) -> None:
        (self.bin / name).unlink(missing_ok=True)  # it may be a link to a tool of this machine
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.bin / "bash"), ".ci/setup.sh", *words],
            cwd=self.path,
            env={"PATH": str(self.bin), "CALLS": str(self.calls_path), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def setup(self, *words: str, **environment: str) -> tuple[int, str]:
        process = self.start(*words, **environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def calls(self) -> list[str]:
        return self.calls_path.read_text().splitlines() if self.calls_path.exists() else []

    def installs(self) -> list[str]:
        return [call for call in self.calls() if "--editable" in call]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_second_setup_does_nothing_in_under_a_second(checkout: Checkout) -> None:
    status, output = checkout.setup()
    assert status == 0, output
    assert len(checkout.installs()) == 1
    n_calls = len(checkout.calls())

    def seconds() -> float:
        started = time.monotonic()
        assert checkout.setup() == (0, "")
        return time.monotonic() - started

    assert any(seconds() < 1.0 for _ in range(3))  # the best of three, so that a busy machine does not decide
    assert len(checkout.calls()) == n_calls


def test_changed_pins_are_installed_into_the_same_environment(checkout: Checkout) -> None:
    checkout.setup()
    kept = checkout.path / ".venv/kept"
    kept.touch()
    with (checkout.path / "constraints/cpu.txt").open("a") as pins:
        pins.write("another==1.0\n")
    checkout.setup()
    assert len(checkout.installs()) == 2
    assert kept.exists()


def test_cpu_environment_takes_the_pinned_packages_for_cpus_and_nothing_else(checkout: Checkout) -> None:
    checkout.setup()
    calls = checkout.calls()
    assert [call for call in calls if "--no-deps --requirement constraints/cpu.txt" in call]
    for call in calls[1:]:  # after the installer's own
        assert "--no-deps" in call


def test_what_tests_need_comes_when_it_is_asked_for_and_once(checkout: Checkout) -> None:
    def of_tests() -> list[str]:
        return [call for call in checkout.calls() if "constraints/tests.txt" in call]

    checkout.setup()
    assert not of_tests()
    status, output = checkout.setup("tests")
    assert status == 0, output
    assert len(of_tests()) == len(checkout.installs()) == 1 and "--no-deps" in of_tests()[0]
    assert checkout.setup("tests") == checkout.setup() == (0, "")
    with (checkout.path / "constraints/tests.txt").open("a") as pins:
        pins.write("another==1.0\n")
    assert checkout.setup() == (0, "") and checkout.setup("tests")[0] == 0
    assert (len(of_tests()), len(checkout.installs())) == (2, 1)


def test_a_new_environment_takes_what_tests_need_with_the_rest(checkout: Checkout) -> None:
    status, output = checkout.setup("tests")
    assert status == 0, output
    [call] = [call for call in checkout.calls() if "constraints/tests.txt" in call]
    assert "constraints/cpu.txt" in call
    assert checkout.setup("tests") == (0, "")


def test_another_word_than_tests_is_refused(checkout: Checkout) -> None:
    status, output = checkout.setup("test")
    assert status == 1 and "'tests' or none, not 'test'" in output
    assert not checkout.calls()


def test_without_what_tests_need_the_rest_stays_ready(checkout: Checkout) -> None:
    checkout.setup()
    status, output = checkout.setup("tests", NO_TOOLS="1")
    assert status == 1 and "constraints/tests.txt" in output
    assert checkout.setup() == (0, "")
    assert checkout.setup("tests")[0] == 0


def test_an_environment_whose_tools_were_cut_off_is_made_anew(checkout: Checkout) -> None:
    checkout.setup()
    process = checkout.start("tests", SLOW_TESTS="30")
    while not any("constraints/tests.txt" in call for call in checkout.calls()):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    status, output = checkout.setup()
    assert status == 0 and "making it anew" in output


def test_listed_gpu_takes_the_cuda_build(checkout: Checkout) -> None:
    checkout.add("nvidia-smi", "#!/usr/bin/env bash\necho 'GPU 0: NVIDIA'\n")
    checkout.setup(NO_CPU_TORCH="1")
    assert [call for call in checkout.calls() if "--no-deps --requirement constraints/cuda.txt" in call]
    assert not [call for call in checkout.calls() if "extra-index" in call]


def test_driverless_nvidia_smi_takes_the_cpu_build(checkout: Checkout) -> None:
    checkout.add("nvidia-smi", "#!/usr/bin/env bash\necho 'NVIDIA-SMI has failed'; exit 9\n")
    checkout.setup()
    assert [call for call in checkout.calls() if "--requirement constraints/cpu.txt" in call]


@pytest.mark.parametrize("lacks", ["", "1"])
def test_rules_are_compiled_where_that_works_and_stay_plain_elsewhere(checkout: Checkout, lacks: str) -> None:
    status, output = checkout.setup(NO_COMPILER=lacks)
    assert status == 0
    assert (checkout.path / ".venv/bin/compiled").exists() == (not lacks)
    assert ("stay plain Python" in output) == bool(lacks)


def test_too_little_free_disk_is_refused_with_both_values(checkout: Checkout) -> None:
    status, output = checkout.setup(FREE_GB="3")
    assert status == 1
    assert "has 3 GB of free space; the environment needs about 7 GB" in output
    assert not checkout.calls()


def test_unknown_accelerator_is_refused_with_both_values(checkout: Checkout) -> None:
    status, output = checkout.setup(WOLFSCOPE_ACCELERATOR="tpu")
    assert status == 1
    assert "'tpu'" in output
    assert "'cpu' or 'cuda'" in output


def test_pytorch_cpu_index_is_added_only_where_pip_cannot_find_the_build(checkout: Checkout) -> None:
    checkout.setup()
    assert not [call for call in checkout.calls() if "extra-index" in call]
    shutil.rmtree(checkout.path / ".venv")
    _, output = checkout.setup(NO_CPU_TORCH="1")
    assert [
        call for call in checkout.calls() if "--extra-index-url https://download.pytorch.org/whl/cpu" in call
    ]
    assert "adding PyTorch's CPU index" in output


def test_wrong_python_is_refused_with_what_was_found(checkout: Checkout) -> None:
    (checkout.bin / "python3.11").unlink()
    checkout.add("python3", FAKE_PYTHON)
    status, output = checkout.setup(VERSION="3.13.1")
    assert status == 1
    assert "Python 3.11 is needed; found: python3 = 3.13.1" in output
    assert "make setup PYTHON=" in output
    assert not (checkout.path / ".venv").exists()


def test_python3_of_the_right_version_is_taken(checkout: Checkout) -> None:
    (checkout.bin / "python3.11").rename(checkout.bin / "python3")
    assert checkout.setup()[0] == 0


def test_python_without_ensurepip_is_refused_with_the_remedy(checkout: Checkout) -> None:
    status, output = checkout.setup(NO_ENSUREPIP="1")
    assert status == 1
    assert "apt install python3.11-venv" in output


def test_failed_install_says_where_the_log_is_and_the_next_call_goes_on(checkout: Checkout) -> None:
    status, output = checkout.setup(BROKEN_INDEX="1")
    assert status == 1
    assert "ERROR: No matching distribution" in output
    assert ".venv/setup.log" in output
    kept = checkout.path / ".venv/kept"
    kept.touch()
    assert checkout.setup()[0] == 0
    assert kept.exists()


def test_killed_setup_is_made_anew(checkout: Checkout) -> None:
    process = checkout.start(SLOW_INSTALL="20")
    deadline = time.monotonic() + 20
    while not checkout.installs() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    half_made = checkout.path / ".venv/half-made"
    half_made.touch()
    status, output = checkout.setup()
    assert status == 0, output
    assert "making it anew" in output
    assert not half_made.exists()


def test_moved_environment_is_made_anew(checkout: Checkout) -> None:
    checkout.setup()
    checkout.path = checkout.path.rename(checkout.path.with_name("elsewhere"))
    status, output = checkout.setup()
    assert status == 0
    assert "making it anew" in output


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock here")
def test_two_setups_at_once_install_once(checkout: Checkout) -> None:
    processes = [checkout.start(SLOW_INSTALL="1") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len(checkout.installs()) == 1
    assert sum("waiting for it" in output for output in outputs) == 1


@pytest.mark.parametrize(("status", "outcome"), [(0, "12 passed"), (2, "1 failed, 11 passed")])
def test_ci_ends_with_the_closing_line_and_status_of_pytest(
    tmp_path: Path, status: int, outcome: str
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    make = tmp_path / "bin/make"
    make.parent.mkdir()
    make.write_text(
        f'#!/usr/bin/env bash\necho "$@ $CI"; echo "==== {outcome}, 2 warnings in 3.21s (0:00:03) ====";'
        f"cat; echo 'make: *** [Makefile:20: test] Error 1' >&2; exit {status}\n"
    )
    make.chmod(0o755)
    finished = subprocess.run(
        [str(tmp_path / ".ci/run")],
        env={"PATH": f"{make.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = finished.stdout.splitlines()
    assert finished.returncode == status
    assert lines[0].endswith("test true")
    assert lines[-1] == f"==== {outcome}, 2 warnings in 3.21s (0:00:03) ===="


DOCKERFILE = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()))
STAGES = re.findall(r"(?m)^FROM (\S+) AS (\S+)", DOCKERFILE)


def instructions(name: str) -> list[str]:
    return re.findall(rf"(?m)^{name} (.+)$", DOCKERFILE)


def test_images_are_made_of_what_is_there() -> None:
    """No container engine is needed for it: what `docker build` would look up is looked up."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bases = [base for base, stage in STAGES if base not in {s for _, s in STAGES}]
    assert bases == ["python:3.11-slim"], "the one Python that .ci/setup.sh takes"
    assert project["requires-python"].startswith(">=3.11")
    built = {"light", *re.findall(r"--target (\S+)", (ROOT / "Dockerfile").read_text())}
    assert built <= {stage for _, stage in STAGES}
    assert STAGES[-1][1] == "light", "what is built where no stage is named"
    for sources in (line.split()[:-1] for line in instructions("COPY")):
        assert all((ROOT / source).exists() for source in sources)
    runs = " ".join(instructions("RUN"))
    for path in re.findall(r"(?:\.ci|constraints)/[\w.]+", runs):
        assert (ROOT / path).is_file()
        assert path.endswith(".txt") or os.access(ROOT / path, os.X_OK)
    assert set(re.findall(r"WOLFSCOPE_ACCELERATOR=(\w+)", runs)) <= {"cpu", "cuda"}
    assert set(re.findall(r"\.\[([a-z,]+)\]", runs)) <= set(project["optional-dependencies"])
    assert set(instructions("ENTRYPOINT")) == {f'["{name}"]' for name in project["scripts"]}


def test_an_image_gets_every_file_that_an_install_reads_and_no_environment() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]

    def is_sent(path: str) -> bool:
        parts = PurePosixPath(path).parts
        heads = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        patterns = [p for pattern in ignored for p in {pattern, pattern.removeprefix("**/")}]
        return not any(fnmatch.fnmatchcase(head, pattern) for head in heads for pattern in patterns)

    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.skip("this copy is no git checkout")
    assert [path for path in tracked.stdout.splitlines() if not is_sent(path)] == []
    for path in (".git/config", ".venv/bin/python", ".cache/mypy/x", "runs/a/manifest.json", "games/__pycache__/x.pyc",
                 "wolfscope.egg-info/PKG-INFO", "build/lib/games/base.py", ".hypothesis/x"):  # fmt: skip
        assert not is_sent(path), path
