"""What the observers believe, against brute force, against the truth over many games, and along the evidence ladder."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from agents.werewolf.bayesian import Bayesian
from agents.werewolf.lessons.games import MIXTURE
from agents.werewolf.lessons.games import scripted_game as trained_on
from agents.werewolf.observer import (
    Impossible,
    Observer,
    TooLarge,
    belief_shift,
    fit,
    second_order_beliefs,
    trajectories,
    truthful,
)
from agents.werewolf.scripted import Scripted
from agents.werewolf.styles import STYLES
from games import chance, load_game
from games.play import Answer, observe, play
from games.records import Decision, Event, Reply, Request, SpeechAct
from games.werewolf.evidence import Evidence
from games.werewolf.presets import NAMES
from games.werewolf.rules import check_legal
from harness.config.sections import AgentSection
from harness.play.factory import make_agent
from tests.fixtures.brute_observer import Brute, private_of

GAME = load_game("werewolf")
EVERYBODY = (*STYLES, "random")
TOO_LARGE = ("aiwolf-13", "secretmafia-14", "secretmafia-15")
UNMODELLED = ("mini-mafia-4",)  # a night in which nobody chooses
LARGE = tuple(f"secretmafia-{n}" for n in range(10, 14))
EVEN = dict.fromkeys(EVERYBODY, 1.0)


def scripted_game(config, seed, mix=EVERYBODY):
    """The whole log of a game of scripted players drawn evenly from `mix`, and the character of each seat."""
    drawn = [mix[i] for i in np.random.default_rng(seed).integers(0, len(mix), config.n_players)]
    players = [Scripted(name, name) for name in drawn]
    loop = play(GAME, config, seed)
    step, log = next(loop), []
    while True:
        log += step.new
        if not step.requests:
            return log, drawn
        seen = [observe(GAME, "g", config, seed, log, request) for request in step.requests]
        step = loop.send(
            [Answer(Reply(players[r.seat].choose(o))) for r, o in zip(step.requests, seen, strict=True)]
        )


def custom(roles, **settings):
    return GAME.configure(preset="custom", roles=roles, **settings)


SHOWN = {"reveal_night": "role", "reveal_day": "role"}
TINY = {
    "seer": (custom({"werewolf": 1, "seer": 1, "villager": 3}, **SHOWN), ("claimer", "random")),
    "pack": (custom({"werewolf": 2, "villager": 4}, ballot_abstain=True), ("claimer", "busser")),
    "pack and seer": (
        custom(
            {"werewolf": 2, "seer": 1, "villager": 2},
            first_night="inspect_only",
            seer_repeats=True,
            tie="random",
        ),
        ("claimer", "random"),
    ),
    "doctor": (
        custom({"werewolf": 1, "seer": 1, "doctor": 1, "villager": 1}, doctor_repeats=False, **SHOWN),
        ("naive", "random"),
    ),
    "hidden doctor": (
        custom({"werewolf": 1, "doctor": 1, "villager": 3}, doctor_self=False),
        ("loud", "random"),
    ),
    "witch": (
        custom(
            {"werewolf": 1, "witch": 1, "villager": 2},
            night_order=(("night_kill",), ("witch",)),
            reveal_day="species",
        ),
        ("claimer", "bluffer", "random"),
    ),
    "possessed": (
        custom(
            {"werewolf": 1, "possessed": 1, "seer": 1, "villager": 2},
            seer_learns="faction",
            first_night="inspect_only",
            discussion="free",
            free_per_seat=1,
            kill_targets="anyone",
            ballot_self=True,
            revotes=1,
            tie="random",
        ),
        ("claimer", "random"),
    ),
    "hunter and medium": (
        custom({"werewolf": 1, "hunter": 1, "medium": 1, "villager": 2}, tie="random", seer_learns="species"),
        ("claimer", "loud"),
    ),
    "masons": (custom({"werewolf": 1, "mason": 2, "villager": 2}, last_words="all"), ("bluffer", "cautious")),
    "mayor and channel": (
        custom(
            {"werewolf": 2, "villager": 4},
            night_order=(("chat",), ("night_kill",)),
            chat_until_agree=True,
            chat_rounds=2,
            mayor=True,
            ballot="sequential",
            **SHOWN,
        ),
        ("claimer", "random"),
    ),
    "one hand": (
        custom({"werewolf": 2, "villager": 4}, kill_rule="one_random", edge_kill=True, tie="random"),
        ("busser", "random"),
    ),
}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("seed", [1])
def test_exact_observer_equals_brute_force_in_first_and_second_order(name, seed):
    config, mix = TINY[name]
    log, styles = next(
        (log, styles)
        for log, styles in (scripted_game(config, 100 * seed + i, mix) for i in range(50))
        if sum(isinstance(r, Event) and r.kind in ("speech", "ballot") for r in log) > 5
    )
    prior = {style: 1.0 + i for i, style in enumerate(mix)}
    total = sum(prior.values())
    observer = Observer("exact", config, prior)
    brute = Brute(config, mix, [prior[style] / total for style in mix])
    checked = 0
    for i, record in enumerate(log):
        dead = []
        for later in log[i + 1 :]:  # the dead of the night that `record` opens
            if not (isinstance(later, Event) and later.kind == "death"):
                break
            dead.append(later.target)
        observer.update(record)
        brute.update(record, dead)
        if not isinstance(record, Event) or record.kind not in (
            "no_death",
            "speech",
            "ballot",
            "exile",
            "outcome",
        ):
            continue
        for viewer in range(config.n_players):
            private = private_of(config, log[: i + 1], viewer)
            if record.kind == "exile" and "medium" in config.roles:
                continue  # a medium is told in the next record what brute force counts with the exile
            style = mix.index(styles[viewer])
            expected = brute.mine(viewer, private, style) @ brute.wolves()
            np.testing.assert_allclose(observer.p_werewolf(viewer), expected, atol=1e-9, rtol=0)
            if checked % 9 == 4:
                found = observer.p_characters(viewer)
                others = np.arange(config.n_players) != viewer
                weights = brute.mine(viewer, private, style)
                np.testing.assert_allclose(
                    found[others], (brute.characters() @ weights)[others], atol=1e-9, rtol=0
                )
                assert np.isnan(found[viewer]).all()
            if checked % 9 == 0:
                np.testing.assert_allclose(
                    second_order_beliefs(observer, viewer),
                    brute.second_order(viewer, private, style),
                    atol=1e-9,
                    rtol=0,
                )
            checked += 1
    assert checked > 10


def auroc(y, p):
    """Area under the ROC curve, ties counted half."""
    y, p = np.asarray(y, dtype=bool), np.asarray(p)
    wins = (p[y][:, None] > p[~y][None, :]).mean() + 0.5 * (p[y][:, None] == p[~y][None, :]).mean()
    return float(wins)


def scores(observers, logs, config):
    """What each observer believes from plain villagers' views of living unrevealed others after each day's ballots.

    Returns truth, day, and name -> probability, one entry for each (game, day, viewer, subject).
    """
    truth, day, out = [], [], {name: [] for name in observers}
    for log in logs:
        roles = next(r for r in log if isinstance(r, Event) and r.kind == "deal").data["roles"]
        for name, make in observers.items():
            observer = make()
            t = trajectories(observer, log)
            wolf = observer.roles.index("werewolf")
            for d in np.unique(t.day):
                rows = [i for i in range(len(t.seq)) if t.day[i] == d and t.kind[i] == "ballot"]
                for v in range(config.n_players) if rows else ():
                    if roles[v] != "villager" or not t.alive[rows[-1], v]:
                        continue
                    for k in np.flatnonzero(t.alive[rows[-1]] & ~t.revealed[rows[-1]]):
                        if k != v:
                            out[name].append(t.p[rows[-1], v, k, wolf])
                            if name == next(iter(observers)):
                                truth.append(roles[k] == "werewolf")
                                day.append(d)
    return np.array(truth), np.array(day), {name: np.array(p) for name, p in out.items()}


def counted(log, config):
    """Event counts of each (viewer, subject) in the order of `scores`: `(n_rows, n_features)` and the truth."""
    roles = next(r for r in log if isinstance(r, Event) and r.kind == "deal").data["roles"]
    seen, at = Evidence.empty(config.n_players), {}
    for record in log:
        seen.add(record)
        if isinstance(record, Event) and record.kind == "ballot":
            tables = [np.array(x) for x in (seen.accusations, seen.defences, seen.questions, seen.ballots)]
            claims = np.array(
                [[claim is not None, bool(seen.reports.get(i))] for i, claim in enumerate(seen.claims)]
            )
            reported = np.array([[sum(r.get(i) is side for r in seen.reports.values()) for side in (True, False)]
                                 for i in range(seen.n)])  # fmt: skip
            made = np.stack([f(x) for x in tables for f in (lambda m: m.sum(1), lambda m: m.sum(0))], axis=1)
            rows, truth = [], []
            for v in range(seen.n):
                for k in range(seen.n):
                    if roles[v] == "villager" and seen.alive[v] and seen.alive[k] and k != v:
                        pair = [x[k, v] for x in tables] + [x[v, k] for x in tables]
                        rows.append([1.0, seen.day, *made[k], *claims[k], *reported[k], *pair])
                        truth.append(roles[k] == "werewolf")
            at[record.day] = (rows, truth)
    return [row for rows, _ in at.values() for row in rows], [y for _, truth in at.values() for y in truth]


def event_counts(train, test, config):
    """Scores of a least-squares probe of event counts, fitted on other games."""
    x, y = (
        np.concatenate(part)
        for part in zip(*[counted(log, config) for log in train if counted(log, config)[0]])
    )
    weights = np.linalg.lstsq(x.T @ x + np.eye(x.shape[1]), x.T @ y, rcond=None)[0]
    rows = [counted(log, config) for log in test]
    return np.concatenate([r for r, _ in rows if r]) @ weights, np.concatenate([t for _, t in rows])


@pytest.fixture(scope="module")
def measured():
    config = GAME.configure(preset="classic-7")
    logs = [scripted_game(config, seed)[0] for seed in range(50)]
    train = [scripted_game(config, 10_000 + seed)[0] for seed in range(60)]
    fitted = fit([(config, log) for log in train[:30]], sweeps=1)
    observers = {
        "exact": lambda: Observer("exact", config, EVEN),
        "fitted": lambda: Observer("fitted", config, fitted=fitted),
        "rules": lambda: Observer("rules", config),
        **{f"rung {r}": (lambda r=r: Observer("exact", config, EVEN, rung=r)) for r in (1, 2, 3)},
    }
    truth, day, p = scores(observers, logs, config)
    p["counts"], again = event_counts(train, logs, config)
    assert (again == truth).all()
    return truth, day, p


def test_exact_beliefs_are_calibrated(measured):
    truth, _, p = measured
    bins = np.minimum((p["exact"] * 8).astype(int), 7)
    gaps = [
        abs(p["exact"][bins == b].mean() - truth[bins == b].mean()) * (bins == b).mean() for b in set(bins)
    ]
    assert sum(gaps) < 0.06
    brier = {name: ((q - truth) ** 2).mean() for name, q in p.items()}
    assert min(brier, key=brier.get) == "exact"


def test_exact_beats_fitted_and_fitted_beats_the_rules(measured):
    truth, day, p = measured
    print("\nAUROC of `subject is a werewolf`, plain villagers' views, living unrevealed subjects, classic-7")
    for name, q in p.items():
        print(f"{name:8}", *(f"day {d}: {auroc(truth[day == d], q[day == d]):.3f}" for d in (1, 2)))
    area = {name: auroc(truth, q) for name, q in p.items()}
    assert area["exact"] > area["fitted"] - 0.01
    assert area["fitted"] > area["rules"] + 0.15
    assert area["exact"] > area["counts"] + 0.05 > area["rules"] + 0.05
    # Wanted between 0.65 and 0.9: something is left to infer. 50 games leave an uncertainty of about 0.04.
    assert 0.65 - 0.04 < auroc(truth[day == 1], p["exact"][day == 1]) < 0.9 + 0.04


def test_every_rung_of_the_ladder_tells_more(measured):
    truth, _, p = measured
    area = [auroc(truth, p[name]) for name in ("rules", "rung 1", "rung 2", "rung 3", "exact")]
    assert all(lower < higher for lower, higher in pairwise(area))


def test_fitting_finds_the_habits_of_the_players():
    config = GAME.configure(preset="probe-6")
    logs = [(config, scripted_game(config, seed, ("loud",))[0]) for seed in range(60)]
    fitted = fit(logs)
    for name in ("accuse", "announce", "wolf_accuse", "wolf_defend"):
        assert abs(getattr(fitted.style, name) - getattr(STYLES["loud"], name)) < 0.09
    assert fitted.lapse < 0.05
    assert fitted.n_games == 60


@pytest.mark.parametrize("preset", [p for p in NAMES if p not in (*TOO_LARGE, *UNMODELLED)])
def test_every_tractable_preset_is_read_to_its_end(preset):
    config = GAME.configure(preset=preset, **({"max_days": 1} if preset in LARGE else {}))
    log, _ = scripted_game(config, 1)
    for kind in ("exact", "rules"):
        observer = Observer(kind, config)
        t = trajectories(observer, log)
        np.testing.assert_allclose(t.p.sum(-1), 1.0, atol=1e-9)
        np.testing.assert_allclose(
            t.p.sum(2), [[list(config.roles.values())] * config.n_players] * len(t.seq), atol=1e-9
        )
        roles = next(r for r in log if isinstance(r, Event) and r.kind == "deal").data["roles"]
        assert {i for i, q in enumerate(observer.p_werewolf(None)) if q > 1 - 1e-9} <= {
            i for i, role in enumerate(roles) if role == "werewolf"
        }
    second = second_order_beliefs(observer, 0)
    np.testing.assert_allclose(second.sum(1), config.roles["werewolf"], atol=1e-9)


@pytest.mark.parametrize("preset", TOO_LARGE)
def test_a_game_that_is_too_large_is_refused_with_the_reason(preset):
    with pytest.raises(TooLarge, match=r"use fewer|at most 3"):
        Observer("exact", GAME.configure(preset=preset))


def test_one_seats_view_gives_that_seats_beliefs():
    config = GAME.configure(preset="classic-7")
    log, _ = scripted_game(config, 4)
    whole, part = Observer("exact", config), Observer("exact", config)
    for record in log[: len(log) // 2]:
        whole.update(record)
        if isinstance(record, Event) and (record.audience is None or 3 in record.audience):
            part.update(record)
    np.testing.assert_array_equal(whole.beliefs(3), part.beliefs(3))
    with pytest.raises(ValueError, match="seat 2 has no `role` event"):
        part.beliefs(2)


def test_exact_refuses_acts_that_no_scripted_player_makes():
    config = GAME.configure(preset="classic-7")
    log, _ = scripted_game(config, 4)
    cut = next(i for i, r in enumerate(log) if isinstance(r, Event) and r.kind == "speech")
    exact, rules = Observer("exact", config), Observer("rules", config)
    for record in log[:cut]:
        exact.update(record)
        rules.update(record)
    strange = msgspec.structs.replace(log[cut], acts=(SpeechAct("deny", role="werewolf"),))
    before = rules.p_werewolf(None)
    rules.update(strange)
    np.testing.assert_array_equal(rules.p_werewolf(None), before)
    with pytest.raises(Impossible, match="use kind='rules' or 'fitted'"):
        exact.update(strange)


def test_what_is_not_exact_is_named():
    assert Observer("exact", GAME.configure(preset="classic-7")).approximations == ()
    named = Observer("exact", GAME.configure(preset="arena-8")).approximations
    assert len(named) == 2 and all("hidden" in text for text in named)


def test_a_seer_claim_shifts_belief_towards_the_reported_and_forks_leave_the_observer_alone():
    config = GAME.configure(preset="classic-7")
    log, _ = scripted_game(config, 4, ("naive",))
    cut = next(i for i, r in enumerate(log) if isinstance(r, Event) and r.kind == "speech")
    observer = Observer("exact", config, {"naive": 1.0, "loud": 1.0})
    for record in log[:cut]:
        observer.update(record)
    speaker = log[cut].actor
    accused = next(j for j in range(7) if observer.seen.alive[j] and j != speaker)
    lie = (SpeechAct("claim_role", role="seer"), SpeechAct("report_inspection", accused, "werewolf"))
    utterance = msgspec.structs.replace(log[cut], acts=lie)
    before = observer.p_werewolf(None)
    roles = ["villager"] * 7
    roles[speaker] = "werewolf"
    living = [j for j in range(7) if observer.seen.alive[j]]
    shift = belief_shift(observer, utterance, None, truthful(roles, speaker, living))
    np.testing.assert_array_equal(observer.p_werewolf(None), before)
    assert shift.change[accused] > 0.05
    assert shift.change[speaker] < 0
    assert shift.nats > 0
    assert shift.alternatives.shape == (len(living), 7)
    assert shift.advantage([speaker]) > 0.05  # the lie served the werewolf better than the truth


def test_the_bayesian_player_states_legal_complete_distributions_and_votes_for_the_most_suspect():
    config = GAME.configure(preset="classic-7")
    player = Bayesian("bayesian")
    log, _ = scripted_game(config, 4)
    seen = 0
    for i, record in enumerate(log):
        if not isinstance(record, Decision) or seen > 40:
            continue
        speaks = record.kind in ("speech", "last_words")
        request = Request(record.seat, record.kind, record.options, speaks, record.day, record.phase)
        observation = observe(GAME, "g", config, 4, log[:i], request)
        stated = player.distribution(observation)
        assert abs(sum(p for _, p in stated) - 1) < 1e-9
        for action, p in stated:
            assert p >= 0
            check_legal(request, request.seat, request.kind, action, 7)
        seen += 1
        if record.kind == "ballot":
            observer = Observer("exact", config, lapse=0.02)
            for r in observation.records:
                observer.update(r)
            p = observer.p_werewolf(record.seat)
            if observer.role[record.seat] != "werewolf" and max(p) > 0.6:
                best = max(stated, key=lambda pair: pair[1])[0].option
                assert p[best] == max(p[[j for j in record.options if j >= 0]])
    assert seen > 20


def test_the_policy_name_bayesian_seats_the_bayesian_player():
    section = AgentSection(kind="scripted", policy="bayesian", settings={"sharpness": 1.0})
    player = make_agent(
        "b", SimpleNamespace(agents={"b": section}, game=SimpleNamespace(name="werewolf")), {}
    )
    assert isinstance(player, Bayesian)
    assert player.sharpness == 1.0


def test_who_reports_as_no_seer_can_is_no_seer():
    """A scripted seer tells all that it inspected; this player tells one result after two nights."""
    config = GAME.configure(preset="classic-7")
    log = trained_on(config, chance.key(1 << 40, "beliefs", 5) >> 1)
    observer = Observer("exact", config, MIXTURE)
    claimed = None
    for record in log:
        observer.update(record)
        if isinstance(record, Event) and record.kind == "speech" and record.day == 2 and claimed is None:
            claimed = record.actor if any(a.kind == "report_inspection" for a in record.acts) else None
        if claimed is not None:
            living = [i for i, alive in enumerate(observer.seen.alive) if alive and i != claimed]
            for viewer in living:
                assert observer.beliefs(viewer)[claimed, observer.roles.index("seer")] < 1e-9
                assert np.isfinite(second_order_beliefs(observer, viewer)[living]).all()
    assert claimed == 0
