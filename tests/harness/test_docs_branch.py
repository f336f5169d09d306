"""The worked example of docs/replay-branch-view.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fixtures.view_runs import scripted_run

DOC = Path(__file__).parents[2] / "docs" / "replay-branch-view.md"


def test_worked_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 1
    run = scripted_run(tmp_path / "run", games=1)
    exec(compile(code[0], str(DOC), "exec"), {"RUN": run, "OUT": tmp_path})
    shown = capsys.readouterr().out
    assert "others' next ballots" in shown
    assert (tmp_path / "what-if" / "view" / "index.html").is_file()


def test_every_command_of_the_page_exists() -> None:
    from harness.cli.main import app

    text = DOC.read_text(encoding="utf-8")
    verbs = set(re.findall(r"^    wolfscope (\w+)", text, re.MULTILINE))
    assert verbs == {"replay", "view", "branch", "resample"}
    assert all(app[verb] for verb in verbs)
