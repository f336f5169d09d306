"""Lessons: the tokens that a model would have played, of which its own alone are learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.models.small import SMALL_MODEL
from games.records import Decision
from harness.config.files import validated
from harness.errors import ConfigurationError
from harness.run.folder import Run, load_run
from harness.training.language.dataset import in_words
from harness.training.language.lessons import LeftOut, Lesson, check_lessons, lessons_of
from harness.training.language.settings import (
    DataSection,
    FinetuneConfig,
    FinetuneError,
    LessonBeliefsSection,
    PlayerSection,
)
from tests.fixtures.local_runs import play_run, scripted
from tests.fixtures.player_fixtures import STYLES, chat_tokenizer

CHAT = PlayerSection(prompt="chat", settings={"factors": {"scratchpad": False}})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("lessons") / "run"
    return load_run(play_run(scripted(2, game={"preset": "kaggle-7"}), path))


def folder_of(path: Path, style: str) -> Path:
    """A folder with a family's tokenizer, and files that stand for weights."""
    from tests.fixtures.tiny_models import tiny_config

    tokenizer = chat_tokenizer(style)
    tokenizer.save_pretrained(path)
    tiny_config("llama", vocab_size=len(tokenizer), max_position_embeddings=8192).save_pretrained(path)
    (path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return path


def made(run: Run, folder: Path, player: PlayerSection = CHAT, **data: Any) -> tuple[list[Lesson], LeftOut]:
    left_out = LeftOut()
    section = DataSection(runs=("run",), **data)
    return list(lessons_of(run, folder, player, section, 0, left_out)), left_out


def decided(run: Run, lesson: Lesson) -> list[Decision]:
    return [r for r in run.records(lesson.game_id) if isinstance(r, Decision) and r.seat == lesson.seat]


@pytest.mark.parametrize("style", STYLES)
def test_a_chat_lesson_is_what_its_template_renders_and_own_words_alone_are_learned(
    run: Run, style: str, tmp_path: Path
) -> None:
    tokenizer = chat_tokenizer(style)
    lessons, left_out = made(run, folder_of(tmp_path, style), where="seat = 1")
    assert lessons and left_out.unsaid == 0
    for lesson in lessons:
        own = decided(run, lesson)
        words = [tokenizer.decode(lesson.ids[p.start : p.end]) for p in lesson.pieces]
        spoken = [d.action.text.strip() or "I have nothing to say." for d in own if d.kind == "speech"]
        learned = [w for w, p in zip(words, lesson.pieces, strict=True) if p.kind == "speech"]
        assert [w.partition("SAY: ")[2].removesuffix(STYLES[style][2]) for w in learned] == spoken
        assert all(w.endswith(STYLES[style][2]) for w in words), "the token that ends an answer is learned"
        assert {p.seq for p in lesson.pieces} == {d.seq for d in own}
        if style in ("chatml", "llama3"):  # whose templates take nothing away from contents
            messages = in_words(lesson, tokenizer)["messages"]
            plain = [{"role": m["role"], "content": m["content"].strip()} for m in messages]
            rendered = str(tokenizer.apply_chat_template(plain, tokenize=False))
            assert "".join(rendered.split()).startswith("".join(tokenizer.decode(lesson.ids).split()))
            assert [m["role"] for m in plain[:3]] == ["system", "user", "assistant"]
            assert all(m["learned"] == (m["role"] == "assistant") for m in messages)


def test_a_transcript_lesson_is_the_seats_document(run: Run) -> None:
    from agents.llm.transcript_context import document
    from agents.models.folder import load_tokenizer

    tokenizer = load_tokenizer(SMALL_MODEL)
    lessons, _ = made(run, SMALL_MODEL, PlayerSection(), where="seat < 5")
    assert len({lesson.seat for lesson in lessons}) > 2
    for lesson in lessons:
        game, config, _ = run.game(lesson.game_id)
        text = "\n".join(document(game.text, run.records(lesson.game_id), lesson.seat, config))
        expected = tokenizer(text + "\n", add_special_tokens=False)["input_ids"]
        assert list(lesson.ids[1:]) == expected[: len(lesson.ids) - 1]
        assert all(tokenizer.decode(lesson.ids[p.end - 1]) == "\n" for p in lesson.pieces)


def test_what_is_not_chosen_is_read_and_not_learned(run: Run) -> None:
    ballots, _ = made(run, SMALL_MODEL, PlayerSection(), where="kind = 'ballot' AND seat > 3")
    everything, _ = made(run, SMALL_MODEL, PlayerSection(), where="seat > 3")
    whole_of = {(lesson.game_id, lesson.seat): lesson for lesson in everything}
    assert ballots
    for some in ballots:
        whole = whole_of[some.game_id, some.seat]
        assert {p.kind for p in some.pieces} == {"choice"}
        assert some.ids == whole.ids[: len(some.ids)]
        assert set(some.pieces) < set(whole.pieces)


def test_questions_lie_on_forks_and_are_answered_with_the_truth(run: Run) -> None:
    from agents.models.folder import load_tokenizer

    tokenizer = load_tokenizer(SMALL_MODEL)
    lessons, _ = made(run, SMALL_MODEL, PlayerSection(), where="seat = 0 AND kind = 'ballot'",
                      beliefs=LessonBeliefsSection(before=("ballot",)))  # fmt: skip
    for lesson in lessons:
        assert lesson.forks
        game, config, _ = run.game(lesson.game_id)
        facts = game.seats(config, run.records(lesson.game_id))
        terms = {f.name: config_term(game, config, run, lesson, f.role) for f in facts}
        for fork in lesson.forks:
            asked = tokenizer.decode((*lesson.ids[: fork.at], *fork.ids)).rpartition("\n")[2]
            viewer, _, subject, role = asked.replace(".", "").split()
            assert viewer == facts[0].name and terms[subject] == role
            assert fork.n_learned == 1


def config_term(game: Any, config: Any, run: Run, lesson: Lesson, role: str) -> str:
    return game.text.words_of(config, run.records(lesson.game_id)).term(role)


def test_nothing_to_learn_and_questions_that_are_none_are_refused(run: Run) -> None:
    lessons, left_out = made(run, SMALL_MODEL, PlayerSection(), where="seat > 90")
    with pytest.raises(FinetuneError, match=r"nothing is learned"):
        check_lessons(lessons, left_out)
    with pytest.raises(ConfigurationError, match=r"data\.where = 'colour = 3'.*agent = 'bayesian' AND won"):
        made(run, SMALL_MODEL, PlayerSection(), where="colour = 3")
    plain = {"model": {"folder": "m"}, "player": {"prompt": "chat"}, "data": {"runs": ["r"]}}
    with pytest.raises(ConfigurationError, match=r"factors = \{ scratchpad = false"):
        validated(FinetuneConfig, plain, "f")


def test_a_learned_token_in_anothers_words_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from games.records import Span
    from harness.training.language import lessons as room

    monkeypatch.setattr(room._Game, "_spans", lambda *_: [Span("speech", 0, 10_000, 3)])
    with pytest.raises(FinetuneError, match=r"the words of others are never learned"):
        made(run, SMALL_MODEL, PlayerSection(), where="seat = 1")


def test_a_models_fallbacks_are_never_learned(tmp_path: Path) -> None:
    from agents.backends.mock import MockBackend
    from agents.models.folder import load_tokenizer
    from harness.config.files import parse_config

    config = parse_config(
        {
            "run": {"games": 1, "seed": 1},
            "game": {"preset": "probe-6", "speech_rounds": 1, "max_days": 1},
            "agents": {
                "m": {"kind": "llm", "backend": "b", "retries": 0},
                "loud": {"kind": "scripted", "policy": "loud"},
            },
            "backends": {"b": {"kind": "mock"}},
            "roster": {"seats": ["m", *["loud"] * 5]},
        }
    )
    backend = MockBackend(load_tokenizer(SMALL_MODEL), lambda *_: "Ada Ada Ada\n", model="mock@000000000000")
    found = load_run(play_run(config, tmp_path / "run", {"b": backend}))
    lessons, left_out = made(found, SMALL_MODEL, PlayerSection(), where="agent = 'm' AND kind = 'ballot'")
    assert left_out.fallbacks and not lessons
