"""A game is its decisions: logs are folded back byte for byte, states are snapshots, any point can be branched."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games import log as lines
from games.base import ReplayError
from games.play import Answer, fold, play, stamp
from games.records import Action, Decision, Event, Record, Reply, SpeechAct, Trace
from games.werewolf import GAME
from games.werewolf.arrays.discrete import Catalogue
from games.werewolf.config import WerewolfConfig
from games.werewolf.presets import NAMES, configure
from games.werewolf.snapshot import restore, snapshot
from games.werewolf.words.text import words_of
from tests.fixtures.random_games import random_action, random_game, view
from tests.fixtures.werewolf_configs import configs, seeds

GOLDEN = Path(__file__).parent / "golden" / "werewolf"


@pytest.mark.parametrize("preset", NAMES)
def test_golden_log_is_given_back_byte_for_byte(preset: str) -> None:
    """If a rule was changed on purpose: `.venv/bin/python tests/games/golden/write.py`, and look at the difference."""
    head, _, body = (GOLDEN / f"{preset}.jsonl").read_bytes().partition(b"\n")
    about = json.loads(head)
    assert about["preset"] == preset
    records = lines.loads(body)
    state, again = fold(GAME, configure(preset), about["seed"], records)
    assert lines.dumps(again) == body
    assert state.outcome is not None


@settings(max_examples=40)
@given(configs(), seeds(), st.integers(0, 99))
def test_folding_the_decisions_gives_the_log_back(config: WerewolfConfig, seed: int, chooser: int) -> None:
    log = random_game(config, seed, chooser)
    data = lines.dumps(log)
    assert lines.loads(data) == log
    only_decisions = [r for r in lines.loads(data) if isinstance(r, Decision)]
    state, events = GAME.start(config, seed)
    again: list[Record] = list(events)
    while state.requests:
        wave = [only_decisions.pop(0) for _ in state.requests]
        state, events = GAME.apply(state, wave)
        again += [*wave, *events]
    assert lines.dumps(again) == data


@settings(max_examples=25)
@given(configs(), seeds(), st.data())
def test_a_game_can_be_cut_anywhere_and_gone_on_with(
    config: WerewolfConfig, seed: int, data: st.DataObject
) -> None:
    log = random_game(config, seed)
    cut = data.draw(st.integers(0, len(log)))
    steps = play(GAME, config, seed, replayed=log[:cut])
    later = [r for r in log if isinstance(r, Decision)]
    _, known = fold(GAME, config, seed, log[:cut])
    done = sum(isinstance(r, Decision) for r in known)
    step, out = next(steps), list(known)
    assert list(step.new) == known[cut:]
    while step.requests:
        wave = later[done : done + len(step.requests)]
        done += len(wave)
        step = steps.send([Answer(Reply(d.action), d.agent) for d in wave])
        out += step.new
    assert out == log


@settings(max_examples=25)
@given(configs(), seeds(), st.integers(0, 99))
def test_every_state_survives_as_json_and_goes_on_alike(
    config: WerewolfConfig, seed: int, chooser: int
) -> None:
    rng, catalogue = random.Random(chooser), Catalogue(config)
    state, events = GAME.start(config, seed)
    w = words_of(config, events)
    while state.requests:
        twin = restore(snapshot(state))
        assert twin == state
        wave = [
            stamp(r, Answer(Reply(random_action(r, rng, catalogue, w))), state.seq + i)
            for i, r in enumerate(state.requests)
        ]
        (state, events), (twin, again) = GAME.apply(state, wave), GAME.apply(twin, wave)
        assert (twin, again) == (state, events)
        assert snapshot(twin) == snapshot(state)


def test_applying_decisions_leaves_the_state_as_it_was() -> None:
    config = configure("classic-7")
    state, _ = GAME.start(config, 3)
    before = snapshot(state)
    wave = [
        stamp(r, Answer(Reply(Action(r.options[0]))), state.seq + i) for i, r in enumerate(state.requests)
    ]
    one, events = GAME.apply(state, wave)
    assert snapshot(state) == before
    assert GAME.apply(state, wave) == (one, events)


def test_branches_share_what_came_before_and_differ_after() -> None:
    config = configure("probe-6")
    log = random_game(config, 8)
    at = next(i for i, r in enumerate(log) if isinstance(r, Decision) and r.kind == "speech")
    speech = log[at]
    changed = msgspec.structs.replace(speech, action=Action(text="I retract.", acts=(SpeechAct("retract"),)))
    steps = play(GAME, config, 8, replayed=[*log[:at], changed])
    step = next(steps)
    assert [r.text for r in step.new if isinstance(r, Event)] == ["I retract."]
    assert step.requests[0].kind == "speech"


def test_an_edited_log_is_refused_naming_the_record() -> None:
    config = configure("classic-7")
    log = random_game(config, 5)
    at = next(i for i, r in enumerate(log) if isinstance(r, Event) and r.kind == "death")
    edited = [*log[:at], msgspec.structs.replace(log[at], target=(log[at].target + 1) % 7), *log[at + 1 :]]
    with pytest.raises(ReplayError, match=f"record {at} of the log"):
        fold(GAME, config, 5, edited)
    with pytest.raises(ReplayError, match="another seed"):
        fold(GAME, config, 6, log)
    with pytest.raises(ReplayError, match="rules end at"):
        fold(GAME, config, 5, [*log, Event(len(log), "death")])


def test_a_torn_log_line_is_named() -> None:
    data = lines.dumps(random_game(configure("probe-6"), 1))
    with pytest.raises(ReplayError, match="line 3 of the log"):
        lines.loads(b"\n".join([*data.splitlines()[:2], b'{"event":{"seq":2,']))
    with pytest.raises(ReplayError, match="not one event or one decision"):
        lines.loads(b"{}")


def test_what_is_no_snapshot_is_refused() -> None:
    with pytest.raises(ReplayError, match="no snapshot"):
        restore(b'{"seed": 1}')


def test_a_trace_continues_the_seats_own_decision_in_the_logs_numbers() -> None:
    """Agents know their decisions by their view's numbers; the log holds its own."""
    config = configure("probe-6")
    steps = play(GAME, config, 2)
    step, log = next(steps), []
    while step.requests:
        log += step.new
        answers = []
        for request in step.requests:
            seen = view(config, log, request.seat)[0]
            own = [r for r in seen if isinstance(r, Decision)]
            trace = Trace("m@0", continues=own[-1].seq if own else None)
            option = request.options[0] if request.options else None
            answers.append(Answer(Reply(Action(option), trace=trace)))
        step = steps.send(answers)
    log += step.new
    for seat in range(6):
        own = [r for r in log if isinstance(r, Decision) and r.seat == seat]
        assert [r.trace.continues for r in own] == [None, *(r.seq for r in own)][: len(own)]
        mine = [r for r in view(config, log, seat)[0] if isinstance(r, Decision)]
        assert [r.trace.continues for r in mine] == [None, *(r.seq for r in mine)][: len(mine)]
