"""What must hold for the project as a whole: light imports, one-way imports, exact pins, nothing forbidden."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import shared_fixtures

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("games", "agents", "harness", "analysis")
HEAVY = {"altair", "polars", "ray", "sklearn", "statsmodels", "torch", "transformers", "vllm"}
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def run_python(*arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def loaded_by(*modules: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after importing `modules`."""
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\nprint(*sys.modules)"
    return {name.partition(".")[0] for name in run_python("-c", code).split()}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_module_is_longer_than_350_lines_and_no_room_holds_more_than_16() -> None:
    long = {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 350}
    assert long == {}, "is it one idea?"
    rooms = Counter(path.parent for path in SOURCES)
    assert {str(room.relative_to(ROOT)): n for room, n in rooms.items() if n > 16} == {}


def test_tests_mirror_the_packages() -> None:
    beside = {path.name for path in (ROOT / "tests").glob("*.py")}
    assert beside <= {"conftest.py", "test_project.py", "test_readme.py", "test_setup.py"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert folders == {*PACKAGES, "fixtures", "benchmarks"}


def test_every_test_that_a_page_names_exists() -> None:
    texts = {p.relative_to(ROOT).as_posix(): p.read_text() for p in (ROOT / "tests").rglob("test_*.py")}
    defined = {file: set(re.findall(r"(?:def|class) (\w+)", text)) for file, text in texts.items()}
    every = set().union(*defined.values())
    named = [
        (page.name, file, name)
        for page in [*(ROOT / "docs").glob("*.md"), ROOT / "SECURITY.md"]
        for file, name in re.findall(
            r"`(tests/[\w/]+\.py)?(?:::)?((?:test_|Test)\w*\*?)?`", page.read_text(encoding="utf-8")
        )
        if file or name
    ]
    assert len(named) > 50
    for page, file, name in named:
        there = defined.get(file, set()) if file else every
        assert not file or (ROOT / file).is_file(), (page, file)
        wanted = name.removesuffix("*")
        assert not wanted or any(
            one == name or (name != wanted and one.startswith(wanted)) for one in there
        ), (
            page,
            name,
        )


def there(dotted: str) -> bool:
    """Whether a dotted name is a module of ours, or stands in the text of one."""
    parts = dotted.split(".")
    for k in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:k])
        file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        if file.is_file():
            return k == len(parts) or re.search(rf"\b{parts[k]}\b", file.read_text()) is not None
    return False


NO_MODULES = {"games.parquet", "games.session", "agents.NAME.settings"}
"""A file, a column and a table of a configuration."""


def test_every_module_that_a_page_or_a_docstring_names_exists() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "agents" / "models").rglob("*.md")]
    names = "|".join(PACKAGES)
    missing = []
    for path in [*pages, *SOURCES]:
        text = path.read_text(encoding="utf-8")
        dotted = {name for name in re.findall(rf"`((?:{names})(?:\.\w+)+)`", text) if not there(name)}
        files = re.findall(rf"`((?:{names}|tests)/[\w/.]+\.\w+)`", text)
        missing += [(path.name, name) for name in sorted(dotted - NO_MODULES)]
        missing += [(path.name, name) for name in files if not (ROOT / name).exists()]
    assert missing == []


def test_command_line_imports_nothing_heavy() -> None:
    assert loaded_by("harness.cli.main") & HEAVY == set()


def test_packages_themselves_import_nothing_heavy() -> None:
    assert loaded_by(*PACKAGES) & HEAVY == set()


def test_rules_and_analysis_load_no_engine() -> None:
    modules = [
        module_name(path) for path in SOURCES if path.relative_to(ROOT).parts[0] in ("games", "analysis")
    ]
    assert loaded_by(*modules) & {"ray", "torch", "transformers", "vllm"} == set()


def test_help_takes_under_half_a_second() -> None:
    def seconds() -> float:
        # Processor time, so that a busy machine does not decide.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "demo" in run_python("-m", "harness", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

    assert any(seconds() < 0.5 for _ in range(5))


def test_console_script_is_the_module() -> None:
    script = Path(sys.executable).with_name("wolfscope")
    if not script.exists():
        pytest.skip("the project is not installed in this environment")
    finished = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=60, check=True)
    # The name of the program is the only difference.
    by_module = run_python("-m", "harness", "--help")
    assert finished.stdout.splitlines()[-5:] == by_module.splitlines()[-5:]


def test_packages_resolve_to_this_checkout() -> None:
    out = run_python(
        "-c", f"import importlib\nfor m in {PACKAGES!r}: print(importlib.import_module(m).__file__)"
    )
    assert [Path(line).parent.parent for line in out.split()] == [ROOT] * len(PACKAGES)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"\bpickle\b|\bcloudpickle\b|allow_pickle\s*=\s*True", "data is never unpickled"),
        (r"\btorch\.load\(", "weights are safetensors"),
        (r"trust_remote_code\s*=\s*True", "a model folder must not bring code"),
        (r"(?<![\w.])(eval|exec)\(", "text is never run"),
        (r"\bshell\s*=\s*True", "no shell"),
        (r"\bnp\.random\.(seed|rand\w*|choice|shuffle|permutation)\(", "no global random state"),
        (r"(?<![\w.])random\.(seed|random|choice|shuffle|sample|randint)\(", "no global random state"),
        (r"^torch\.manual_seed\(|^ {0,4}torch\.manual_seed\(", "seed inside `with torch.random.fork_rng():`"),
    ],
)
def test_sources_do_not_contain(pattern: str, why: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line.partition("#")[0])
    ]
    assert found == [], why


def pins_of(accelerator: str) -> dict[str, str]:
    """Those of an environment with what tests need; no package is pinned in two files."""
    pins: dict[str, str] = {}
    for name in (accelerator, "tests"):
        lines = (ROOT / f"constraints/{name}.txt").read_text().splitlines()
        found = {canonical(name): version for name, version in (x.split("==") for x in lines if x[0] != "#")}
        assert not pins.keys() & found.keys()
        pins |= found
    return pins


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_every_requirement_is_pinned_exactly(accelerator: str) -> None:
    pins = pins_of(accelerator)
    assert pins["torch"] == "2.13.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    ours = (*extras["play"], *extras["models"], *extras[accelerator], *extras["compile"], *extras["test"])
    for requirement in [*project["dependencies"], *ours]:
        if requirement.startswith("wolfscope["):
            continue
        name = canonical(re.split(r"[<>=!\[ ]", requirement)[0])
        assert name in pins, f"{requirement} has no pin in constraints/{accelerator}.txt"


def test_what_is_installed_needs_nothing_that_is_neither_pinned_nor_left_out_by_name() -> None:
    from importlib.metadata import distribution, packages_distributions

    from packaging.requirements import Requirement

    accelerator = "cuda" if "vllm" in packages_distributions()["vllm"] else "cpu"
    pins = pins_of(accelerator)
    lines = (ROOT / f"constraints/{accelerator}.txt").read_text().splitlines()
    head = " ".join(line for line in lines if line[0] == "#")
    waiting, seen, missing = [f"wolfscope[{accelerator},test]"], set[str](), dict[str, str]()
    while waiting:
        asked = Requirement(waiting.pop())
        if str(asked) in seen:
            continue
        seen.add(str(asked))
        for line in distribution(asked.name).requires or ():
            needed = Requirement(line)
            name = canonical(needed.name)
            if needed.marker and not any(
                needed.marker.evaluate({"extra": extra}) for extra in (*asked.extras, "")
            ):
                continue
            if name in pins or name == "wolfscope":
                waiting.append(f"{name}[{','.join(sorted(needed.extras))}]" if needed.extras else name)
            elif not re.search(rf"\b{name}\b", head):
                missing[name] = asked.name
    assert missing == {}


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    out = subprocess.run(
        ["make"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    documented = set(re.findall(r"^  make ([a-z-]+) ", out, re.MULTILINE))
    assert set(phony[1].split()) <= documented
    assert {f"bench-{name}" for name in ("games", "capture", "probes", "tournament")} <= documented


def test_package_data_ships_with_the_packages() -> None:
    """Every file beside the code that is not Python matches a pattern of package-data."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    ).stdout.splitlines()
    left_out = [
        name
        for name in tracked
        if not name.endswith(".py") and not any(Path(name).match(pattern) for pattern in patterns)
    ]
    assert left_out == []


@pytest.mark.xdist_group("engine")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="only one worker")
def test_engine_tests_share_one_worker(request: pytest.FixtureRequest) -> None:
    """pytest-xdist groups by a suffix of the node id; where the two disagree it says nothing and groups nothing."""
    assert request.node.nodeid.endswith("@engine")


def test_what_a_fixture_makes_once_for_a_module_is_made_on_one_worker(request: pytest.FixtureRequest) -> None:
    makers: dict[tuple[str, str], set[str]] = {}
    for item in request.session.items:
        for name in shared_fixtures(item):
            groups = {str(mark.args[0]) for mark in item.iter_markers("xdist_group")}
            makers.setdefault((item.nodeid.partition("::")[0], name), set()).update(groups or {item.nodeid})
    assert {key: groups for key, groups in makers.items() if len(groups) > 1} == {}
