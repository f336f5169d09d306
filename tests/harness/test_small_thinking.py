"""The small thinking model: its lines, their targets, its training, its player and its measures, on tiny models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from agents.lessons import decisions
from agents.llm.written.line import TENTHS, UNIT, WORDS, Line, Step, Unwritten, opening, read, written
from agents.models.small import SMALL_MODEL, find_model
from agents.werewolf.lessons.games import MIXTURE, game_with_options
from agents.werewolf.lessons.questions import living
from agents.werewolf.lessons.thinking.evidence import LEAST, follow, line_at
from agents.werewolf.lessons.thinking.views import Thinker, views
from agents.werewolf.observer import Observer
from games import chance, load_game
from games.play import Answer, observe, play
from games.records import Decision, Event, Record, Reply, visible

GAME = load_game("werewolf")
LINE = Line(
    (Step("Dot inspected Hal werewolf", "Hal", 9), Step("Ada votes Dot", "Ada", -2)), {"Ada": 1, "Hal": 7}
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two layers after a few steps of training."""
    from harness.training.thinking.train import train

    return train(tmp_path_factory.mktemp("tiny") / "model", start=None, hidden=32, layers=2, tokens=2_000,
                 batch_tokens=1024, preset="probe-6", workers=0, say=lambda _: None)  # fmt: skip


def thinker(preset: str = "probe-6") -> Thinker:
    """A view with a thought before a ballot."""
    for index in range(9):
        for found in views(index, 5, "classic", preset):
            if any(t.kind == "belief" and "votes" in t.line for t in found.thoughts):
                return found
    raise AssertionError("no such view")


# --- the line -------------------------------------------------------------------------------------------------


def test_a_line_is_read_as_it_was_written() -> None:
    for kind in ("belief", "steps"):
        line = LINE if kind == "steps" else msgspec.structs.replace(LINE, steps=())
        assert read(written(kind, line), ("Ada", "Hal")) == line
    assert opening("Gus", "steps", ("Ada", "Hal")) + written("steps", LINE) == (
        "Gus thinks steps (Ada Hal): Dot inspected Hal werewolf against Hal 9. Ada votes Dot for Ada 2. so Ada 1 Hal 7."
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Ada 1 Hal 7", "full stop"),
        ("Dot votes Hal Hal 9. so Ada 1 Hal 7.", "a step is"),
        ("so Ada 1 Hal.", "a belief is"),
        ("so Ada 1 Ada 2.", "a belief is"),
        ("so Ada 1 Hal 11.", "at most 10"),
        ("so Hal 7 Ada 1.", "in this order"),
    ],
)
def test_a_line_that_says_something_else_is_refused(text: str, why: str) -> None:
    with pytest.raises(Unwritten, match=why):
        read(text, ("Ada", "Hal"))


# --- targets --------------------------------------------------------------------------------------------------


def test_the_targets_are_the_exact_observers() -> None:
    config = GAME.configure(preset="classic-7")
    log, _ = game_with_options(config, chance.key(10, "targets") >> 1)
    facts = GAME.seats(config, log)
    names = [fact.name for fact in facts]
    asked = [
        (i, d.seat)
        for seat in range(7)
        for i, d in decisions(log, seat)
        if d.kind == "ballot" and d.day > 1 and facts[seat].role != "werewolf"
    ]
    followed = follow(log, config, {i for i, _ in asked}, names)

    def p_werewolf(point: int, viewer: int) -> np.ndarray:
        observer = Observer("exact", config, MIXTURE)
        for record in log[:point]:
            observer.update(record)
        return observer.p_werewolf(viewer)

    n_steps = 0
    for point, viewer in asked[:3]:
        others = [j for j in living(log[:point], 7) if j != viewer]
        line = line_at(followed, log, point, viewer, others, names)
        exact = p_werewolf(point, viewer)
        assert line.belief == {names[j]: round(TENTHS * exact[j]) for j in others}
        seen = [m for m in followed.moments if m.index < point and visible(log[m.index], viewer)]
        at = iter(enumerate(seen))
        for step in line.steps:  # in the order of the log, each the change up to the viewer's next event
            k, moment = next((k, m) for k, m in at if m.words == step.event)
            until = seen[k + 1].index if k + 1 < len(seen) else point
            odds = [np.clip(p_werewolf(i, viewer), 0.005, 0.995) for i in (moment.index, until)]
            change = np.diff([np.log(q / (1 - q)) for q in odds], axis=0)[0] / UNIT
            j = names.index(step.subject)
            assert step.amount == round(float(np.clip(change[j], -20, 20))) and abs(step.amount) >= LEAST
            assert abs(change[j]) == pytest.approx(max(abs(change[i]) for i in others))
            n_steps += 1
    assert n_steps > 3


def test_what_follows_a_thought_has_targets_that_do_not_depend_on_it() -> None:
    from agents.werewolf.lessons.thinking.vocabulary import make_tokenizer
    from harness.training.batches import BELIEF, CHOICE, NAMING, SPEECH, collate
    from harness.training.thinking.rows import AGAIN, ThinkingRow

    tokenizer = make_tokenizer()
    words = tokenizer.get_vocab()
    found = thinker()
    ballot = next(t for t in found.thoughts if t.kind == "belief" and "votes" in t.line)
    line = read(ballot.written)
    other = msgspec.structs.replace(
        ballot,
        written=written("belief", Line((), {name: 10 - tenths for name, tenths in line.belief.items()})),
    )
    batches = [collate([ThinkingRow(Thinker(found.view, [t]), words, tokenizer)]) for t in (ballot, other)]
    after = [(b.rest > 0) & (b.stem == b.stem.max()) for b in batches]
    for name in ("ids", "target", "kind", "weight", "position", "limit"):
        a, b = (getattr(batch, name)[rows].tolist() for batch, rows in zip(batches, after, strict=True))
        assert a == b, name
    assert (batches[0].answer == batches[1].answer).all()
    assert (batches[0].ids != batches[1].ids).any()
    # and they are those that the same decision has in the view, without a thought
    kinds = (CHOICE, SPEECH, NAMING)
    behind = [k for k in batches[0].kind[after[0]].tolist() if k in kinds]
    assert behind == [CHOICE] and batches[0].kind[after[0]].tolist().count(BELIEF) == len(ballot.asked)
    # the belief is stated again in another order, with the exact numbers whatever was written
    turned = read(ballot.again[1]).belief
    assert turned == line.belief
    numbers = [words[str(tenths)] for tenths in turned.values()]
    for batch in batches:
        assert batch.target[batch.kind == AGAIN].tolist() == numbers
    plain = collate([ThinkingRow(Thinker(found.view), words, tokenizer)])
    n_answers = len(plain.answer)
    answers = batches[0].answer
    assert (answers[:n_answers] == plain.answer).all()
    assert any((row == answers[n_answers]).all() for row in plain.answer)


# --- model and training ---------------------------------------------------------------------------------------


def test_the_words_of_the_small_model_keep_their_places_and_its_answers() -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from agents.models.folder import load_tokenizer
    from agents.werewolf.lessons.thinking.vocabulary import make_tokenizer
    from harness.training.thinking.model import grown

    small, ours = load_tokenizer(SMALL_MODEL).get_vocab(), make_tokenizer().get_vocab()
    assert {word: ours[word] for word in small} == small
    assert set(ours) - set(small) == set(WORDS) - set(small)
    ids = torch.tensor([[1, 20, 30, 40, 50]])
    model = grown(SMALL_MODEL, "classic", 0)
    model.set_attn_implementation("sdpa")
    with torch.inference_mode():
        before = AutoModelForCausalLM.from_pretrained(SMALL_MODEL)(ids).logits
        torch.testing.assert_close(model(ids).logits[..., : len(small)], before, atol=1e-4, rtol=1e-4)


def test_forks_attend_as_under_the_whole_mask() -> None:
    import torch

    from agents.werewolf.lessons.thinking.vocabulary import make_tokenizer
    from harness.training import attention
    from harness.training.batches import collate
    from harness.training.thinking import attention as forks
    from harness.training.thinking.model import grown
    from harness.training.thinking.rows import ThinkingRow

    tokenizer = make_tokenizer()
    rows = [ThinkingRow(t, tokenizer.get_vocab(), tokenizer) for t in views(1, 5, "classic", "probe-6")[:2]]
    batch = collate(rows)
    model = grown(SMALL_MODEL, "classic", 0, layers=2)
    with torch.no_grad():
        ours = forks.predict(model, batch)
        model.set_attn_implementation(attention.NAME)
        plain = attention.predict(model, batch, False)
    real = batch.stem >= 0
    assert not real.all()
    torch.testing.assert_close(ours[real], plain[real], atol=1e-3, rtol=1e-4)


def test_own_amounts_change_what_is_read_and_no_target() -> None:
    import torch

    from agents.werewolf.lessons.thinking.vocabulary import make_tokenizer
    from harness.training.batches import collate
    from harness.training.thinking.rows import AMOUNT, ThinkingRow, own_words

    tokenizer = make_tokenizer()
    words = tokenizer.get_vocab()
    batch = collate([ThinkingRow(thinker(), words, tokenizer)])
    logits = torch.zeros(*batch.ids.shape, len(words))
    changed = own_words(batch, logits, words, torch.Generator().manual_seed(0))
    before = torch.roll(batch.kind == AMOUNT, 1, 1)
    assert (changed.ids != batch.ids).any() and not ((changed.ids != batch.ids) & ~before).any()
    assert (changed.target == batch.target).all()
    inverse = {i: word for word, i in words.items()}
    for old, new in zip(batch.ids[before].tolist(), changed.ids[before].tolist(), strict=True):
        assert inverse[old].isdigit() == inverse[new].isdigit()


class Stopped(Exception):
    """Stands for whatever ends a training run early."""


def test_a_training_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from harness.training.thinking.train import train

    settings = {"start": None, "hidden": 32, "layers": 1, "tokens": 7_000, "batch_tokens": 512, "save_every": 4,
                "preset": "probe-6", "workers": 0}  # fmt: skip

    def stop(line: str) -> None:
        raise Stopped(line)

    train(tmp_path / "whole", say=lambda _: None, **settings)  # type: ignore[arg-type]
    with pytest.raises(Stopped):
        train(tmp_path / "halves", say=stop, **settings)  # type: ignore[arg-type]
    state = json.loads((tmp_path / "halves" / "training" / "state.json").read_text())
    assert 0 < state["tokens"] < 7_000 and state["batch"] > 0
    said: list[str] = []
    train(tmp_path / "halves", say=said.append, **settings)  # type: ignore[arg-type]
    assert said[0].startswith("resuming at")
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "halves"))
    assert all((a[name] == b[name]).all() for name in a)
    assert len(list((tmp_path / "whole" / "training" / "checkpoints").iterdir())) == 6


# --- the player -----------------------------------------------------------------------------------------------


def played(folder: Path, kind: str, n_decisions: int = 3) -> tuple[object, list[tuple[object, Decision]]]:
    """A player that thinks, and the first decisions of one seat with what it observed."""
    from agents.backends.hooked.backend import load_hooked_backend
    from agents.llm.transcript import TranscriptPlayer
    from agents.models.folder import load_tokenizer

    backend = load_hooked_backend(folder)
    player = TranscriptPlayer("thinker", backend, load_tokenizer(folder), choice="constrained", retries=0,
                              thinks={"kind": kind, "n_filler": 4, "budget": 12})  # fmt: skip
    config = GAME.configure(preset="probe-6")
    loop, log, found = play(GAME, config, 4), [], []
    step = next(loop)
    while step.requests and len(found) < n_decisions:
        log += step.new
        answers = []
        for request in step.requests:
            seen = observe(GAME, "g", config, 4, log, request)
            if request.seat == 0 and len(found) < n_decisions:
                reply = asyncio.run(player.act(seen))
                found.append((seen, reply))
                answers.append(Answer(reply, "thinker"))
            else:
                options = request.options
                from games.records import Action

                answers.append(Answer(Reply(Action(option=options[0] if options else None)), "other"))
        step = loop.send(answers)
    asyncio.run(backend.close())
    return player, found


@pytest.mark.parametrize("kind", ["none", "filler", "steps"])
def test_a_player_thinks_before_each_decision_and_reads_no_thought_again(tiny: Path, kind: str) -> None:
    player, found = played(tiny, kind)
    for seen, reply in found:
        trace = reply.trace
        text = player.encoder.decode(trace.prompt_ids)
        context = player.context(seen)
        assert trace.prompt_ids[: len(context.delta())] == context.delta()
        if kind == "none":
            assert trace.reasoning is None and "thinks steps (" not in text
            continue
        assert trace.continues is None and text.count(f"thinks {kind} (") == 1
        spans = [s for s in trace.spans if s.kind == "reasoning"]
        said = player.encoder.decode(trace.prompt_ids[spans[0].start : spans[-1].end])
        assert said.strip() == trace.reasoning and trace.prompt_ids[spans[-1].end - 1] in player.stop_ids
        assert kind != "filler" or trace.reasoning == "hm hm hm hm."
        assert trace.spans[-1].kind != "reasoning" and max(s.end for s in spans) < len(trace.prompt_ids)
    assert len(found) == 3


def test_a_model_without_the_words_is_not_asked_to_think() -> None:
    from agents.backends.mock import MockBackend
    from agents.llm.transcript import TranscriptPlayer
    from agents.models.folder import load_tokenizer

    with pytest.raises(ValueError, match="needs a model that knows the words steps, thinks"):
        TranscriptPlayer("small", MockBackend(), load_tokenizer(SMALL_MODEL), thinks={"kind": "steps"})
    with pytest.raises(ValueError, match=r"Invalid enum value|is not known"):
        TranscriptPlayer("small", MockBackend(), load_tokenizer(SMALL_MODEL), thinks={"kind": "aloud"})


def decided(backend: object) -> list[Decision]:
    """The thinking seats' decisions of one short game, greedy."""
    from agents.llm.transcript import TranscriptPlayer
    from agents.models.folder import load_tokenizer
    from agents.policies import make_policy

    tokenizer = load_tokenizer(find_model("small-thinking"))
    thinker = TranscriptPlayer("thinker", backend, tokenizer, temperature=0.0, choice="repair",
                               thinks={"kind": "steps"})  # fmt: skip
    loud = make_policy(GAME, "loud", "loud", {})
    config = GAME.configure(preset="probe-6")

    async def whole() -> list[Record]:
        loop, log, answers = play(GAME, config, 4), list[Record](), None
        try:
            while True:
                step = next(loop) if answers is None else loop.send(answers)
                log += step.new
                seats = [(thinker if r.seat < 4 else loud, r) for r in step.requests]
                seen = [(agent, observe(GAME, "g", config, 4, log, r)) for agent, r in seats]
                replies = await asyncio.gather(*(agent.act(one) for agent, one in seen))
                answers = [Answer(reply, agent.name) for reply, (agent, _) in zip(replies, seen, strict=True)]
        except StopIteration:
            return log

    return [r for r in asyncio.run(whole()) if isinstance(r, Decision) and r.agent == "thinker"]


@pytest.mark.engine
def test_vllm_plays_a_game_of_thoughts_token_for_token_as_transformers_does(engine_host: Any) -> None:
    from agents.backends.hooked.backend import load_hooked_backend

    model = find_model("small-thinking")
    both = []
    for backend in (load_hooked_backend(model), engine_host.start(model)):
        both.append(decided(backend))
        asyncio.run(backend.close())
    assert len(both[0]) == len(both[1]) > 6
    for ours, theirs in zip(*both, strict=True):
        a, b = ours.trace, theirs.trace
        assert a is not None and b is not None and a.reasoning and "thinks steps" not in a.reasoning
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-3)
        same = {"logprobs": (), "n_cached": 0}
        assert msgspec.structs.replace(a, **same) == msgspec.structs.replace(b, **same)
        assert msgspec.structs.replace(ours, trace=None) == msgspec.structs.replace(theirs, trace=None)


# --- measures -------------------------------------------------------------------------------------------------


def changed(steps: Sequence[Step], arm: str) -> list[Step]:
    from harness.model_evaluation.thinking.arms import changed_steps

    found = changed_steps(steps, arm, 1)
    assert found is not None
    return found


def test_changed_steps_differ_only_where_they_say() -> None:
    from harness.model_evaluation.thinking.arms import changed_steps

    steps = [Step("a", "Ada", 3), Step("b", "Ben", -9), Step("c", "Cal", 2)]
    shuffled, corrupted = changed(steps, "shuffled"), changed(steps, "corrupted")
    assert shuffled != steps and sorted(map(str, shuffled)) == sorted(map(str, steps))
    assert corrupted == [steps[0], Step("b", "Ben", 9), steps[2]]
    assert changed_steps(steps[:1], "shuffled", 1) is None and changed_steps([], "corrupted", 1) is None


def test_a_tiny_model_is_measured_and_its_options_are_those_of_a_plain_pass(
    tiny: Path, tmp_path: Path
) -> None:
    import torch

    from agents.backends.hooked.backend import HookedBackend
    from agents.hooks.model import load_hooked_model
    from agents.models.folder import load_tokenizer
    from harness.model_evaluation.thinking.arms import ARMS, Thinkers, thoughts
    from harness.model_evaluation.thinking.course import COURSE, rows_of, tables_of
    from harness.model_evaluation.thinking.edits import edits
    from harness.model_evaluation.thinking.evaluate import Measured, tables
    from harness.model_evaluation.thinking.inside import inside
    from harness.model_evaluation.thinking.moments import moments
    from harness.model_evaluation.thinking.scores import Scored, score_all

    hooked = load_hooked_model(tiny, dtype="float32", device="cpu")
    found = [m for m in moments("probe-6", 3) if m.day == 1]
    backend = HookedBackend(hooked)
    thinkers = Thinkers(backend, load_tokenizer(tiny), budget=8)
    of = thoughts(thinkers, found, ARMS)
    asyncio.run(backend.close())
    scored = Scored(hooked, thinkers)
    exact = of["exact steps"]
    for moment, thought in zip(found, exact, strict=True):
        assert thought.line is not None and set(thought.line.belief) == {
            moment.names[j] for j in moment.subjects
        }
        assert thought.line.steps == moment.line.steps
    for arm in ("filler", "belief", "steps", "exact steps"):
        for bare, thought in zip(of["none"], of[arm], strict=True):  # nothing before the opening is changed
            assert thought.context.ids[: len(bare.context.ids)] == bare.context.ids
    assert [t.n_tokens for t in of["filler"]] == [t.n_tokens for t in of["steps"]]

    moment, thought = found[0], exact[0]
    ((votes, stated),) = scored.score(moment, [thought])
    plain = thinkers.players["none"]
    prompt = list(scored.ballot(moment, thought))
    with torch.inference_mode():
        rest = [np.log(votes[o]) for o in votes]
        whole = []
        for ids in plain.choice_answers(moment.observation):
            logits = hooked.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].float().log_softmax(-1)
            whole.append(sum(float(logits[len(prompt) - 1 + k, token]) for k, token in enumerate(ids)))
        whole = np.array(whole) - np.logaddexp.reduce(whole)
        np.testing.assert_allclose(rest, whole, atol=1e-4)
    assert set(stated) == set(moment.subjects) and all(0 <= p <= 1 for p in stated.values())
    # thoughts that are scored together share their passes, and each is scored as if it were alone
    many = [t for thoughts in of.values() for t in thoughts if t.moment == moment.id]
    before = scored.scorer.n_tokens
    together, shared = scored.score(moment, many), scored.scorer.n_tokens - before
    before = scored.scorer.n_tokens
    for one, (several, held) in zip(many, together, strict=True):
        scored.scorer.forget()
        ((alone, said),) = scored.score(moment, [one])
        np.testing.assert_allclose(list(several.values()), list(alone.values()), atol=1e-4)
        np.testing.assert_allclose(list(held.values()), list(said.values()), atol=1e-4)
    assert shared < 0.4 * (scored.scorer.n_tokens - before)

    questions, ballots = score_all(scored, found, of)
    assert questions["bits"].min() >= 0 and ballots["regret"].min() >= -1e-9
    edited = edits(scored, found, of["exact belief"])
    assert set(edited["edit"]) >= {"subject", "another"} and edited["dose"].abs().min() > 0
    told = questions.with_columns(arm=questions["arm"].replace("exact belief", "belief"))
    layers, conflicts = inside(scored, found, of | {"belief": of["exact belief"]}, told, 2)
    made = tables(Measured(questions, ballots, edited, layers, conflicts))
    assert all(len(row) == len(table.head) for table in made for row in table.rows)
    assert [table.rows[0][0] for table in made[:4]] == ["none", "told", "told", "told"]
    course = pl.DataFrame(rows_of(1, Measured(questions, ballots, edited, layers, conflicts)), schema=COURSE)
    along = tables_of(course)
    assert all(len(row) == len(table.head) for table in along for row in table.rows)
    assert "" not in along[0].rows[0] and "" not in along[-1].rows[0]


def test_slopes_and_their_intervals_are_those_of_resampled_rows() -> None:
    from analysis.stats.bootstrap import game_weights, interval
    from harness.model_evaluation.thinking.cells import N_BOOT, slopes

    rng = np.random.default_rng(0)
    games, y, x = rng.integers(0, 7, 60) * 3, rng.normal(size=60), rng.normal(size=(60, 2))

    def of(rows: np.ndarray) -> float:
        return float(np.linalg.lstsq(x[rows], y[rows], rcond=None)[0][1])

    numbers = np.unique(games)
    draws = []
    for row in game_weights(len(numbers), N_BOOT, 0):
        again = [np.flatnonzero(games == g).repeat(int(n)) for g, n in zip(numbers, row, strict=True)]
        draws.append(of(np.concatenate(again)))
    expected = interval(np.array(draws), of(np.arange(60)), n_games=len(numbers))
    np.testing.assert_allclose(slopes(x, y, games)[1][:3], expected[:3], atol=1e-9)


def test_events_say_whom_they_are_about() -> None:
    from agents.werewolf.lessons.thinking.evidence import in_words
    from games.werewolf.lexicon import lexicon as load_lexicon

    config = GAME.configure(preset="classic-7")
    log, _ = game_with_options(config, chance.key(10, "targets") >> 1)
    names = [fact.name for fact in GAME.seats(config, log)]
    terms = load_lexicon(config.lexicon).terms
    words = [in_words(r, names, terms) for r in log if isinstance(r, Event)]
    known = {*names, "nobody"}
    from agents.werewolf.lessons.thinking.vocabulary import make_tokenizer

    vocabulary = make_tokenizer().get_vocab()
    said = [w for w in words if w is not None]
    assert said and all(known & set(w.split()) and set(w.split()) <= set(vocabulary) for w in said)
