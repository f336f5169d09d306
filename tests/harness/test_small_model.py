"""The shipped model and its training: language, form, resumption."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from agents.exam import lexicon_of
from agents.lessons import Turn, View, decisions
from agents.llm.transcript_context import document
from agents.models.small import SHIPPED, SMALL_MODEL, find_model, make_config, unpack_checkpoints
from agents.werewolf.lessons.curriculum import views
from agents.werewolf.lessons.games import game_with_options, scripted_game
from agents.werewolf.lessons.questions import (
    Expected,
    belief_questions,
    character_question,
    cuts,
    expect,
    second_order_questions,
)
from agents.werewolf.lessons.soft_targets import FAILED, SERVED, turns
from agents.werewolf.styles import CHARACTERS
from agents.werewolf.vocabulary import make_tokenizer
from games import load_game
from games.base import SeatFacts
from games.records import Decision, Event
from games.werewolf.lexicon import LEXICONS
from games.werewolf.presets import NAMES

GAME = load_game("werewolf")


@pytest.mark.parametrize("lexicon", ["classic", "nonsense"])
def test_the_tokenizer_knows_every_word_that_scripted_games_show(lexicon: str) -> None:
    tokenizer = make_tokenizer((lexicon,))
    for seed, preset in enumerate(NAMES):
        config = GAME.configure(preset=preset, lexicon=lexicon)
        text = "\n".join(GAME.transcript(scripted_game(config, seed), None, config))
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        unknown = {
            text for text, i in zip(tokenizer.tokenize(text), ids, strict=True) if i == tokenizer.unk_token_id
        }
        assert not unknown, f"{preset} under {lexicon}"


def test_the_shipped_tokenizer_is_the_one_that_the_project_makes() -> None:
    shipped = json.loads((SMALL_MODEL / "tokenizer.json").read_text())
    assert shipped["model"]["vocab"] == make_tokenizer().get_vocab()


def test_training_views_are_the_same_whenever_they_are_made() -> None:
    assert views(7, 0, 0.5, "classic", 1.0) == views(7, 0, 0.5, "classic", 1.0)
    assert views(7, 0, 0.5, "classic", 1.0) != views(8, 0, 0.5, "classic", 1.0)


def only(answer: dict[str, float]) -> str:
    """The answer of which there is no doubt."""
    ((word, p),) = answer.items()
    assert p == 1.0
    return word


def test_belief_questions_are_answered_with_the_truth() -> None:
    first, second = 0, 0
    for index in range(40):
        log = scripted_game(GAME.configure(preset="classic-7"), index)
        config = GAME.configure(preset="classic-7")
        roles = {fact.name: fact.role for fact in GAME.seats(config, log)}
        for seat in range(config.n_players):
            for fork in belief_questions(log, seat, config, cuts(log, index, 3)):
                for subject, answer in fork.asked:
                    assert roles[subject] == only(answer)
                    assert subject != fork.viewer
                    first += 1
        points = cuts(log, index, 1)
        expected = expect(log, config, points)
        deeper = second_order_questions(log, [0, 1], config, points, index, expected, drawn=True)
        for seat, forks in deeper.items():
            for fork in forks:
                for question, answer in fork.asked:
                    believer, _, about = question.split()
                    assert believer != about
                    assert believer != fork.viewer
                    if roles[believer] == "werewolf":  # who knows its partners and that all others are none
                        assert (only(answer) == "werewolf") == (roles[about] == "werewolf"), seat
                    second += 1
    assert first > 500
    assert second > 100


def test_early_training_states_every_role_that_it_asks_for() -> None:
    for index in range(5):
        (view,) = views(index, 0, 0.0, "classic", 1.0)
        for fork in view.forks:
            for subject, answer in fork.asked:
                assert f" {subject} {only(answer)}." in "".join(view.lines[: fork.n_lines])


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.35, 0.9])
def test_a_share_of_none_asks_nothing_at_any_time_of_training(progress: float) -> None:
    some = [view for index in range(10) for view in views(index, 0, progress, "classic", 0.0)]
    assert some
    assert not any(view.forks or "believes" in "".join(view.lines) for view in some)


def test_weights_are_kept_at_doubling_numbers_of_tokens_where_the_rate_has_fallen_and_at_the_end() -> None:
    from harness.training.train import SETTLED, marks

    kept = marks(72_000_000)
    assert kept[-3:] == [28_000_000, 56_000_000, 72_000_000]
    assert all(abs(b - 2 * a) <= 1 for a, b in itertools.pairwise(kept[:-1]))
    assert marks(1_000) == [1_000]
    assert [n for n in marks(400_000_000) if n > 112_000_000] == sorted([*SETTLED, 224_000_000, 400_000_000])
    assert marks(SETTLED[0])[-2:] == [112_000_000, SETTLED[0]]


def test_training_ends_on_views_in_which_there_is_most_to_infer() -> None:
    def of_werewolves(some: list[View]) -> float:
        return statistics.mean([view.lines[1].endswith(" werewolf.") for view in some])

    def deeper(some: list[View]) -> float:
        return statistics.mean([q.count("believes") for v in some for f in v.forks for q, _ in f.asked])

    before, after = ([v for i in range(24) for v in views(i, 0, at, "classic", 1.0)] for at in (7.4, 7.5))
    assert of_werewolves(after) < of_werewolves(before) / 2
    assert deeper(after) > deeper(before)


def test_the_last_views_are_mostly_those_of_plain_villagers() -> None:
    def of_villagers(progress: float) -> float:
        some = [view for i in range(24) for view in views(i, 0, progress, "classic", 1.0)]
        return statistics.mean([view.lines[1].endswith(" villager.") for view in some])

    assert of_villagers(9.2) > of_villagers(9.1) + 0.15


def test_questions_are_asked_all_over_a_game_and_more_of_its_later_days_where_that_is_wanted() -> None:
    config = GAME.configure(preset="classic-7")
    logs = [log for log in (scripted_game(config, i) for i in range(60)) if log[-1].day > 1]

    def later(lots: int) -> float:
        days = [log[point - 1].day for i, log in enumerate(logs) for point in cuts(log, i, 10, lots)]
        return statistics.mean([day > 1 for day in days])

    events = [r.day for log in logs for r in log if isinstance(r, Event) and r.kind in ("speech", "ballot")]
    assert later(1) == pytest.approx(statistics.mean([day > 1 for day in events]), abs=0.1)
    assert later(4) > later(1) + 0.1


def test_the_learning_rate_is_raised_once_and_falls_to_nothing_at_the_end() -> None:
    from harness.training.train import SETTLED, schedule

    factors = [schedule(1_000_000 * i, 72_000_000) for i in range(73)]
    assert [i for i in range(3, 73) if factors[i] > factors[i - 1]] == [15]
    assert factors[15:55] == [factors[15]] * 40
    assert factors[-1] == 0.0
    beyond = SETTLED[-1] + 40_000_000
    for start, end, tokens in (
        *((start, end, beyond) for start, end in itertools.pairwise((*SETTLED, beyond))),
        (SETTLED[0], SETTLED[0] + 20_000_000, SETTLED[0] + 20_000_000),
    ):  # and once more each time that training goes on beyond, not as high
        longer = [schedule(start + (end - start) * i // 40, tokens) for i in range(40)]
        assert longer[:11] == [longer[0]] * 11
        assert longer[0] < factors[15] / 2
        assert longer[10:] == sorted(longer[10:], reverse=True)
        assert longer[-1] < longer[0] / 19
    assert schedule(tokens, tokens) == 0.0


@pytest.mark.parametrize("progress", [0.9, 4.0, 5.1, 7.5])
def test_questions_that_share_a_pass_are_answered_as_if_each_were_asked_alone(progress: float) -> None:
    import torch
    from transformers import LlamaForCausalLM

    from harness.training import attention as training_attention
    from harness.training.attention import predict
    from harness.training.batches import ANSWERED, BELIEF, Row, collate
    from harness.training.train import initialise

    tokenizer = make_tokenizer()
    words = tokenizer.get_vocab()
    config = make_config(len(tokenizer), 64, 2)
    model = LlamaForCausalLM._from_config(config, attn_implementation=training_attention.NAME)
    initialise(model, 0)
    some = [view for index in range(3, 7) for view in views(index, 0, progress, "classic", 1.0)]
    batch = collate([Row(view, words, tokenizer) for view in some])
    with torch.inference_mode():
        logits = predict(model, batch, bf16=False)
        nats = batch.nats(logits)
    model.set_attn_implementation("eager")  # alone by the plain attention
    n_asked = 0
    answers_of_beliefs = batch.answer[batch.kind[batch.target == ANSWERED] == BELIEF]
    for r, view in enumerate(some):
        ends = iter(batch.kind[r].eq(BELIEF).nonzero()[:, 0].tolist())
        for fork in view.forks:
            read = "\n".join(view.lines[: fork.n_lines])
            for question, answer in fork.asked:
                text = f"{read}\n{fork.viewer} believes {question}"
                ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
                with torch.inference_mode():
                    alone = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
                end = next(ends)
                torch.testing.assert_close(logits[r, end], alone, atol=1e-4, rtol=1e-4)
                answers = answers_of_beliefs[n_asked]
                assert {w: float(answers[words[w]]) for w in answer} == pytest.approx(answer)
                assert float(answers.sum()) == pytest.approx(1.0)
                expected = -sum(p * float(alone.log_softmax(0)[words[w]]) for w, p in answer.items())
                assert float(nats[r, end]) == pytest.approx(expected, abs=1e-3)
                n_asked += 1
    assert n_asked > 30


@pytest.mark.parametrize(("dtype", "groups"), [("float32", 1), ("bfloat16", 1), ("float32", 3)])
def test_the_training_attention_has_the_gradients_of_plain_attention(dtype: str, groups: int) -> None:
    import torch

    from harness.training.attention import BLOCK, additive, attend

    kind = getattr(torch, dtype)
    n = 2 * BLOCK + 37  # blocks of unequal length
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(2, heads, n, 8, generator=generator).to(kind).requires_grad_()
        for heads in (3, 3 // groups, 3 // groups)
    ]
    outward = torch.randn(2, n, 3, 8, generator=generator).to(kind)
    seen = torch.rand(2, 1, n, n, generator=generator).lt(0.5).tril() | torch.eye(n, dtype=torch.bool)
    found = attend(None, *tensors, additive(seen, kind), 0.3)[0]
    query, key, value = (x.detach().double().requires_grad_() for x in tensors)
    keys, values = (x.repeat_interleave(groups, 1) for x in (key, value))
    scores = (query @ keys.transpose(2, 3) * 0.3).masked_fill(~seen, -torch.inf)
    plain = (scores.softmax(-1) @ values).transpose(1, 2)
    near = {"float32": 1e-5, "bfloat16": 5e-2}[dtype]
    torch.testing.assert_close(found.double(), plain, atol=near, rtol=near)
    gradients = torch.autograd.grad(found, tensors, outward)
    expected = torch.autograd.grad(plain, (query, key, value), outward.double())
    for ours, theirs in zip(gradients, expected, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < near / 2


def test_training_in_mixed_precision_has_about_the_losses_and_gradients_of_float32() -> None:
    import torch
    from transformers import LlamaForCausalLM

    from harness.training import attention as training_attention
    from harness.training.attention import predict
    from harness.training.batches import Row, collate
    from harness.training.train import initialise

    tokenizer = make_tokenizer()
    words = tokenizer.get_vocab()
    model = LlamaForCausalLM._from_config(
        make_config(len(tokenizer), 64, 2), attn_implementation=training_attention.NAME
    )
    initialise(model, 0)
    batch = collate([Row(view, words, tokenizer) for view in views(3, 0, 4.0, "classic", 1.0)])
    losses, gradients = [], []
    for bf16 in (False, True):
        nats = batch.nats(predict(model, batch, bf16).float())
        loss = nats[batch.kind > 0].mean()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
        losses.append(float(loss.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=0.005) and losses[1] != losses[0]
    for exact, rounded in zip(*gradients, strict=True):
        assert rounded.dtype == torch.float32
        assert float((rounded - exact).norm() / exact.norm()) < 0.1


def test_a_seats_own_words_are_told_from_those_that_it_hears() -> None:
    from harness.training.batches import CHOICE, SPEECH, Row

    tokenizer = make_tokenizer()
    lines = ['Ada says "I accuse Ben."', 'Ben says "I am the seer."', "Ben votes (Ada Cal): Ada."]
    row = Row(View(lines, [], "Ben"), tokenizer.get_vocab(), tokenizer)
    ids, target, kind = row.columns[:3]
    own = [tokenizer.decode([t]) for t, k in zip(target, kind, strict=True) if k == SPEECH]
    assert own == ['"', "I", "am", "the", "seer", ".", '"', "\n"]
    assert [tokenizer.decode([t]) for t, k in zip(target, kind, strict=True) if k == CHOICE] == ["Ada"]
    assert len(ids) == len(kind)


class Taken(NamedTuple):
    """One turn of one seat of a classic-7 game, and what the observer expects at every decision of that game."""

    facts: Sequence[SeatFacts]
    seat: int
    lines: list[str]
    point: int
    decision: Decision
    turn: Turn
    expected: Expected


def all_turns(n_games: int) -> Iterator[Taken]:
    """The turns of all seats of some games."""
    config = GAME.configure(preset="classic-7")
    for index in range(n_games):
        log, options = game_with_options(config, index)
        own = [decisions(log, seat) for seat in range(config.n_players)]
        expected = expect(log, config, [point for found in own for point, _ in found])
        facts = GAME.seats(config, log)
        for seat, found in enumerate(own):
            lines = document(GAME.text, log, seat, config)
            taken = turns(log, seat, config, options[seat], expected)
            for (point, decision), turn in zip(found, taken, strict=True):
                yield Taken(facts, seat, lines, point, decision, turn, expected)


def test_what_a_seat_might_have_said_is_what_its_player_states() -> None:
    """Each of a turn's lines as a whole is as likely token by token as the player made it."""
    from harness.training.batches import expected_words

    tokenizer = make_tokenizer()
    words = tokenizer.get_vocab()
    n_lines = 0
    for taken in all_turns(3):
        turn = taken.turn
        assert taken.lines[turn.line] in {turn.given + text for text, _ in turn.answers}
        assert sum(p for _, p in turn.answers) == pytest.approx(1.0)
        given = tokenizer(turn.given, add_special_tokens=False)["input_ids"]
        plain = replace(turn, advantage_weights={})
        for text, p in turn.answers[:5]:
            ids = tokenizer(f"{turn.given}{text}\n", add_special_tokens=False)["input_ids"]
            whole = 1.0
            for i, likely, value in expected_words(plain, ids, len(given), words, tokenizer):
                assert sum(likely.values()) == pytest.approx(1.0)
                assert value == pytest.approx(1.0)
                whole *= likely[ids[i + 1]]
            assert whole == pytest.approx(p)
            n_lines += 1
    assert n_lines > 200


def test_whom_one_of_the_village_names_counts_by_whether_it_likely_serves() -> None:
    """Whom it names weighs by the exact belief; how often it names anyone, and werewolves' lines, stay as they were."""
    from harness.training.batches import expected_words

    tokenizer = make_tokenizer()
    words = tokenizer.get_vocab()
    judged = 0
    for facts, seat, _, point, decision, turn, expected in all_turns(3):
        if facts[seat].faction == "werewolf":
            assert turn.advantage_weights == {}  # it knows whom it names
        elif decision.kind == "ballot":
            p = expected.beliefs[point][seat, :, expected.roles.index("werewolf")]
            texts = dict(turn.answers)
            named = {f.name: q for f, q in zip(facts, p, strict=True) if f" {f.name}." in texts}
            weighed = {
                name: texts[f" {name}."] * (FAILED + (SERVED - FAILED) * q) for name, q in named.items()
            }
            rest = sum(q for text, q in texts.items() if text[1:-1] not in named)
            given = tokenizer(turn.given, add_special_tokens=False)["input_ids"]
            line = tokenizer(turn.given + turn.answers[0][0] + "\n", add_special_tokens=False)
            _, likely, value = next(expected_words(turn, line["input_ids"], len(given), words, tokenizer))
            total = sum(weighed.values()) + rest
            assert value == pytest.approx(total)
            for name, x in weighed.items():
                assert likely[words[name]] == pytest.approx(x / total)
            judged += 1
    assert judged > 15


def test_late_answers_are_what_the_exact_observer_expects_of_the_truth() -> None:
    config = GAME.configure(preset="classic-7")
    right, n = 0.0, 0
    for index in range(120):
        log = scripted_game(config, index)
        facts = GAME.seats(config, log)
        roles = {fact.name: fact.role for fact in facts}
        seat = next(i for i, fact in enumerate(facts) if fact.role == "villager")
        points = cuts(log, index, 3)
        drawn = belief_questions(log, seat, config, points)
        expected = belief_questions(log, seat, config, points, expect(log, config, points))
        assert [(f.n_lines, [q for q, _ in f.asked]) for f in drawn] == [
            (f.n_lines, [q for q, _ in f.asked]) for f in expected
        ]
        for fork in expected:
            for subject, answer in fork.asked:
                assert sum(answer.values()) == pytest.approx(1.0)
                right += (roles[subject] == "werewolf") - answer.get("werewolf", 0.0)
                n += 1
    assert n > 800
    assert abs(right / n) < 0.04  # the truth's mean is what was expected


def test_characters_are_asked_for_late_and_answered_with_what_is_expected_of_them() -> None:
    assert not any("plays" in q for v in asked_views(4.0) for f in v.forks for q, _ in f.asked)
    asked = [(v, f, q, p) for v in asked_views(5.1) for f in v.forks for q, p in f.asked if "plays" in q]
    assert len(asked) > 50
    for view, fork, question, answer in asked:
        subject = question.split()[0]
        assert question == character_question(subject)
        assert subject in view.names
        assert subject != fork.viewer
        assert set(answer) <= set(CHARACTERS)
        assert sum(answer.values()) == pytest.approx(1.0)
    # `random` is drawn a tenth as often as each of the others, and is known at once by what no other would do.
    assert sum(p.get("random", 0.0) for *_, p in asked) / len(asked) < 0.1


def asked_views(progress: float) -> list[View]:
    """The views of some games of training."""
    return [view for index in range(12) for view in views(index, 0, progress, "classic", 1.0)]


def test_the_words_change_nothing_in_training() -> None:
    from harness.training.batches import Row

    def ids(lexicon: str) -> list[list[list[int]]]:
        tokenizer = make_tokenizer((lexicon,))
        words = tokenizer.get_vocab()
        return [
            Row(view, words, tokenizer).columns
            for progress in (0.0, 0.3, 0.9, 4.0, 5.1, 7.5)
            for index in range(2)
            for view in views(index, 0, progress, lexicon, 1.0)
        ]

    classic = ids("classic")
    for lexicon in LEXICONS:
        assert ids(lexicon) == classic, lexicon


def test_the_twin_under_nonsense_is_the_small_model_with_other_words() -> None:
    twin = find_model("small-nonsense")
    for name in ("model.safetensors", "config.json"):
        assert (twin / name).read_bytes() == (SMALL_MODEL / name).read_bytes()
    shipped = json.loads((twin / "tokenizer.json").read_text())["model"]["vocab"]
    assert shipped == make_tokenizer(("nonsense",)).get_vocab()


def test_the_twin_has_the_same_checkpoints_with_its_own_words(tmp_path: Path) -> None:
    folders = unpack_checkpoints(find_model("small-nonsense"), tmp_path)
    assert len(folders) == len(list((SMALL_MODEL / "checkpoints").iterdir()))
    shipped = json.loads((folders[0] / "tokenizer.json").read_text())["model"]["vocab"]
    assert "dax" in shipped
    assert "werewolf" not in shipped


def test_the_twin_under_nonsense_plays_the_same_game_in_other_words() -> None:
    import asyncio

    from harness.model_evaluation.evaluate import load_player
    from harness.model_evaluation.playing import play_games

    async def game(model: str, lexicon: str) -> list[Decision]:
        player = load_player(find_model(model))
        try:
            (log,) = await play_games(player, "werewolf", ["probe-6"], 1, lexicon)
        finally:
            await player.backend.close()
        return [record for record in log if isinstance(record, Decision)]

    plain, twin = asyncio.run(game("small", "classic")), asyncio.run(game("small-nonsense", "nonsense"))
    assert len(plain) > 10
    assert [(d.seat, d.kind, d.action.option) for d in plain] == [
        (d.seat, d.kind, d.action.option) for d in twin
    ]
    assert [d.action.acts for d in plain] == [d.action.acts for d in twin]
    assert [d.action.text for d in plain if d.action.text] != [d.action.text for d in twin if d.action.text]


def test_the_lexicon_of_a_model_is_told_by_its_tokenizer() -> None:
    for lexicon in LEXICONS:
        assert lexicon_of("werewolf", make_tokenizer((lexicon,))) == lexicon
    with pytest.raises(ValueError, match="train it with"):
        lexicon_of("werewolf", make_tokenizer(("random-3",)))


def test_all_shipped_models_are_found_by_name() -> None:
    for name in SHIPPED:
        assert (find_model(name) / "model.safetensors").is_file()
    assert find_model("some/folder") == Path("some/folder")


class Stopped(Exception):
    """Stands for whatever ends a training run early."""


def test_training_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    from harness.training.train import train

    settings = {
        "tokens": 50_000,
        "batch_tokens": 512,
        "hidden": 32,
        "layers": 1,
        "device": "cpu",
        "save_every": 10,
    }

    def stop(line: str) -> None:
        raise Stopped(line)

    with pytest.raises(Stopped):
        train(tmp_path / "small", say=stop, **settings)  # type: ignore[arg-type]
    state = json.loads((tmp_path / "small" / "training" / "state.json").read_text())
    assert 0 < state["tokens"] < 40_000
    said: list[str] = []
    sooner = settings | {"tokens": 40_000}  # its end may be moved while it is ahead
    train(tmp_path / "small", say=said.append, **sooner)  # type: ignore[arg-type]
    assert said[0].startswith(f"resuming at {state['tokens']:,}")
    losses = [
        json.loads(x) for x in (tmp_path / "small" / "training" / "loss.jsonl").read_text().splitlines()
    ]
    assert [x["tokens"] for x in losses] == sorted(x["tokens"] for x in losses)
    assert losses[-1]["text"] < losses[0]["text"]


def test_layers_that_join_late_change_nothing_at_first(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    from harness.training.checkpoint import save
    from harness.training.train import initialise

    tokenizer = make_tokenizer()
    early, grown = (LlamaForCausalLM(make_config(len(tokenizer), 64, n)).eval() for n in (2, 4))
    initialise(early, 0)
    initialise(grown, 0, late=2)
    ids = torch.randint(4, len(tokenizer), (2, 30), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(grown(ids).logits, early(ids).logits)
        grown.model.layers[-1].mlp.down_proj.weight.normal_()
        assert not torch.allclose(grown(ids).logits, early(ids).logits, atol=0.1)
    save(tmp_path / "grown", grown, tokenizer)
    (tmp_path / "grown" / "checkpoints").mkdir()
    kept = {k: v.to(torch.bfloat16).contiguous() for k, v in early.state_dict().items()}
    early.load_state_dict({k: v.float() for k, v in kept.items()})
    save_file(kept, str(tmp_path / "grown" / "checkpoints" / "000000000900.safetensors"))
    (folder,) = unpack_checkpoints(tmp_path / "grown", tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert again.config.num_hidden_layers == 4
    with torch.inference_mode():
        torch.testing.assert_close(again(ids).logits, early(ids).logits, atol=1e-4, rtol=1e-4)


def test_a_finished_training_run_goes_on_to_more_tokens_and_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    from harness.training import train as training

    monkeypatch.setattr(training, "GROW", (9_000, 13_500))
    monkeypatch.setattr(training, "FIRST_CHECKPOINT", 6_000)
    settings = {"batch_tokens": 512, "hidden": 32, "layers": 1, "device": "cpu", "say": lambda _: None}
    training.train(tmp_path, tokens=4_500, **settings)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "config.json").read_text())["num_hidden_layers"] == 1
    was = json.loads((tmp_path / "training" / "state.json").read_text())["tokens"]
    training.train(tmp_path, tokens=18_000, **settings)  # type: ignore[arg-type]
    state = json.loads((tmp_path / "training" / "state.json").read_text())
    assert 4_500 <= was < 9_000 < 18_000 <= state["tokens"]
    assert json.loads((tmp_path / "config.json").read_text())["num_hidden_layers"] == 5
    assert load_file(tmp_path / "model.safetensors")["model.layers.4.mlp.down_proj.weight"].abs().sum() > 0
    kept = {path.stem: load_file(path) for path in (tmp_path / "training" / "checkpoints").iterdir()}
    layers = {
        int(tokens): sorted({int(k.split(".")[2]) for k in part if "layers" in k})
        for tokens, part in kept.items()
    }
    run = {4_500: [0], 6_000: [0], 12_000: [0, 1, 2], 18_000: [0, 1, 2, 3, 4]}
    assert layers == run
    with pytest.raises(ValueError, match="as many tokens or more"):
        training.train(tmp_path, tokens=15_000, **settings)  # type: ignore[arg-type]


def test_training_refuses_a_folder_of_other_settings(tmp_path: Path) -> None:
    from harness.training.train import train

    settings = {
        "tokens": 4_500,  # of fewer, the curriculum is over within the first batch
        "batch_tokens": 512,
        "hidden": 32,
        "layers": 1,
        "device": "cpu",
    }
    train(tmp_path, say=lambda _: None, **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same settings"):
        train(tmp_path, say=lambda _: None, **settings, seed=1)  # type: ignore[arg-type]


def test_the_shipped_model_keeps_to_the_form_without_constraints() -> None:
    import asyncio

    from harness.model_evaluation.evaluate import load_player
    from harness.model_evaluation.playing import measure_form

    player = load_player(SMALL_MODEL)
    total = measure_form(player, "werewolf", n_games=8)[-1]
    asyncio.run(player.backend.close())
    assert total.n > 150
    assert total.well_formed / total.n >= 0.97  # 99.7% over many games; this is a small sample
    assert 1 - total.fallbacks / total.n >= 0.99


def test_checkpoints_along_the_training_of_the_shipped_model_can_be_loaded(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from harness.training.train import SHIPPED_TOKENS

    folders = unpack_checkpoints(SMALL_MODEL, tmp_path)
    assert 8 <= len(folders) <= 12
    assert folders[-1].name == f"tokens-{SHIPPED_TOKENS:012d}"
    assert [f.name for f in folders] == sorted(f.name for f in folders)
    last = AutoModelForCausalLM.from_pretrained(folders[-1]).state_dict()
    for name, weights in load_file(SMALL_MODEL / "model.safetensors").items():
        assert torch.equal(last[name], weights.bfloat16().float()), name
    assert (folders[0] / "tokenizer.json").read_bytes() == (SMALL_MODEL / "tokenizer.json").read_bytes()


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no checkpoints"):
        unpack_checkpoints(tmp_path, tmp_path / "out")
