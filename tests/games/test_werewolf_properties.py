"""What holds in every game of Werewolf, under all presets and random rule sets."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from games import chance
from games.play import Answer, Step, fold, observe, play, stamp, waves
from games.records import NOBODY, Action, Decision, Event, Record, Reply, Request, visible
from games.werewolf import GAME
from games.werewolf.config import WerewolfConfig
from games.werewolf.discussion import SPEAK
from games.werewolf.presets import NAMES, configure
from games.werewolf.roles import faction_of
from tests.fixtures.random_games import random_game, view, views_of
from tests.fixtures.werewolf_configs import configs, seeds


@settings(max_examples=100)
@given(configs(), seeds(), st.integers(0, 1000))
def test_every_game_ends_and_within_the_days_it_may_last(
    config: WerewolfConfig, seed: int, chooser: int
) -> None:
    log = random_game(config, seed, chooser)
    last = log[-1]
    assert isinstance(last, Event)
    assert last.kind == "outcome"
    assert last.day <= config.max_days
    assert [r.seq for r in log] == list(range(len(log)))


@settings(max_examples=100)
@given(configs(), seeds(), st.integers(0, 1000))
def test_a_win_is_declared_exactly_when_the_rules_say(
    config: WerewolfConfig, seed: int, chooser: int
) -> None:
    """The rules of victory once more, written over the log instead of the state."""
    log = random_game(config, seed, chooser)
    roles = GAME.seats(config, log)
    living, hunters, jester = set(range(config.n_players)), 0, False

    def won() -> str | None:
        wolves = sum(roles[i].role == "werewolf" for i in living)
        if jester:
            return "jester"
        if wolves == 0:
            return "village"
        if wolves >= len(living) - wolves:
            return "werewolf"
        if config.edge_kill and not any(roles[i].role == "villager" for i in living):
            return "werewolf"
        return None

    for r in log:
        if isinstance(r, Decision):
            # Whenever anybody is asked, and no shot of a dead hunter is still to come, nobody has won.
            assert hunters or won() is None
        elif r.kind in ("death", "exile", "shoot"):
            hunters -= r.kind == "shoot"
            if r.target != NOBODY:
                living.discard(r.target)
                hunters += roles[r.target].role == "hunter"
                jester = jester or (r.kind == "exile" and roles[r.target].role == "jester")
        elif r.kind == "outcome":
            assert r.value == (won() or "nobody")
            assert r.value != "nobody" or r.day == config.max_days
            winners = [i for i, facts in enumerate(roles) if facts.faction == r.value]
            if jester:
                winners = [
                    next(e.target for e in reversed(log) if isinstance(e, Event) and e.kind == "exile")
                ]
            assert r.data["winners"] == winners


@settings(max_examples=60)
@given(configs(), seeds(), st.integers(0, 1000))
def test_every_seat_receives_all_that_it_is_entitled_to(
    config: WerewolfConfig, seed: int, chooser: int
) -> None:
    log = random_game(config, seed, chooser)
    roles = [facts.role for facts in GAME.seats(config, log)]
    everyone = range(config.n_players)
    pack = {i for i in everyone if roles[i] == "werewolf"}
    seen = [view(config, log, i)[0] for i in everyone]
    for seat in everyone:
        assert Counter(r.kind for r in seen[seat]) == Counter(r.kind for r in log if visible(r, seat))
        own = [r for r in seen[seat] if isinstance(r, Event) and r.kind == "role"]
        assert [(e.target, e.value) for e in own] == [(seat, roles[seat])]
    for r in log:
        if isinstance(r, Decision):
            continue
        audience = set(everyone) if r.audience is None else set(r.audience)
        if r.kind in (
            "setup",
            "phase",
            "death",
            "no_death",
            "exile",
            "shoot",
            "speech",
            "last_words",
            "outcome",
            "mayor",
        ):
            assert audience == set(everyone)
        elif r.kind in ("night_kill", "prey", "whisper"):
            assert audience == pack
        elif r.kind in ("inspect", "protect", "heal", "poison", "summary"):
            assert audience == {r.actor}
        elif r.kind == "sense":
            assert all(roles[i] == "medium" for i in audience)
        elif r.kind == "attacked":
            assert all(roles[i] == "witch" for i in audience)
        elif r.kind == "ballot":
            assert audience == (set(everyone) if config.ballot_public else set())
        elif r.kind in ("deal", "order", "draw", "saved", "bid", "shadow_ballot"):
            assert audience == set()


@settings(max_examples=40)
@given(configs(), seeds(), st.integers(0, 1000))
def test_incremental_views_equal_the_plain_ones(config: WerewolfConfig, seed: int, chooser: int) -> None:
    log = random_game(config, seed, chooser)
    views = views_of(config, log)
    for seat in range(config.n_players):
        request = Request(seat, "ballot", (0,))
        assert views.observation("g", seed, request) == observe(GAME, "g", config, seed, log, request)
        assert views.lines(seat) == GAME.transcript(log, seat, config)
        assert views.lines(seat) == GAME.transcript(views.records(seat), seat, config)


# --- no leaks -------------------------------------------------------------------------------------------------

Chooser = Callable[[Request, int], Action]


def steady(request: Request, nth: int) -> Action:
    """A choice that depends on what is asked, and for acts of the night and offices not on who is asked: the same acts
    happen whoever holds a role."""
    who = request.seat if request.kind in ("speech", "ballot", "bid", "candidacy", "shadow_ballot") else 0
    place = chance.key(who, request.kind, request.day, nth)
    text = f"words {place % 1000}" if request.speaks else ""
    if not request.options:
        return Action(text=text)
    option = max(request.options, key=lambda o: chance.key(o + 1, "steady", place))
    if request.kind == "speech" and option != SPEAK:
        text = ""
    return Action(option, text)


def steady_game(
    config: WerewolfConfig, seed: int, dealt: tuple[str, ...], change: tuple[int, int] | None = None
) -> tuple[list[Record], Decision | None]:
    """A game by `steady`; the hidden decision number change[0] takes another option (change[1]) or other words."""
    state, events = GAME.start(config, seed, dealt=dealt)
    log: list[Record] = list(events)
    asked: Counter[tuple[int, str, int]] = Counter()
    n_hidden, changed = 0, None
    while state.requests:
        wave = []
        for r in state.requests:
            nth = asked[r.seat, r.kind, r.day]
            asked[r.seat, r.kind, r.day] += 1
            action = steady(r, nth)
            mine = False
            if r.kind in HIDDEN or (r.kind == "ballot" and not config.ballot_public):
                if change is not None and n_hidden == change[0]:
                    mine = True
                    option = None
                    if r.options:
                        others = sorted(set(r.options) - {action.option}) or [action.option]
                        option = others[change[1] % len(others)]
                    action = Action(option, "other words" if r.speaks else "")
                n_hidden += 1
            wave.append(stamp(r, Answer(Reply(action)), len(log) + len(wave)))
            changed = wave[-1] if mine else changed
        state, events = GAME.apply(state, wave)
        log += [*wave, *events]
    return log, changed


HIDDEN = (
    *("night_kill", "inspect", "protect", "heal", "poison"),
    *("whisper", "bid", "shadow_ballot", "summary"),
)
FATE = {"death", "no_death", "exile", "outcome"}
REVEALED_BY = {
    "night_kill": FATE,
    "protect": FATE,
    "heal": FATE,
    "poison": FATE,
    "whisper": FATE,  # a proposal can settle the target
    "ballot": FATE | {"tie", "tie_break"},
    "bid": {"speech"},
}
"""By which records the rules let others notice what was chosen; nothing ever shows the rest."""


def first_difference(a: tuple[Record, ...], b: tuple[Record, ...]) -> tuple[Record, Record] | None:
    for x, y in zip(a, b, strict=False):
        if x != y:
            return x, y
    assert len(a) == len(b)
    return None


@settings(max_examples=100)
@given(configs("classic"), seeds(), st.integers(0, 30), st.integers(0, 30))
def test_a_hidden_choice_changes_nothing_that_others_see_until_the_rules_reveal_it(
    config: WerewolfConfig, seed: int, which: int, other: int
) -> None:
    dealt = chance.shuffled(config.decks, chance.key(seed, "deal"))
    log, _ = steady_game(config, seed, dealt)
    changed_log, changed = steady_game(config, seed, dealt, (which, other))
    if changed is None:
        return
    insiders = {changed.seat}
    if changed.kind in ("night_kill", "whisper"):
        insiders |= {i for i, role in enumerate(dealt) if role in ("werewolf", "witch")}
    for seat in set(range(config.n_players)) - insiders:
        here, there = view(config, log, seat), view(config, changed_log, seat)
        difference = first_difference(here[0], there[0])
        if difference is None:
            assert here == there
            continue
        kinds = {r.kind for r in difference}
        allowed = REVEALED_BY.get(changed.kind, set())
        # One of the two is the revelation: the other may be what comes next where, say, one seat less has died.
        assert kinds & allowed, difference


@settings(max_examples=100)
@given(configs("classic"), seeds(), st.data())
def test_a_hidden_role_changes_nothing_that_others_see_until_the_rules_reveal_it(
    config: WerewolfConfig, seed: int, data: st.DataObject
) -> None:
    """Two seats exchange their cards; all others see the same until somebody is shown something of these cards."""
    dealt = chance.shuffled(config.decks, chance.key(seed, "deal"))
    a, b = data.draw(st.lists(st.integers(0, len(dealt) - 1), min_size=2, max_size=2, unique=True))
    swapped = list(dealt)
    swapped[a], swapped[b] = swapped[b], swapped[a]
    one, _ = steady_game(config, seed, dealt)
    two, _ = steady_game(config, seed, tuple(swapped))
    known = {dealt[a], dealt[b]}
    # What their holders see shows the cards: a result, a species, a shot, a fate, what comes of another choice.
    allowed = FATE | {"inspect", "sense", "shoot", "attacked", "heal", "prey"}
    if not config.ballot_public:
        allowed |= {"tie"}
    for seat in set(range(len(dealt))) - {a, b}:
        if dealt[seat] in known & {"werewolf", "mason"}:
            continue  # it was told at the deal
        difference = first_difference(view(config, one, seat)[0], view(config, two, seat)[0])
        if difference is None:
            assert view(config, one, seat)[1] == view(config, two, seat)[1]
            continue
        kinds = {r.kind for r in difference}
        # Where a fate or a hunter's shot is one of the two, the other may be whatever comes next without it.
        assert kinds <= allowed or kinds & (FATE | {"shoot"}), difference


@settings(max_examples=30)
@given(configs(), seeds(), st.integers(0, 99))
def test_a_question_tells_its_options_in_a_drawn_order_and_not_its_place_in_the_day(
    config: WerewolfConfig, seed: int, chooser: int
) -> None:
    log = random_game(config, seed, chooser)
    for requests, _, _ in waves(GAME, config, seed, log):
        assert all(r.place == 0 for r in requests)
    state, _ = GAME.start(config, seed)
    assert GAME.to_act(state) == GAME.to_act(state)
    for asked, shown in zip(state.requests, GAME.to_act(state), strict=True):
        assert (asked.seat, asked.kind, sorted(asked.options)) == (
            shown.seat,
            shown.kind,
            sorted(shown.options),
        )


def test_numbers_of_a_view_do_not_count_what_is_hidden() -> None:
    log = random_game(configure("arena-8"), 3)
    for seat in range(8):
        assert [r.seq for r in view(configure("arena-8"), log, seat)[0]] == list(
            range(sum(visible(r, seat) for r in log))
        )


# --- chance ---------------------------------------------------------------------------------------------------


def chi_square(counts: list[int]) -> float:
    expected = sum(counts) / len(counts)
    return sum((c - expected) ** 2 / expected for c in counts)


def test_option_order_and_names_carry_no_information_about_roles() -> None:
    """Over 3,000 deals the place of a werewolf among the options, and its name, are uniform (chi-square, p > 0.001)."""
    config = configure("classic-7")
    places, names, inspected_first, speaks = [0] * 6, [0] * 24, Counter(), Counter()
    for seed in range(3000):
        state, events = GAME.start(config, seed)
        seer = next(r for r in GAME.to_act(state) if r.kind == "inspect")
        for place, seat in enumerate(seer.options):
            places[place] += state.moderator.roles[seat] == "werewolf"
        inspected_first[seer.options[0]] += 1
        for seat in state.moderator.pack:
            names[state.moderator.names[seat]] += 1
        order = events and chance.key(seed, "order", 1) % 7
        speaks[state.moderator.roles[order]] += 1
    assert chi_square(places) < 20.5  # 5 degrees of freedom
    assert chi_square(names) < 49.7  # 23
    assert chi_square([speaks[role] // n for role, n in config.roles.items()]) < 16.3  # 3
    assert chi_square([inspected_first[seat] for seat in range(7)]) < 22.5  # 6


def test_deal_is_uniform_over_seats() -> None:
    config = configure("probe-6")
    pairs = Counter(GAME.start(config, seed)[0].moderator.pack for seed in range(4500))
    assert len(pairs) == 15
    assert chi_square(list(pairs.values())) < 36.1  # 14 degrees of freedom, p > 0.001


def test_names_are_different_and_the_same_for_the_same_seed() -> None:
    config = configure("secretmafia-15")
    for seed in range(50):
        names = GAME.start(config, seed)[0].moderator.names
        assert len(set(names)) == 15
        assert names == GAME.start(config, seed)[0].moderator.names


# --- seeds and independence -----------------------------------------------------------------------------------


def test_seeds_are_honoured_completely() -> None:
    for preset in NAMES:
        config = configure(preset)
        assert random_game(config, 5, 6) == random_game(config, 5, 6)
        assert random_game(config, 5, 6) != random_game(config, 6, 6)


def test_two_games_side_by_side_do_not_disturb_each_other() -> None:
    configs_ = [configure("kaggle-8"), configure("arena-8", lexicon="neutral"), configure("kaggle-8")]
    alone = [random_game(c, 9, i) for i, c in enumerate(configs_)]
    from games.werewolf.arrays.discrete import Catalogue
    from games.werewolf.words.text import words_of
    from tests.fixtures.random_games import random_action

    games = [play(GAME, c, 9) for c in configs_]
    rngs = [random.Random(i) for i in range(3)]
    logs: list[list[Record]] = [[], [], []]
    steps: list[Step] = [next(g) for g in games]
    while any(s.requests for s in steps):
        for i, (game, step) in enumerate(zip(games, steps, strict=True)):
            if not step.requests:
                continue
            logs[i] += step.new
            w, catalogue = words_of(configs_[i], logs[i]), Catalogue(configs_[i])
            answers = [
                Answer(Reply(random_action(r, rngs[i], catalogue, w)), "random") for r in step.requests
            ]
            steps[i] = game.send(answers)
            random.seed(0)  # whatever others do to the global state
    for i, step in enumerate(steps):
        logs[i] += step.new
    assert logs == alone


def test_no_rule_reads_the_lexicon() -> None:
    one = random_game(configure("classic-7"), 11)
    for lexicon in ("mafia", "neutral", "nonsense", "symbols", "random-3"):
        state, log = fold(GAME, configure("classic-7", lexicon=lexicon), 11, one)
        assert log == one
        assert state.outcome is not None


def test_factions_of_all_roles() -> None:
    assert {role: faction_of(role) for role in ("seer", "possessed", "werewolf", "jester")} == {
        "seer": "village",
        "possessed": "werewolf",
        "werewolf": "werewolf",
        "jester": "jester",
    }
