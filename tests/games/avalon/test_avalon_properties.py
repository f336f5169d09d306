"""What holds in every game of Avalon, under all presets and random compositions: ends, views, leaks, replay."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games import chance
from games import log as lines
from games.avalon import GAME
from games.avalon.config import AvalonConfig
from games.avalon.presets import NAMES, configure
from games.avalon.roles import shown, side_of
from games.base import ReplayError
from games.engine.discussion import SPEAK
from games.play import Answer, fold, observe, play, stamp, waves
from games.records import Action, Decision, Event, Record, Reply, Request, visible
from games.seat_view.views import Views
from tests.fixtures.avalon_games import configs, random_game, seeds, view

GOLDEN = Path(__file__).parents[1] / "golden" / "avalon"


@settings(max_examples=100)
@given(configs(), seeds(), st.integers(0, 1000))
def test_every_game_of_every_composition_ends_as_the_rules_say(
    config: AvalonConfig, seed: int, chooser: int
) -> None:
    """The rules of victory once more, written over the log instead of the state."""
    log = random_game(config, seed, chooser)
    assert [r.seq for r in log] == list(range(len(log)))
    results = Counter(r.value for r in log if isinstance(r, Event) and r.kind == "mission")
    rejections = 0
    for r in log:
        if isinstance(r, Event) and r.kind == "verdict":
            rejections = 0 if r.value == "approved" else rejections + 1
            assert rejections <= config.max_rejections
    named = [r for r in log if isinstance(r, Event) and r.kind == "assassinate"]
    roles = [facts.role for facts in GAME.seats(config, log)]
    if results["failure"] == 3 or rejections == config.max_rejections:
        winner = "evil"
        assert not named
    else:
        assert results["success"] == 3
        assert len(named) == config.count("assassin")
        winner = "evil" if named and roles[named[0].target] == "merlin" else "good"
    last = log[-1]
    assert isinstance(last, Event)
    assert (last.kind, last.value) == ("outcome", winner)
    assert last.data["winners"] == [i for i, role in enumerate(roles) if side_of(role) == winner]
    assert results.total() <= 5


@settings(max_examples=60)
@given(configs(), seeds(), st.integers(0, 1000))
def test_every_seat_receives_what_it_is_entitled_to_and_nothing_else(
    config: AvalonConfig, seed: int, chooser: int
) -> None:
    log = random_game(config, seed, chooser)
    roles = [facts.role for facts in GAME.seats(config, log)]
    for r in log:
        if isinstance(r, Decision):
            continue
        if r.kind == "role":
            assert r.audience == (r.target,)
            told = {int(i): what for i, what in r.data["known"].items()}
            assert told == {
                i: what
                for i, role in enumerate(roles)
                if i != r.target and (what := shown(r.value, role)) is not None
            }
        elif r.kind == "card":
            assert r.audience == (r.actor,)
        else:
            assert r.audience == (() if r.kind in ("deal", "order", "draw", "bid") else None)


@settings(max_examples=40)
@given(configs(), seeds(), st.integers(0, 1000))
def test_incremental_views_equal_the_plain_ones(config: AvalonConfig, seed: int, chooser: int) -> None:
    log = random_game(config, seed, chooser)
    views = Views(GAME, config, config.n_players)
    for record in log:
        views.add((record,))
    for seat in range(config.n_players):
        request = Request(seat, "vote", (1, 0))
        assert views.observation("g", seed, request) == observe(GAME, "g", config, seed, log, request)
        assert views.lines(seat) == GAME.transcript(log, seat, config)
        assert views.lines(seat) == GAME.transcript(views.records(seat), seat, config)
        assert all(line.splitlines() == [line] for line in views.lines(seat))


# --- no leaks -------------------------------------------------------------------------------------------------


def steady(request: Request, nth: int) -> Action:
    """A choice that depends on the seat and what is asked alone, not on the role."""
    place = chance.key(request.seat, request.kind, request.day, nth)
    text = f"words {place % 1000}" if request.speaks else ""
    if not request.options:
        return Action(text=text)
    option = max(request.options, key=lambda o: chance.key(o + 1, "steady", place))
    return Action(option, text if request.speaks and option == SPEAK else "")


def steady_game(config: AvalonConfig, seed: int, dealt: tuple[str, ...], flipped: int = -1) -> list[Record]:
    """A game by `steady` in which every evil card is success, but for the card number `flipped` of those that could
    fail."""
    state, events = GAME.start(config, seed, dealt=dealt)
    log: list[Record] = list(events)
    asked: Counter[tuple[int, str, int]] = Counter()
    n_cards = 0
    while state.requests:
        wave = []
        for r in state.requests:
            action = steady(r, asked[r.seat, r.kind, r.day])
            asked[r.seat, r.kind, r.day] += 1
            if r.kind == "card":
                action = Action(1)
                if len(r.options) == 2:
                    action = Action(int(n_cards != flipped))
                    n_cards += 1
            wave.append(stamp(r, Answer(Reply(action)), len(log) + len(wave)))
        state, events = GAME.apply(state, wave)
        log += [*wave, *events]
    return log


def first_difference(a: tuple[Record, ...], b: tuple[Record, ...]) -> tuple[Record, Record] | None:
    for x, y in zip(a, b, strict=False):
        if x != y:
            return x, y
    assert len(a) == len(b)
    return None


@settings(max_examples=100)
@given(configs("classic"), seeds(), st.integers(0, 5))
def test_a_secret_card_changes_nothing_that_others_see_but_the_count_of_failures(
    config: AvalonConfig, seed: int, which: int
) -> None:
    dealt = chance.shuffled(config.decks, chance.key(seed, "deal"))
    one, two = steady_game(config, seed, dealt), steady_game(config, seed, dealt, which)
    changed = next((a for a, b in zip(one, two, strict=False) if a != b), None)
    for seat in range(config.n_players):
        difference = first_difference(view(config, one, seat)[0], view(config, two, seat)[0])
        if difference is None:
            assert view(config, one, seat) == view(config, two, seat)
        elif seat == changed.seat:
            assert {r.kind for r in difference} == {"card"}
        else:
            assert {r.kind for r in difference} == {"mission"}
            assert all(r.actor is None for r in difference)


@settings(max_examples=100)
@given(configs("classic"), seeds(), st.data())
def test_a_hidden_role_changes_nothing_that_others_see_before_the_assassination(
    config: AvalonConfig, seed: int, data: st.DataObject
) -> None:
    """Two seats exchange their cards; who was shown the same of both cards sees the same game."""
    dealt = chance.shuffled(config.decks, chance.key(seed, "deal"))
    a, b = data.draw(st.lists(st.integers(0, len(dealt) - 1), min_size=2, max_size=2, unique=True))
    swapped = list(dealt)
    swapped[a], swapped[b] = swapped[b], swapped[a]
    one, two = steady_game(config, seed, dealt), steady_game(config, seed, tuple(swapped))
    for seat in set(range(len(dealt))) - {a, b}:
        if shown(dealt[seat], dealt[a]) != shown(dealt[seat], dealt[b]):
            continue  # it was told at the deal
        difference = first_difference(view(config, one, seat)[0], view(config, two, seat)[0])
        if difference is None:
            assert view(config, one, seat)[1] == view(config, two, seat)[1]
        else:
            assert {r.kind for r in difference} <= {"assassinate", "outcome"}, difference


@settings(max_examples=30)
@given(configs(), seeds(), st.integers(0, 99))
def test_a_question_does_not_tell_its_place_in_the_programme(
    config: AvalonConfig, seed: int, chooser: int
) -> None:
    log = random_game(config, seed, chooser)
    for requests, _, _ in waves(GAME, config, seed, log):
        assert all(r.place == 0 for r in requests)


def test_the_order_of_options_and_the_first_leader_carry_no_information_about_roles() -> None:
    """Over 3,000 deals both are uniform (chi-square, p > 0.001)."""
    config = configure("avalon-5", discussion="none", talk_before=())
    places, leaders, approve_first = [0] * 5, Counter(), 0
    for seed in range(3000):
        state, _ = GAME.start(config, seed)
        [pick] = GAME.to_act(state)
        roles = state.moderator.roles
        for place, seat in enumerate(pick.options):
            places[place] += roles[seat] == "merlin"
        leaders[roles[pick.seat]] += 1
        state = GAME.apply(state, [stamp(pick, Answer(Reply(Action(0))), state.seq)])[0]
        [pick] = GAME.to_act(state)
        state = GAME.apply(state, [stamp(pick, Answer(Reply(Action(1))), state.seq)])[0]
        approve_first += GAME.to_act(state)[0].options[0] == 1

    def chi_square(counts: list[float]) -> float:
        expected = sum(counts) / len(counts)
        return sum((c - expected) ** 2 / expected for c in counts)

    assert chi_square(places) < 18.5  # 4 degrees of freedom
    assert chi_square([leaders[role] / n for role, n in config.roles.items()]) < 16.3  # 3
    assert abs(approve_first - 1500) < 4 * 27.4


# --- exact replay ---------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(configs(), seeds(), st.data())
def test_a_game_is_its_decisions_and_can_be_cut_anywhere(
    config: AvalonConfig, seed: int, data: st.DataObject
) -> None:
    log = random_game(config, seed)
    assert lines.loads(lines.dumps(log)) == log
    assert fold(GAME, config, seed, log)[1] == log
    cut = data.draw(st.integers(0, len(log)))
    steps = play(GAME, config, seed, replayed=log[:cut])
    later = [r for r in log if isinstance(r, Decision)]
    _, known = fold(GAME, config, seed, log[:cut])
    done = sum(isinstance(r, Decision) for r in known)
    step, out = next(steps), list(known)
    while step.requests:
        wave = later[done : done + len(step.requests)]
        done += len(wave)
        step = steps.send([Answer(Reply(d.action), d.agent) for d in wave])
        out += step.new
    assert out == log


@settings(max_examples=25)
@given(configs(), seeds(), st.integers(0, 99))
def test_states_never_change_and_survive_pickling(config: AvalonConfig, seed: int, chooser: int) -> None:
    log = random_game(config, seed, chooser)
    state, _ = GAME.start(config, seed)
    kept = []
    decisions = [r for r in log if isinstance(r, Decision)]
    while state.requests:
        kept.append((state, pickle.dumps(state)))
        wave, decisions = decisions[: len(state.requests)], decisions[len(state.requests) :]
        once = GAME.apply(state, wave)
        assert GAME.apply(state, wave) == once
        state = once[0]
    for then, data in (kept[0], kept[len(kept) // 2], kept[-1]):
        assert pickle.loads(data) == then  # noqa: S301 - our own bytes
        assert pickle.dumps(then) == data
        assert GAME.restore(GAME.snapshot(then)) == then


def test_an_edited_log_is_refused() -> None:
    config = configure("avalon-5")
    log = random_game(config, 5)
    with pytest.raises(ReplayError, match="another seed"):
        fold(GAME, config, 6, log)


def test_seeds_are_honoured_and_no_rule_reads_the_lexicon() -> None:
    for preset in NAMES:
        config = configure(preset)
        log = random_game(config, 5, 6)
        assert random_game(config, 5, 6) == log != random_game(config, 6, 6)
        for lexicon in ("neutral", "nonsense", "random-3"):
            assert fold(GAME, configure(preset, lexicon=lexicon), 5, log)[1] == log


def test_numbers_of_a_view_do_not_count_what_is_hidden() -> None:
    log = random_game(configure("avalon-7"), 3)
    for seat in range(7):
        assert [r.seq for r in view(configure("avalon-7"), log, seat)[0]] == list(
            range(sum(visible(r, seat) for r in log))
        )


@pytest.mark.parametrize("preset", NAMES)
def test_golden_log_is_given_back_byte_for_byte(preset: str) -> None:
    """If a rule was changed on purpose: `.venv/bin/python tests/games/golden/write.py`, and look at the difference."""
    head, _, body = (GOLDEN / f"{preset}.jsonl").read_bytes().partition(b"\n")
    state, again = fold(GAME, configure(preset), json.loads(head)["seed"], lines.loads(body))
    assert lines.dumps(again) == body
    assert state.outcome is not None
