"""What `wolfscope eval-small-model` measures: the questions, the sites, the probes, the games."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.hooks.model import load_hooked_model
from agents.lessons import lessons_of
from agents.models.small import SMALL_MODEL, find_model, unpack_checkpoints
from agents.werewolf.vocabulary import PLAYS, make_tokenizer
from analysis.stats.metrics import log_odds
from games import load_game
from games.records import Event
from harness.activations.store import open_activations
from harness.model_evaluation.held_out import Sitting, sittings, stack
from harness.model_evaluation.probes import characters, represented
from harness.model_evaluation.readings import SITES, Reading, Stated


@pytest.fixture(scope="module")
def found() -> list[Sitting]:
    return list(sittings("werewolf", "classic-7", 4))


@pytest.fixture(scope="module")
def reading() -> Reading:
    hooked = load_hooked_model(SMALL_MODEL)
    return Reading(hooked, hooked.tokenizer, lessons_of("werewolf").exam)


def test_every_site_is_a_token_that_names_who_is_asked_about(found: list[Sitting], reading: Reading) -> None:
    tokenizer = make_tokenizer()
    text = load_game("werewolf").text
    names = {
        s.observation.game_id: text.words_of(s.observation.config, s.observation.records).names for s in found
    }
    offered = 0
    for item in reading.items(found):
        said = names[item.game_id]
        tokens = tokenizer.convert_ids_to_tokens(list(item.ids))
        for name, (subject, (at,)) in item.sites.items():
            assert subject is not None
            kind = name.partition(":")[0]
            if kind == "character":
                assert tokens[at - 1 : at + 1] == [said[subject], PLAYS]
            elif kind == "second_order":
                assert tokens[at - 4 : at + 1] == [
                    said[item.seat], "believes", said[subject], "believes", said[item.seat]
                ]  # fmt: skip
            else:
                assert tokens[at] == said[subject]
            if kind == "option":
                assert item.sites[f"mention:{subject}"][1][0] < at
                assert "votes" in tokens[item.sites[f"mention:{subject}"][1][0] : at]
                offered += 1
            assert kind in ("mention", "option") or (item.fork is not None and item.fork < at)
    assert offered > 20


def test_the_subject_is_known_only_by_what_the_viewer_has_read(found: list[Sitting]) -> None:
    for sitting in found:
        for item in sitting.inquiries:
            assert "SUBJECT" in item.text
            assert "votes (" not in item.text.rpartition("day")[2]  # its own ballot comes after


def test_deeper_evidence_leaves_the_observer_less_surprised() -> None:
    asked = stack([item for sitting in sittings("werewolf", "probe-6", 20) for item in sitting.inquiries])
    truth = asked["holds"][:, 0]

    def surprise(kind: str) -> float:
        p = np.clip(asked[kind][:, 0], 1e-6, 1 - 1e-6)
        return float(-np.where(truth, np.log(p), np.log(1 - p)).mean())

    assert surprise("exact") < surprise("habits") < surprise("told")


def planted(n_games: int = 60, per_game: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations `(n, n_sites, 3, 8)` that hold a target in site 1, layer 2 alone; the target; each row's game."""
    rng = np.random.default_rng(0)
    n = n_games * per_game
    x = rng.normal(size=(n, len(SITES), 3, 8))
    target = rng.normal(size=n)
    x[:, 1, 2, 3] = target + 0.1 * rng.normal(size=n)
    return x, target, np.repeat(np.arange(n_games), per_game)


def test_a_probe_finds_a_target_where_it_was_planted_and_nowhere_else() -> None:
    x, target, games = planted()
    noise = np.random.default_rng(1).normal(size=x.shape)
    counts = np.random.default_rng(2).normal(size=(len(target), 5))
    texts = [f"word{i % 7} other{i % 5}" for i in range(len(target))]
    found = {
        r.source: r
        for r in represented({"small model": x, "other": noise}, target, counts, texts, games, SITES)
    }
    assert found["small model"].value > 0.95
    assert found["small model"].chosen == f"{SITES[1]}, layer 2"
    for source in ("small model, embedding", "other", "event counts, linear", "TF-IDF of the text"):
        assert found[source].value < 0.05


def test_hidden_characters_are_read_where_they_are_and_not_from_noise() -> None:
    x, target, games = planted()
    labels = np.digitize(target, [-0.5, 0.5])
    counts = np.random.default_rng(2).normal(size=(len(target), 5))
    exact = np.eye(3)[labels]
    stated = np.random.default_rng(3).random(exact.shape)
    found = {r.source: r for r in characters(x, counts, exact, labels, games, SITES, stated)}
    assert found["exact observer"].value == found["exact observer"].low == 1.0
    assert found["small model"].value > 0.9
    assert found["event counts, linear"].value < 0.6
    assert 0.4 < found["stated"].value < 0.6
    silent = characters(x[:, :1, :2], counts, exact, labels, games, SITES, np.full(exact.shape, np.nan))
    assert "stated" not in {r.source for r in silent}


def test_the_distance_from_the_exact_posterior_is_told_with_the_share_of_the_worst_answers() -> None:
    from harness.model_evaluation.beliefs import surprise

    exact = np.array([1.0] + [0.5] * 99)
    assert surprise(exact, np.array([0.25] + [0.5] * 99)) == pytest.approx((np.log(4) / 100, 1.0))
    even = surprise(exact[1:], np.full(99, 0.25))
    assert even == pytest.approx((0.5 * np.log(4 / 3), 3 / 99))
    assert np.isfinite(surprise(np.array([1.0 + 1e-15] * 50), np.full(50, 0.5))).all()


def test_log_odds_of_certainty_are_bounded() -> None:
    assert log_odds(np.array([0.0, 0.5, 1.0])) == pytest.approx([-np.log(99), 0.0, np.log(99)])


def test_the_same_deals_are_played_again_by_the_same_opponents() -> None:
    from harness.model_evaluation.playing import play_side

    first, second = play_side("werewolf", "village", None, 12), play_side("werewolf", "village", None, 12)
    assert (first == second).all()
    assert (first != play_side("werewolf", "werewolf", None, 12)).all()  # one side or the other wins


def test_the_shipped_model_is_read_at_every_site(
    found: list[Sitting], reading: Reading, tmp_path: Path
) -> None:
    n = sum(len(sitting.inquiries) for sitting in found)
    said = Stated(reading, found)
    assert said.first.shape == (n, 2)
    assert said.second.shape == (n,)
    assert ((said.first >= 0) & (said.first <= 1)).all()
    assert said.characters.sum(1) == pytest.approx(np.ones(n))
    read = reading.capture(found, tmp_path / "activations")
    assert read.shape[:2] == (n, len(SITES))
    assert not np.isnan(read).any()
    store = open_activations(tmp_path / "activations")
    assert sorted(store.sites()) == sorted(SITES)
    line = store.index(site="belief_mention", games=[found[0].observation.game_id])[:1]
    at = [s.decision.seq for s in found].index(line["seq"][0])
    row = sum(len(s.inquiries) for s in found[:at])
    stored, here = store.read_rows(line)[0], read[row, SITES.index("belief_mention")]
    assert (stored[:-1] == here[:-1]).all()
    scale = reading.hooked.model.base_model.norm.weight.detach().numpy()  # the last one is as it is read out
    np.testing.assert_allclose(((here[-1] / scale) ** 2).mean(), 1, rtol=1e-3)
    np.testing.assert_allclose(here[-1] / scale * np.sqrt((stored[-1] ** 2).mean()), stored[-1], rtol=1e-3)


def test_a_model_without_words_for_characters_is_read_without_them(
    found: list[Sitting], tmp_path: Path
) -> None:
    hooked = load_hooked_model(find_model("small-unasked"))
    reading = Reading(hooked, hooked.tokenizer, lessons_of("werewolf").exam)
    read = reading.capture(found[:3], tmp_path / "activations")
    assert np.isnan(Stated(reading, found[:3]).characters).all()
    assert np.isnan(read[:, SITES.index("character")]).all()
    assert not np.isnan(read[:, SITES.index("belief_mention")]).any()


def test_the_shipped_model_states_more_than_habits_tell(reading: Reading) -> None:
    from sklearn.metrics import roc_auc_score

    held_out = list(sittings("werewolf", "classic-7", 18))
    asked = stack([item for sitting in held_out for item in sitting.inquiries])
    stated = Stated(reading, held_out).first[:, 0]
    truth = asked["holds"][:, 0]
    # Over 400 games .89, .73 and .56.
    assert roc_auc_score(truth, stated) > roc_auc_score(truth, asked["habits"][:, 0]) + 0.05
    assert roc_auc_score(truth, stated) > roc_auc_score(truth, asked["told"][:, 0]) + 0.2


def test_only_what_the_rules_leave_open_is_in_doubt_before_the_first_word() -> None:
    from harness.model_evaluation.course import known

    items = list(known("werewolf", 12, "classic"))
    early = [p for item in items for p in item.p if not item.spoken]
    werewolves = [
        item
        for item in items
        if any(
            isinstance(r, Event) and r.kind == "role" and r.target == item.observation.request.seat
            and r.value == "werewolf"
            for r in item.observation.records
        )
    ]  # fmt: skip
    assert werewolves
    assert all(p in (0.0, 1.0) for item in werewolves for p in item.p)  # who know each other
    assert 0.2 < np.mean([0.0 < p < 1.0 for p in early]) < 0.9


def test_the_course_tells_a_model_that_has_learned_to_look_up_from_one_that_has_not(tmp_path: Path) -> None:
    from harness.model_evaluation.course import known, stage

    told, held_out = list(known("werewolf", 5, "classic")), list(sittings("werewolf", "classic-7", 5))
    folders = unpack_checkpoints(SMALL_MODEL, tmp_path)
    first, last = (
        stage(path.name, load_hooked_model(path), make_tokenizer(), told, held_out)
        for path in (folders[0], folders[-1])
    )
    assert first.look_up < 0.8 < 0.98 < last.look_up
    assert last.rules < 0.05 < first.rules
    assert last.behaviour > first.behaviour
    assert last.stated > 0.5 > first.stated
