"""The exact observer of Avalon against brute force, in first and second order, and what it refuses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from agents.avalon.observer import (
    RUNGS,
    Impossible,
    Observer,
    Unmodelled,
    all_second_order,
    second_order_beliefs,
    trajectories,
)
from games.avalon import GAME
from games.avalon.config import AvalonConfig
from games.avalon.presets import configure
from games.avalon.roles import ROLES, side_of
from games.avalon.worlds import deals
from games.records import Decision, Event, Record
from games.seat_view.views import see
from tests.fixtures.avalon_brute import Brute
from tests.fixtures.avalon_games import scripted_game

STYLES = ("truthful", "deep", "reckless")
MIX = dict.fromkeys(STYLES, 1.0)


def quiet(preset: str, **settings: object) -> AvalonConfig:
    return configure(preset, **{"discussion": "none", "talk_before": ()} | settings)


def played(config: AvalonConfig, seed: int, styles: Sequence[str] = STYLES) -> list[Record]:
    rng = random.Random(seed)
    return scripted_game(config, seed, [rng.choice(styles) for _ in range(config.n_players)])


def missions(log: Sequence[Record]) -> list[int]:
    """The indices just after each mission's result."""
    return [i + 1 for i, r in enumerate(log) if isinstance(r, Event) and r.kind == "mission"]


def fed(config: AvalonConfig, log: Sequence[Record], kind: str = "exact", **settings: object) -> Observer:
    observer = Observer(kind, config, MIX if kind == "exact" else None, **settings)
    for record in log:
        observer.update(record)
    return observer


@pytest.mark.parametrize(
    ("preset", "n_worlds", "n_choices"),
    [("resistance-5", 10, 0), ("avalon-5", 60, 0), ("avalon-6", 120, 0), ("avalon-7", 2520, 0)],
)
def test_every_deal_is_a_world(preset: str, n_worlds: int, n_choices: int) -> None:
    config = configure(preset)
    worlds = deals(config.decks)
    assert len(worlds) == len(np.unique(worlds, axis=0)) == n_worlds
    assert all(sorted(ROLES[r] for r in world) == sorted(config.decks) for world in worlds)


CASES = [
    (quiet("avalon-5"), 1),
    (configure("avalon-5", speech_rounds=1), 2),
    (configure("avalon-5", discussion="simultaneous", max_rejections=2), 3),
    (configure("avalon-5", discussion="free", free_per_seat=1, talk_before=("proposal",), hammer=True), 6),
    (quiet("custom", roles={"merlin": 1, "percival": 1, "servant": 1, "assassin": 1, "morgana": 1}), 5),
    (quiet("custom", roles={"merlin": 1, "servant": 2, "assassin": 1, "mordred": 1}), 7),
]


@pytest.mark.parametrize(("config", "seed"), CASES)
def test_first_order_beliefs_equal_brute_force(config: AvalonConfig, seed: int) -> None:
    log = played(config, seed)
    for cut in (missions(log)[1] if len(missions(log)) > 1 else missions(log)[0], len(log)):
        so_far = log[:cut]
        brute, observer = Brute(GAME, config, seed, so_far, STYLES), fed(config, so_far)
        truth = [facts.role for facts in GAME.seats(config, log)]
        for viewer in (None, *range(config.n_players)):
            p = brute.posterior(viewer, truth, cards_of(so_far, viewer))
            expected = np.array(
                [
                    [
                        sum(q for q, w in zip(p, brute.worlds, strict=True) if w[j] == role)
                        for role in observer.roles
                    ]
                    for j in range(config.n_players)
                ]
            )
            np.testing.assert_allclose(observer.beliefs(viewer), expected, atol=1e-9)
        np.testing.assert_allclose(observer.all_beliefs()[1], observer.beliefs(1))


def cards_of(log: Sequence[Record], viewer: int | None) -> list[bool]:
    """Whether the viewer failed each mission so far."""
    days = [r.day for r in log if isinstance(r, Event) and r.kind == "mission"]
    played_at = {
        r.day: r.action.option == 0
        for r in log
        if isinstance(r, Decision) and r.kind == "card" and r.seat == viewer
    }
    return [played_at.get(day, False) for day in days]


@pytest.mark.parametrize(("config", "seed"), [CASES[0], CASES[1], CASES[4]])
@pytest.mark.parametrize("about", ["evil", "merlin"])
def test_second_order_beliefs_equal_brute_force(config: AvalonConfig, seed: int, about: str) -> None:
    """Also over the secret cards that j may have played: what they tell j changes none of its beliefs about others."""
    log = played(config, seed)
    so_far = log[: missions(log)[0]]
    brute, observer = Brute(GAME, config, seed, so_far, STYLES), fed(config, so_far)
    truth = [facts.role for facts in GAME.seats(config, log)]
    n = config.n_players
    holds = np.array(
        [[(side_of(r) == "evil") if about == "evil" else r == "merlin" for r in w] for w in brute.worlds],
        dtype=float,
    )
    beliefs: dict[object, np.ndarray] = {}

    def belief(j: int, world: Sequence[str]) -> np.ndarray:
        held = brute.held(j, world)
        if (j, held) not in beliefs:
            found = []
            for cards in product((False, True), repeat=len(brute.missions)):
                good = side_of(world[j]) == "good"
                if any(
                    c and (good or j not in team) for c, (team, _) in zip(cards, brute.missions, strict=True)
                ):
                    continue
                with np.errstate(invalid="ignore"):
                    p = brute.posterior(j, world, cards) @ holds
                if not np.isnan(p).any():
                    found.append(p)
            assert all(np.allclose(p, found[0]) for p in found)
            beliefs[j, held] = found[0]
        return beliefs[j, held]

    for viewer in range(n):
        mine = brute.posterior(viewer, truth, cards_of(so_far, viewer))
        expected = np.zeros((n, n))
        for p, world in zip(mine, brute.worlds, strict=True):
            if p > 0:
                expected += p * np.stack(
                    [belief(j, world) if j != viewer else holds[0] * 0 for j in range(n)]
                )
        expected[viewer] = mine @ holds
        got = second_order_beliefs(observer, [viewer], about)[0]
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_what_a_seat_sees_is_enough_for_its_own_beliefs() -> None:
    config = configure("avalon-7")
    log = played(config, 3)
    whole = fed(config, log)
    for seat in range(7):
        alone = fed(config, see(log, seat))
        np.testing.assert_allclose(alone.beliefs(seat), whole.beliefs(seat))
        assert np.isnan(np.delete(alone.all_beliefs(), seat, 0)).all()
        assert np.isnan(np.delete(all_second_order(alone), seat, 0)).all()
        with pytest.raises(ValueError, match="no `role` event"):
            alone.beliefs((seat + 1) % 7)


def test_rules_observer_counts_cards_and_no_behaviour() -> None:
    config = quiet("avalon-5")
    log = played(config, 3)
    first = missions(log)[0]
    team, failures = (log[first - 1].data[k] for k in ("team", "failures"))
    observer = fed(config, log[:first], "rules")
    evil = observer.p_evil(None)
    assert failures == 1
    assert len(team) == 2
    # 7 of the 10 pairs of evil players have one or both of the two who went.
    assert evil[team[0]] == pytest.approx(4 / 7)
    inside = next(seat for seat in team if observer.role[seat] not in ("assassin", "minion"))
    other = next(seat for seat in team if seat != inside)
    assert observer.p_evil(inside)[other] == 1
    assert observer.approximations == ("rules: no behaviour is counted as evidence",)


def test_what_no_seat_can_be_told_apart_by_is_prior() -> None:
    config = configure("avalon-7")
    log = played(config, 3)
    start = [r for r in log if isinstance(r, Event)][:10]
    observer = fed(config, start)
    np.testing.assert_allclose(observer.p_evil(None), 3 / 7)
    np.testing.assert_allclose(observer.p_merlin(None), 1 / 7)
    roles = [facts.role for facts in GAME.seats(config, log)]
    percival, assassin = roles.index("percival"), roles.index("assassin")
    shown = [i for i, role in enumerate(roles) if role in ("merlin", "morgana")]
    np.testing.assert_allclose(observer.p_merlin(percival)[shown], 1 / 2)
    assert observer.p_merlin(assassin).max() == pytest.approx(1 / 4)
    assert observer.p_evil(roles.index("merlin")).round(9).tolist() == [
        float(side_of(role) == "evil") for role in roles
    ]


def test_beliefs_are_calibrated_over_many_games() -> None:
    """Over games of players drawn from the prior, seats called evil with probability p are evil with probability p."""
    config = quiet("avalon-5")
    p, is_evil = [], []
    for seed in range(60):
        log = played(config, seed)
        observer = fed(config, log[: missions(log)[0]])
        roles = [facts.role for facts in GAME.seats(config, log)]
        servant = roles.index("servant")
        for j in range(5):
            if j != servant:
                p.append(observer.p_evil(servant)[j])
                is_evil.append(side_of(roles[j]) == "evil")
    p_, e = np.array(p), np.array(is_evil)
    for low, high in ((0.0, 0.4), (0.4, 0.7), (0.7, 1.01)):
        inside = (p_ >= low) & (p_ < high)
        error = np.sqrt((p_[inside] * (1 - p_[inside])).sum()) / inside.sum()
        assert abs(p_[inside].mean() - e[inside].mean()) < 4 * error


def test_every_rung_of_evidence_reads_better_than_the_one_below() -> None:
    config, losses = configure("avalon-5"), np.zeros(len(RUNGS))
    for seed in range(24):
        log = played(config, seed)
        evil = np.array([side_of(fact.role) == "evil" for fact in GAME.seats(config, log)])
        end = missions(log)[1]
        for rung in range(len(RUNGS)):
            settings = {"rung": rung} if rung else {}
            observer = fed(config, log[:end], "exact" if rung else "rules", **settings)
            p = np.clip(observer.p_evil(None), 1e-6, 1 - 1e-6)
            losses[rung] -= float(np.log(np.where(evil, p, 1 - p)).sum())
    assert (np.diff(losses) < 0).all(), losses


def test_the_highest_rung_is_the_exact_observer_and_others_say_that_they_leave_something_out() -> None:
    config = configure("avalon-5")
    log = played(config, 3)
    whole = fed(config, log, rung=len(RUNGS) - 1)
    np.testing.assert_array_equal(whole.p_evil(None), fed(config, log).p_evil(None))
    assert "left out" in fed(config, [], rung=1).approximations[0]
    with pytest.raises(ValueError, match="no rung 0"):
        Observer("exact", config, MIX, rung=0)


def test_a_fork_goes_its_own_way() -> None:
    config = quiet("avalon-5")
    log = played(config, 1)
    cut = missions(log)[0] - 1
    observer = fed(config, log[:cut])
    before = observer.beliefs(None)
    fork = observer.fork()
    for record in log[cut:]:
        fork.update(record)
    np.testing.assert_array_equal(observer.beliefs(None), before)
    np.testing.assert_allclose(fork.beliefs(None), fed(config, log).beliefs(None))


def test_trajectories_hold_the_beliefs_after_every_public_event() -> None:
    config = quiet("avalon-5")
    log = played(config, 2)
    course = trajectories(Observer("exact", config, MIX), log)
    public = [r for r in log if isinstance(r, Event) and r.audience is None and r.kind != "setup"]
    assert course.seq.tolist() == [r.seq for r in public]
    np.testing.assert_allclose(course.p[-1], fed(config, log).all_beliefs())


def test_what_it_does_not_model_is_refused_by_name() -> None:
    with pytest.raises(Unmodelled, match="'oberon'"):
        Observer("exact", configure("avalon-10"))
    rules = fed(configure("avalon-10"), played(configure("avalon-10"), 1, ["random"]), "rules")
    assert rules.p_evil(None).sum() == pytest.approx(4)
    with pytest.raises(Unmodelled, match="'oberon'"):
        all_second_order(rules)
    four = configure("custom", roles={"servant": 6, "minion": 4})
    assert Observer("exact", four).approximations == ()
    with pytest.raises(Unmodelled, match="give a mix of fewer"):
        Observer("exact", four, dict.fromkeys(many_styles(), 1.0))
    with pytest.raises(ValueError, match="use 'exact' or 'rules'"):
        Observer("fitted", four)
    with pytest.raises(ValueError, match="no scripted player of avalon is called 'wolf'"):
        Observer("exact", quiet("avalon-5"), {"wolf": 1.0})


def many_styles() -> list[object]:
    from agents.avalon.styles import Style

    return [Style(fail=k / 40) for k in range(22)]


def test_acts_of_no_policy_are_impossible_without_a_lapse() -> None:
    config = configure("avalon-5")
    log = played(config, 3, ["random"])
    odd = Event(999, "silence", None, 1, "vote", 0, value="over")
    strict = fed(config, [*log, odd])
    with pytest.raises(Impossible, match="no deal explains"):
        strict.beliefs(None)
    loose = fed(config, [*log, odd], lapse=0.02)
    assert np.isfinite(loose.beliefs(None)).all()
