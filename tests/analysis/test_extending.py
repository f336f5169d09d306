"""The module of docs/extending.md does what the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import analysis
from analysis.data.frames import Logs
from analysis.data.labels import label
from analysis.evaluation import registry
from analysis.evaluation.baselines import beside, confounds
from analysis.evaluation.evaluate import Settings
from analysis.evaluation.prepare import prepare
from analysis.evaluation.registry import NewBaseline, register
from analysis.planted.rungs import rung_target
from analysis.report import registry as sections
from analysis.stats.errors import AnalysisError
from analysis.stats.splits import game_folds
from harness import load_run
from harness.errors import ConfigurationError
from harness.extensions import load_extensions
from tests.fixtures.planted_runs import planted_run, scripted_game

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def extended(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    (tmp_path / "my_questions.py").write_text(code[1], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WOLFSCOPE_EXTENSIONS", "my_questions")
    sys.modules.pop("my_questions", None)
    load_extensions()
    yield
    for table in (registry.BASELINES, registry.TARGETS, registry.PROBES, sections.SECTIONS):
        table.clear()


def test_the_modules_confound_probe_target_and_section_take_part(extended, tmp_path):
    target = rung_target("used", 20, seed=0)
    folds = game_folds(target.games, 5)
    shown = beside(target, confounds(target, folds))
    assert next(b for b in shown.baselines if b.name == "vowels").kind == "confound"
    scores = registry.PROBES["last layer"].fit([target.activations[0].layer(1)], target.y, folds)
    assert np.isfinite(scores).all()
    log = scripted_game(3)
    block = sections.SECTIONS["silence"](SimpleNamespace(prepared=SimpleNamespace(labels=label([log]))))
    assert block.parts[0].table.rows
    run = load_run(planted_run(tmp_path / "run", 2, 0.0))
    assert [t.name for t in prepare(Logs([("", run)]), Settings()).targets][-1] == "accused_yet"


def test_a_name_is_registered_once(extended):
    with pytest.raises(AnalysisError, match="'vowels' is registered already"):
        register(NewBaseline("vowels", "others", lambda target: np.zeros((len(target.y), 1))))


def test_an_extension_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("WOLFSCOPE_EXTENSIONS", "no_such_module")
    with pytest.raises(ConfigurationError, match="names 'no_such_module'"):
        load_extensions()


def test_the_reports_frames_are_public(tmp_path):
    run = load_run(planted_run(tmp_path / "run", 2, 0.0))
    assert set(analysis.labels(run)) == {"statements", "speeches", "ballots"}
    rows = analysis.subject_rows(run)
    assert rows.frame.height == rows.reads.shape[0] > 0
    assert {"is_werewolf", "p_rules", "was_accused"} <= set(rows.frame.columns)
    own = analysis.subject_rows(run, about="self").frame
    assert (own["viewer"] == own["subject"]).all()
    assert isinstance(own, pl.DataFrame)
