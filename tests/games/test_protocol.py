"""Every game keeps what `games.base.Game` promises: one test for all of them, the example of the documentation too."""

from __future__ import annotations

import random

import msgspec
import pytest

from games import GAMES, load_game, register
from games.base import Game, GameConfig, Malformed
from games.branching import Fork, Forked
from games.log import exits
from games.play import Answer, fold, play
from games.records import Action, Decision, Event, Record, Reply, Request, SpeechAct
from games.seat_view.views import Views

register("coin", "tests.fixtures.extending.coin:GAME")
EVERY = list(GAMES)


def some_acts(game: Game, rng: random.Random, n: int) -> tuple[SpeechAct, ...]:
    """An act of some kind that the game has, its slots filled at random."""
    kind = rng.choice(sorted(game.speech_acts))
    form = game.speech_acts[kind]
    slots = {"subject": rng.randrange(n), "team": tuple(sorted(rng.sample(range(n), 2)))}
    filled = {
        slot: slots.get(slot) or (rng.choice(form.roles) if slot == "role" else 0) for slot in form.slots
    }
    return (SpeechAct(kind, **filled),)


def random_game(game: Game, seed: int) -> tuple[GameConfig, list[Record]]:
    """A whole game of the default configuration, all legal actions equally likely."""
    config, rng = game.configure(), random.Random(seed)
    steps, log = play(game, config, seed), list[Record]()
    step = next(steps)
    while True:
        log += step.new
        if not step.requests:
            return config, log
        words = game.text.words_of(config, log)
        answers = []
        for request in step.requests:
            acts = some_acts(game, rng, config.n_players) if request.speaks else ()
            option = rng.choice(request.options) if request.options else None
            action = Action(option, game.text.say(acts, words) if acts else "", acts)
            if (
                request.speaks and request.options
            ):  # a turn that may be skipped: what parses back is what was meant
                action = game.text.parse(request, game.text.answer(request, action, words), words)
            answers.append(Answer(Reply(action)))
        step = steps.send(answers)


@pytest.fixture(params=EVERY, scope="module")
def game(request) -> Game:
    return load_game(request.param)


def test_name_is_the_key_that_loads_the_game(game: Game) -> None:
    assert load_game(game.name) is game


def test_default_configuration_says_how_many_play_and_is_configured_again_from_its_own_settings(
    game: Game,
) -> None:
    config = game.configure()
    assert isinstance(config, GameConfig)
    settings = config.model_dump(mode="json")
    assert set(settings) == set(game.settings())
    assert game.configure(**settings) == config
    _, events = game.start(config, 1)
    assert len(game.seats(config, events)) == config.n_players


def test_presets_and_lexicons_are_names_that_a_configuration_takes(game: Game) -> None:
    for name in game.presets:
        assert game.configure(preset=name).preset == name
    assert game.lexicons[0] == game.configure().lexicon
    shown = [tuple(game.text.words_in(game.configure(lexicon=name))) for name in game.lexicons]
    assert len(set(shown)) == len(game.lexicons)


def test_speech_kinds_are_the_decisions_that_take_words(game: Game) -> None:
    for seed in range(3):
        _, log = random_game(game, seed)
        for record in log:
            if isinstance(record, Decision) and record.action.text:
                assert record.kind in game.speech_kinds


def test_answers_are_read_back_and_nonsense_is_refused(game: Game) -> None:
    config, log = random_game(game, 4)
    words = game.text.words_of(config, log)
    for record in log:
        if isinstance(record, Decision):
            request = Request(
                record.seat, record.kind, record.options, speaks=record.kind in game.speech_kinds
            )
            assert (
                game.text.parse(request, game.text.answer(request, record.action, words), words)
                == record.action
            )
            assert game.text.question(record, words) + game.text.answer(
                record, record.action, words
            ) == game.text.own_line(record, words)
            if record.options:
                with pytest.raises(Malformed):
                    game.text.parse(request, " no such answer.", words)


def test_every_kind_of_speech_act_is_said_and_read_back(game: Game) -> None:
    config, log = random_game(game, 5)
    words, rng = game.text.words_of(config, log), random.Random(0)
    for _ in range(60):
        acts = some_acts(game, rng, config.n_players)
        assert game.text.read_acts(game.text.say(acts, words), words) == acts


def test_the_opposite_of_an_act_can_be_said_of_the_same_subject(game: Game) -> None:
    config, log = random_game(game, 5)
    words, rng = game.text.words_of(config, log), random.Random(1)
    for _ in range(60):
        (act,) = some_acts(game, rng, config.n_players)
        turned = game.text.opposite(act)
        assert turned.subject == act.subject
        assert game.text.read_acts(game.text.say((turned,), words), words) == (turned,)
        assert game.text.opposite(turned).kind == act.kind


def test_log_is_folded_and_views_read_it_as_the_transcript_does(game: Game) -> None:
    config, log = random_game(game, 6)
    state, again = fold(game, config, 6, log)
    assert again == log
    assert game.outcome(state) is not None
    views = Views(game, config, config.n_players)
    views.add(log)
    for seat in range(config.n_players):
        assert views.lines(seat) == game.transcript(log, seat, config)


def test_snapshot_holds_a_state(game: Game) -> None:
    config, log = random_game(game, 7)
    state, _ = game.start(config, 7)
    decisions = [r for r in log if isinstance(r, Decision)]
    while (requests := game.to_act(state)) and len(decisions) > len(log) // 4:
        wave, decisions = decisions[: len(requests)], decisions[len(requests) :]
        state, _ = game.apply(state, wave)
    back = game.restore(game.snapshot(state))
    assert back == state
    assert game.to_act(back) == game.to_act(state)


def test_game_can_be_branched(game: Game) -> None:
    config, log = random_game(game, 8)
    at = next(r for r in log if isinstance(r, Decision))
    state, _ = fold(Forked(game, Fork(8, at.seq)), config, 9, log[: at.seq])
    assert msgspec.structs.replace(state.inner, seed=3).seed == 3


def test_who_has_left_is_told_by_exit_kinds(game: Game) -> None:
    config, log = random_game(game, 9)
    left = exits(game, log)
    asked_last = {r.seat: r.seq for r in log if isinstance(r, Decision)}
    assert set(left) <= set(range(config.n_players))
    assert bool(left) == bool(game.exit_kinds)
    assert asked_last


def test_belief_targets_ask_for_roles_that_are_dealt_in_words_that_the_game_has(game: Game) -> None:
    config, log = random_game(game, 10)
    words = game.text.words_of(config, log)
    dealt = {fact.role for fact in game.seats(config, log)}
    assert set(game.text.role_words(config, words)) == dealt
    for target in game.belief_targets:
        assert words.term(target.name) in game.text.words_in(config)
    first = game.belief_targets[0]
    assert dealt & set(first.roles)
    assert first.p(dict.fromkeys(first.roles, 0.25)) == pytest.approx(0.25 * len(first.roles))
    assert first.p({}) == 0


def test_the_sides_are_that_of_the_guilty_and_the_one_against_it(game: Game) -> None:
    config, log = random_game(game, 10)
    facts, guilty = game.seats(config, log), game.belief_targets[0].roles
    assert {fact.faction for fact in facts if fact.role in guilty} == {game.sides[0]}
    assert game.sides[1] in {fact.faction for fact in facts} - {game.sides[0]}


def test_namings_are_decisions_for_a_seat_that_the_game_asks(game: Game) -> None:
    _, log = random_game(game, 10)
    for kind in game.namings:
        made = [r for r in log if isinstance(r, Decision) and r.kind == kind]
        assert made
        assert all(r.action.option in r.options for r in made)


def test_beliefs_are_asked_before_decisions_that_the_game_has(game: Game) -> None:
    _, log = random_game(game, 10)
    assert set(game.belief_moments) <= {r.kind for r in log if isinstance(r, Decision)}
    assert game.belief_moments


def test_what_partners_choose_in_secret_others_do_not_see(game: Game) -> None:
    config, log = random_game(game, 3)
    facts = game.seats(config, log)
    chosen = [r for r in log if isinstance(r, Decision) and r.kind == game.secret_choice]
    assert bool(chosen) == bool(game.secret_choice)
    assert all(facts[r.seat].faction == game.sides[0] for r in chosen)
    private = {r.kind for r in log if isinstance(r, Event) and r.audience is not None}
    assert not chosen or game.secret_choice in private
    assert game.private_talk(config) == bool(private & set(game.speech_kinds))


def test_statements_are_of_the_typed_acts_in_the_log(game: Game) -> None:
    config, log = random_game(game, 11)
    acts = {(r.seq, i): r.seat for r in log if isinstance(r, Decision) for i, _ in enumerate(r.action.acts)}
    assert {(s.seq, s.act): s.speaker for s in game.statements(config, log)} == acts


def test_a_name_that_leads_to_no_game_is_refused_with_the_reason(monkeypatch) -> None:
    with pytest.raises(ValueError, match=r"no game is called 'poker'; there are: .*werewolf"):
        load_game("poker")
    monkeypatch.setitem(GAMES, "chess", "tests.nowhere:GAME")
    with pytest.raises(ValueError, match=r"'chess' cannot be had from 'tests.nowhere:GAME': .*nowhere"):
        load_game("chess")
    monkeypatch.setitem(GAMES, "mafia", "games.werewolf:GAME")
    with pytest.raises(ValueError, match=r"calls itself 'werewolf'; it is registered as 'mafia'"):
        load_game("mafia")


def test_a_name_in_a_run_folder_is_never_taken_for_a_path(tmp_path, monkeypatch) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('this code was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"no game is called 'evil:GAME'"):
        load_game("evil:GAME")


def test_an_installed_package_brings_its_game_by_an_entry_point(tmp_path, monkeypatch) -> None:
    info = tmp_path / "coins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: coins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wolfscope.games]\ncoin2 = tests.fixtures.extending.coin:GAME\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="calls itself 'coin'; it is registered as 'coin2'"):
        load_game("coin2")


def test_reading_counts_what_it_names_and_holds_acts_against_the_engine(game: Game) -> None:
    config, log = random_game(game, 5)
    reading = game.reading(config)
    if reading is None:  # the game is not analysed
        return
    roles = [fact.role for fact in game.seats(config, log)]
    dealt = {role for target in game.belief_targets for role in target.roles} & set(roles)
    told = {(s.seq, s.act): s for s in game.statements(config, log)}
    held = 0
    for record in log:
        if isinstance(record, Event):
            reading.see(record)
            continue
        viewer = record.seat
        assert viewer in reading.living
        posterior = reading.posterior(viewer)
        assert posterior[viewer][roles[viewer]] == pytest.approx(1)
        for subject, p in enumerate(posterior):
            assert sum(p.values()) == pytest.approx(1) and p[roles[subject]] > 0
        assert list(reading.counts(viewer, viewer)) == list(reading.features)
        for place, act in enumerate(record.action.acts if record.kind in reading.spoken else ()):
            engine, truth = told[record.seq, place], reading.holds(act, viewer, roles)
            p_act = reading.p_of(act, viewer)
            assert (truth is None) == (engine.is_false is None) == (p_act is None)
            if truth is not None and p_act is not None:
                held += 1
                assert truth == (not engine.is_false) and (p_act == 0) == engine.knows_false
    assert held and dealt
    assert set(reading.outcomes(log)) == set(reading.foretold)
