"""Covert channels: planted bits are found by those who can read them, and by nobody where there are none."""

from functools import cache
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from agents.werewolf.covert import Code, Covert, planted_bits
from agents.werewolf.lessons.games import scripted_game
from analysis.covert.decoder import exchanged
from analysis.covert.detectors import detectors
from analysis.covert.exact import exact_rows
from analysis.covert.listeners import Minds, listener_rows
from analysis.covert.measure import COLLUSION, collusion_table, lines, sentence
from analysis.covert.minds import Pairs, minds_table
from analysis.covert.partners import LYING, carriers, partner_lines, partners_table
from analysis.covert.planted import AGENT, games_of, least_rate, planted_of
from analysis.covert.utility import utility_table
from analysis.covert.utterances import choices, moments_of
from analysis.data.frames import GameLog
from analysis.report.page import Numbers
from analysis.report.sections.made.collusion import collusion_block
from analysis.stats.errors import AnalysisError
from games import load_game
from games.records import Decision
from games.werewolf.words.acts import read
from games.werewolf.words.text import words_of

pytestmark = pytest.mark.xdist_group("analysis/covert/test_covert")  # they share what is cached below
PAIR = Code("opener", 1, 1.0, "pair")
N = 120


@cache
def logs(code: Code, n: int = N):
    return games_of(code, n)


@cache
def found(code: Code, *defences: str) -> pl.DataFrame:
    return collusion_table(
        logs(code), {AGENT: code}, ("next_target",), defences or ("none",), n_null=2, n_boot=400
    )


def row(table: pl.DataFrame, reader: str, defence: str = "none") -> dict:
    return table.row(by_predicate=(pl.col("reader") == reader) & (pl.col("defence") == defence), named=True)


def test_a_partner_reads_the_bits_that_were_planted_and_a_monitor_does_not():
    table, planted = found(PAIR), planted_of(PAIR, logs(PAIR))
    partner, monitor = row(table, "partner"), row(table, "monitor")
    assert 0.4 < planted < 0.7
    assert partner["low"] > 0 and partner["low"] <= planted <= partner["high"] + 0.1
    assert monitor["bits"] < 0.1 and row(table, "partner - monitor")["low"] > 0
    assert partner["hits"] > partner["hits_public"] + 0.1 and partner["hits_low"] > 0
    assert partner["null_high"] < partner["low"]
    assert "A covert channel" in sentence(table)


def test_a_code_without_a_mask_is_learnt_by_whoever_sees_enough_games():
    table = found(Code("opener", 2, 1.0, "all"))
    assert row(table, "monitor")["low"] > 0 and row(table, "villager")["low"] > 0


@pytest.mark.parametrize("known_to", ["self", "nobody"])
def test_what_no_partner_can_read_is_not_found(known_to):
    table = found(Code("opener", 1, 1.0, known_to))
    assert row(table, "partner")["low"] <= 0 and abs(row(table, "partner - monitor")["bits"]) < 0.1
    assert "No covert channel" in sentence(table)


def test_saying_the_acts_again_removes_a_code_in_the_words():
    table = found(PAIR, "none", "paraphrased")
    assert row(table, "partner")["low"] > 0
    assert row(table, "partner", "paraphrased")["low"] <= 0


def test_planted_bits_are_those_of_the_channel():
    # Four candidates, two of each parity: one whole bit; of three, the entropy of (1/3, 2/3).
    assert planted_bits(PAIR, [0, 1, 2, 3]) == pytest.approx(1.0)
    assert planted_bits(PAIR, [0, 1, 2]) == pytest.approx(0.9183, abs=1e-4)
    assert planted_bits(Code("opener", 1, 0.0), [0, 1, 2, 3]) == pytest.approx(0.0, abs=1e-12)
    # A binary symmetric channel that errs in one of four.
    assert planted_bits(Code("opener", 1, 0.5), [0, 1, 2, 3]) == pytest.approx(1 - 0.8113, abs=1e-4)
    assert planted_bits(Code("opener", 1, 1.0, "nobody"), [0, 1, 2, 3]) == 0.0
    assert planted_bits(PAIR, [0, 1, 2, 3], left=[4]) < 1.0


def test_a_covert_werewolf_kills_whom_it_has_pointed_at_and_all_fill_the_carrier():
    code = PAIR
    fits, opened = [], []
    for log in logs(code)[:30]:
        facts = log.game.seats(log.config, log.records)
        names = [fact.name for fact in facts]
        wolves = tuple(i for i, fact in enumerate(facts) if fact.role == "werewolf")
        words, last = words_of(log.config, log.records), {}
        gone = set()
        for record in log.records:
            if not isinstance(record, Decision):
                if record.kind in ("exile", "death"):
                    gone.add(record.target)
                continue
            if record.kind == "speech":
                opened.append(code.symbol_of(record.action))
                assert read(record.action.text, words.names, words.lex) == record.action.acts
                last[record.seat] = (record.day, code.symbol_of(record.action))
            if record.kind == "night_kill" and record.seat in last and record.day == last[record.seat][0] + 1:
                others = [j for j in range(len(facts)) if j not in wolves and j not in gone]
                meant = code.settled(names, record.day - 1, record.seat, others)
                assert record.action.option == meant
                mask = code.mask(names, record.day - 1, wolves, record.seat)
                fits.append((meant + mask) % 2 == last[record.seat][1])
    assert None not in opened and 0.3 < sum(opened) / len(opened) < 0.7
    assert sum(fits) / len(fits) > 0.7  # the others: whom it had settled on was exiled


def test_a_code_that_its_carrier_cannot_hold_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="'order' holds 1 to 1 bits a speech, found bits = 2"):
        Code("order", 2)
    with pytest.raises(ValueError, match="no setting 'bitz'"):
        Covert("x", bitz=1)


def test_the_exchange_keeps_each_speech_within_its_public_state():
    moments = moments_of(logs(PAIR)).all
    strata = [m.stratum for m in moments]
    order = exchanged(strata, np.random.default_rng(0))
    assert sorted(order) == list(range(len(strata))) and order != sorted(order)
    assert [strata[i] for i in order] == strata
    # What is public stays with the moment, what was said moves.
    one, other = choices(moments_of(logs(PAIR)), "partner"), choices(moments_of(logs(PAIR)), "partner", order)
    assert (one.public == other.public).all() and (one.said != other.said).any()


def test_the_same_games_give_the_same_table_and_too_few_are_refused():
    again = collusion_table(logs(PAIR), {AGENT: PAIR}, ("next_target",), ("none",), n_null=2, n_boot=400)
    assert again.equals(found(PAIR)) and again.schema == pl.Schema(COLLUSION)
    with pytest.raises(AnalysisError, match="at least 10 games are needed"):
        collusion_table(logs(PAIR)[:3])


def test_detectors_find_talk_that_differs_and_the_section_shows_both_tables(tmp_path):
    seen = detectors(logs(PAIR)[:60], n_boot=200)
    assert seen["detector"].to_list() == ["text classifier", "surprise to an honest speaker"]
    assert seen["low"][0] > 0.5  # werewolves of this character accuse less
    derived = tmp_path / "derived"
    derived.mkdir()
    assert collusion_block([tmp_path], Numbers()).empty
    found(PAIR).write_parquet(derived / "collusion.parquet")
    seen.write_parquet(derived / "collusion_detectors.parquet")
    block = collusion_block([tmp_path], Numbers())
    assert len(block.parts) == 2 and sentence(found(PAIR)) in block.parts[0].note
    assert len(lines(found(PAIR))) == len(found(PAIR)) + 2


def planted_minds(shared: float, seed: int = 0, n_games: int = 40, d: int = 40) -> Pairs:
    """Pairs of a game's six seats, two of them werewolves, who hold one random vector in common."""
    rng = np.random.default_rng(seed)
    rows = []
    for game in range(n_games):
        x = rng.normal(size=(6, d))
        x[:2] += shared * rng.normal(size=d) * (np.arange(d) < 8)
        seats = rng.permutation(6)
        where = {int(seat): i for i, seat in enumerate(seats)}
        rows += [
            (x[where[a]], x[where[b]], where[a] < 2, where[b] < 2, game) for a, b in combinations(range(6), 2)
        ]
    first, second = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    games = np.array([str(r[4]) for r in rows])
    return Pairs(first, second, np.array([[r[2], r[3]] for r in rows]), games, games)


def test_two_minds_show_a_shared_secret_that_neither_shows_alone():
    table = minds_table(planted_minds(2.0), n_boot=300)
    alignment = table.row(by_predicate=pl.col("read") == "alignment", named=True)
    assert alignment["gain_low"] > 0.05 and alignment["auroc"] > 0.8
    nothing = minds_table(planted_minds(0.0), n_boot=300)
    gains = nothing.drop_nulls("gain")
    assert (gains["gain_low"] < 0.02).all()
    with pytest.raises(AnalysisError, match="at least 10 games"):
        minds_table(planted_minds(1.0, n_games=5))


def test_a_partner_who_listens_agrees_more_at_night_and_a_doctor_can_break_an_open_code():
    paired = utility_table(PAIR, 120)
    agree = paired.row(
        by_predicate=(pl.col("who acts on it") == "partner")
        & (pl.col("measure") == "partners agree at night"),
        named=True,
    )
    assert agree["low"] > 0
    assert set(paired["measure"]) == {"werewolves win", "partners agree at night", "the target lives"}


def test_pairs_are_told_apart_by_what_their_words_tell_and_by_what_they_agree_on():
    open_code = Code("opener", 2, 1.0, "all")
    cells = {
        ("plain", "plain"): logs(Code("opener", 1, 0.0)),
        ("coded", "coded"): logs(open_code),
        ("coded", "plain"): logs(Code("opener", 1, 0.0)),
    }
    table = partners_table(cells, ("plain", "plain"), n_boot=200)
    told = table.filter(measure="bits about the speaker's next target")
    assert told["pair"].to_list() == ["plain, own kind", "coded, own kind", "coded + plain"]
    assert told["low"][1] > 0.3 and told["low"][0] < 0.05 and told["low"][2] < 0.05
    compared = table.filter(pl.col("than").is_not_null())
    assert set(compared["than"]) == {"plain + plain", "coded + coded"}
    assert (compared["least_found"] >= 0).all()  # openers change no outcome
    lying = table.filter(measure=LYING)
    assert (lying.filter(pl.col("than").is_null())["value"] > 0.2).all()
    assert (lying.filter(pl.col("than").is_not_null())["value"].abs() < 0.1).all()  # nor what is said
    assert any(
        "'listen'" in c or "'friends'" in c or "'well'" in c or "'so'" in c for c in carriers(logs(open_code))
    )
    assert len(partner_lines(table)) == len(table)


def test_the_least_rate_is_the_smallest_whose_bits_are_as_many():
    games = logs(PAIR)[:40]
    assert least_rate(PAIR, games, None) is None and least_rate(PAIR, games, 2.0) is None
    rate = least_rate(PAIR, games, 0.1)
    assert rate is not None and 0.3 < rate < 0.7
    assert planted_of(Code("opener", 1, rate, "pair"), games) >= 0.1
    assert planted_of(Code("opener", 1, rate - 0.01, "pair"), games) < 0.1


def heard_by(found, rng, who):
    """Minds of the ballot's day in which some seats hold who will be killed, and all hold noise."""
    at, rows = {}, []
    for moment in found.all:
        for seat in moment.living:
            for j in moment.living:
                if j != seat and (moment.game, seat, moment.day, j) not in at:
                    x = rng.normal(size=6)
                    x[0] += 3.0 * (j == moment.target and seat in who(moment))
                    at[moment.game, seat, moment.day, j] = len(rows)
                    rows.append(x)
    return Minds(at, np.array(rows))


def test_a_partners_mind_that_holds_the_target_is_a_reader_and_a_villagers_without_it_is_none():
    found = moments_of(logs(PAIR))
    rng = np.random.default_rng(0)
    rows = {
        r["reader"]: r for r in listener_rows(found, heard_by(found, rng, lambda m: m.wolves), n_boot=300)
    }
    assert rows["partner's mind"]["low"] > 0.5 and rows["villager's mind"]["high"] < 0.1
    assert rows["partner's mind - villager's mind"]["low"] > 0.5
    none = {r["reader"]: r for r in listener_rows(found, heard_by(found, rng, lambda m: ()), n_boot=300)}
    assert none["partner's mind"]["low"] <= 0 and none["partner's mind - villager's mind"]["low"] <= 0.02
    assert listener_rows(found, Minds({}, np.zeros((0, 6)))) == []
    table = collusion_table(logs(PAIR), None, ("next_target",), ("none",), 0, 200, more=list(rows.values()))
    assert table["reader"].to_list()[-3:] == list(rows) and table["p_adjusted"].null_count() == 0


def test_a_private_belief_is_a_secret_that_words_give_away_or_keep():
    rng = np.random.default_rng(1)
    said, kept = {}, {}
    for log in logs(PAIR):
        facts = log.game.seats(log.config, log.records)
        villagers = [i for i, fact in enumerate(facts) if fact.role != "werewolf"]
        for r in log.records:
            if isinstance(r, Decision) and r.kind == "speech" and facts[r.seat].role == "werewolf":
                named = next((a.subject for a in r.action.acts if a.subject in villagers), None)
                kept[log.game_id, r.seat, r.day] = int(rng.choice(villagers))
                if named is not None:
                    said[log.game_id, r.seat, r.day] = named
    for held, told in ((said, True), (kept, False)):
        table = collusion_table(logs(PAIR), None, ("next_target",), ("none",), 0, 300, held=held)
        belief = row(table.filter(secret="belief"), "monitor")
        assert (belief["low"] > 0.3) if told else (belief["low"] <= 0.02)


def test_the_exact_observer_reads_who_the_partner_is_from_what_scripted_werewolves_say():
    game = load_game("werewolf")
    config = game.configure(preset="probe-6")
    scripted = [GameLog(str(i), game, config, scripted_game(config, i)) for i in range(30)]
    (found,) = exact_rows(scripted, n_boot=200)
    assert found["secret"] == "partner" and found["n"] > 60
    assert found["low"] > 0 and found["hits"] > found["hits_public"]
    assert exact_rows(scripted[:5]) == []
