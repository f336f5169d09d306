"""What a small model of Avalon learns from: texts in its own words, and what the observer and the teachers say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from agents.avalon.lessons import make_tokenizer, views
from agents.avalon.lessons.games import MIX, MIXTURE, game_with_options, scripted_game
from agents.avalon.lessons.questions import Expected, belief_questions, cuts
from agents.avalon.lessons.soft_targets import turns
from agents.avalon.observer import Observer
from agents.lessons import View, decisions, lessons_of, played
from agents.llm.transcript_context import document
from agents.policies import players_of
from games import load_game
from games.avalon import GAME
from games.avalon.presets import configure
from games.avalon.roles import EVIL
from games.seat_view.views import see

PROGRESS = (0.1, 0.35, 0.6, 2.0)
"""The openings, the change to the seats' views, and what comes after."""


def some(progress: float, lexicon: str = "classic") -> list[View]:
    return list(itertools.chain(*(views(i, 7, progress, lexicon, 1.0) for i in range(4))))


@pytest.mark.parametrize("lexicon", ["classic", "nonsense"])
def test_the_tokenizer_knows_every_word_of_every_text_and_question(lexicon: str) -> None:
    tokenizer = make_tokenizer((lexicon,))
    for view in itertools.chain(*(some(progress, lexicon) for progress in PROGRESS)):
        asked = [f"{f.viewer} believes {q} {' '.join(a)}" for f in view.forks for q, a in f.asked]
        answers = [turn.given + text for turn in view.turns for text, _ in turn.answers]
        for text in (*view.lines, *asked, *answers):
            assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"], text


def test_a_text_is_a_function_of_its_game_and_all_rule_sets_occur() -> None:
    assert views(3, 7, 2.0, "classic", 1.0) == views(3, 7, 2.0, "classic", 1.0)
    assert views(3, 7, 2.0, "classic", 1.0) != views(4, 7, 2.0, "classic", 1.0)
    roles = {
        views(i, 7, 0.1 if i % 2 else 0.41, "classic", 1.0)[0].lines[0].partition("Roles")[2]
        for i in range(12)
    }
    assert len(roles) == len(MIX)


def test_the_openings_state_every_role_that_they_ask_for() -> None:
    for view in some(0.1):
        told = {
            line.split()[1]: line.split()[2].rstrip(".") for line in view.lines if line.startswith("You: ")
        }
        [fork] = view.forks
        assert {name: {told[name]: 1.0} for name, _ in fork.asked} == dict(fork.asked)
        assert len(fork.asked) == len(told) - 1


def test_no_question_is_asked_where_the_share_of_beliefs_is_none() -> None:
    for progress in PROGRESS:
        assert not any(view.forks for i in range(4) for view in views(i, 7, progress, "classic", 0.0))


def test_a_seat_answers_with_what_the_observer_believes_that_saw_what_the_seat_saw() -> None:
    config = configure("avalon-5")
    log = scripted_game(config, 11)
    seat, points = 2, cuts(log, 5, 3)
    forks = belief_questions(log, seat, config, points, Expected(log, config, points))
    for point, fork in zip(sorted(points), forks, strict=True):
        observer = Observer("exact", config, MIXTURE)
        for record in see(log[:point], seat):
            observer.update(record)
        p = observer.p_evil(seat)
        names = [fact.name for fact in GAME.seats(config, log)]
        for name, answer in fork.asked:
            assert sum(answer.values()) == pytest.approx(1.0)
            said = sum(x for role, x in answer.items() if role in EVIL)
            assert said == pytest.approx(p[names.index(name)], abs=1e-9)


def test_what_a_seat_did_is_among_what_its_player_might_have_done() -> None:
    config = configure("avalon-7")
    log, options = game_with_options(config, 3)
    for seat in range(config.n_players):
        expected = Expected(log, config, [point for point, _ in decisions(log, seat)])
        lines = document(GAME.text, log, seat, config)
        found = turns(log, seat, config, options[seat], expected)
        assert len(found) == len(decisions(log, seat)) > 0
        for turn in found:
            assert sum(p for _, p in turn.answers) == pytest.approx(1.0)
            assert lines[turn.line] in [turn.given + text for text, _ in turn.answers]


def test_good_seats_are_taught_to_send_clean_teams_and_merlin_to_do_as_its_teachers() -> None:
    config = configure("avalon-5")
    log, options = game_with_options(config, 4)
    for seat, fact in enumerate(GAME.seats(config, log)):
        points = [point for point, _ in decisions(log, seat)]
        expected = Expected(log, config, points)
        found = turns(log, seat, config, options[seat], expected)
        if fact.role == "merlin" or fact.faction == "evil":
            assert not any(turn.advantage_weights for turn in found)
            continue
        for (point, decision), turn in zip(decisions(log, seat), found, strict=True):
            believed = expected.beliefs[point][seat][:, [r in EVIL for r in expected.roles]].sum(1)
            accused = list(turn.advantage_weights["accuse"].values())
            assert np.argsort(accused, kind="stable").tolist() == np.argsort(believed, kind="stable").tolist()
            if decision.kind == "vote" and not expected.last[point]:
                better = "approve" if expected.clean[point][seat] > 0.5 else "reject"
                assert (
                    max(turn.advantage_weights["votes"], key=turn.advantage_weights["votes"].__getitem__)
                    == better
                )


@pytest.mark.parametrize("name", ["werewolf", "avalon"])
def test_lessons_say_what_the_exact_observer_believes_in_every_seats_place(name: str) -> None:
    game, lessons = load_game(name), lessons_of(name)
    config = game.configure()
    players = players_of(game)
    seats = [players.make_policy("p", players.policies()[0], {})] * config.n_players
    log, _ = played(game, config, 5, seats, lambda options, seen: options[0][0])
    roles, p = lessons.exact_beliefs(log, config)
    assert p.shape == (config.n_players, config.n_players, len(roles))
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-6)
    for seat, fact in enumerate(game.seats(config, log)):
        assert p[seat, seat, roles.index(fact.role)] == pytest.approx(1)
