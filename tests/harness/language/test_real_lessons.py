"""Lessons with real tokenizers and templates; skipped where `make real-models` has built none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.check.model import check_model
from harness.run.folder import load_run
from harness.training.language.dataset import in_words
from harness.training.language.lessons import LeftOut, lessons_of
from harness.training.language.settings import DataSection, LessonBeliefsSection, PlayerSection
from tests.fixtures.local_runs import play_run, scripted

ROOT = Path(__file__).resolve().parents[3]
PLACE = Path(os.environ.get("WOLFSCOPE_REAL_MODELS") or ROOT / ".cache" / "real-models")
FACTORS = {"scratchpad": False, "version": "short", "digest": True, "examples": 2, "prefill": True}
PLAYERS = {
    "SmolLM2-135M-Instruct": PlayerSection(prompt="chat", settings={"factors": FACTORS}),
    "gemma-3-270m": PlayerSection(prompt="transcript"),
}


@pytest.mark.parametrize("name", PLAYERS)
def test_lessons_of_real_tokenizers_hold_own_words_and_what_ends_them(name: str, tmp_path: Path) -> None:
    folder = PLACE / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not there; make real-models builds it")
    from agents.models.folder import load_tokenizer

    tokenizer, left_out = load_tokenizer(folder), LeftOut()
    run = load_run(play_run(scripted(2, game={"preset": "probe-6"}), tmp_path / "run"))
    data = DataSection(runs=("run",), beliefs=LessonBeliefsSection(before=("ballot",), most=1))
    lessons = list(lessons_of(run, folder, PLAYERS[name], data, 0, left_out))
    assert lessons and left_out.unsaid == 0
    end = "\n" if PLAYERS[name].prompt == "transcript" else tokenizer.eos_token
    for lesson in lessons:
        assert all(tokenizer.decode(lesson.ids[p.start : p.end]).endswith(end) for p in lesson.pieces)
        if PLAYERS[name].prompt == "chat":
            turns = [{k: m[k] for k in ("role", "content")} for m in in_words(lesson, tokenizer)["messages"]]
            rendered = tokenizer.apply_chat_template(turns, tokenize=False)
            assert rendered.startswith(tokenizer.decode(lesson.ids))
    looked = list(check_model(folder, "werewolf", "probe-6", weights=False))
    assert [one.what for one in looked] == ["files", "size", "tokenizer", "names", "template"]
    assert all(one.ok for one in looked)
