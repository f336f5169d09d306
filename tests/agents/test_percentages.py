"""Beliefs stated in words: the common forms are read, and what is no number is refused with the reason."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from agents.llm.percentages import NoStatement, read

ROLES = {"werewolf": "werewolf", "seer": "seer", "villager": "villager"}
WANTED = {"werewolf": 0.3, "seer": 0.125, "villager": 0.575}


@pytest.mark.parametrize(
    "answer",
    [
        "werewolf: 30%\nseer: 12.5%\nvillager: 57.5%",
        "**werewolf:** 30%\n**seer:** 12.5%\n**villager:** 57.5%",
        "**Werewolf**: 30%\n- *Seer*: 12,5 %\n- Villager: 57,5 percent",
        "1. werewolf: 30%\n2. seer: 12.5%\n3. villager: 57.5%",
        "1) Werewolves - 30%".replace("ves", "f") + "\n2) Seer – 12.5%\n3) Villagers — 57.5%",
        "werewolf: ~30%\nseer: about 12.5%\nvillager: ≈57.5%",
        "werewolf (30%), seer (12.5%) and villager (57.5%)",
        "werewolf = 0.3; seer = 0.125; villager = 0.575",
        "| role | probability |\n|---|---|\n| werewolf | 30% |\n| **seer** | 12.5% |\n| villager | 57.5% |",
        "| werewolf | seer | villager |\n|:-:|:-:|:-:|\n| 30% | 12.5% | 57.5% |",
        '```json\n{"werewolf": 30, "seer": 12.5, "villager": 57.5}\n```',
        '{"Ben": {"Werewolf": "30%", "Seer": "12.5%", "Villager": "57.5%"}}',
        "a 30% chance of being a werewolf, a 12.5% chance of seer, 57.5% villager",
        "At first: werewolf: 90%\nseer: 5%\nvillager: 5%\nNo. Finally:\nwerewolf: 30%\nseer: 12.5%\nvillager: 57.5%",
        "werewolf: 30%\nseer: 12.5%\nvillager: 57.5%\nThe werewolf: 90% of players think so.",
        "Max: 80%, I guess.\nvillager: 57.5%\nwerewolf: 30%\nseer: 12.5%",
    ],
)
def test_common_forms_are_read(answer: str) -> None:
    assert read(answer, ROLES) == pytest.approx(WANTED)


def test_bounds_stand_for_the_middle_of_what_they_leave() -> None:
    found = read("werewolf: <1%\nseer: >98%\nvillager: 0.5%", ROLES)
    assert found == pytest.approx({"werewolf": 0.005, "seer": 0.99, "villager": 0.005})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("werewolf: 30-40%\nseer: 10%\nvillager: 55%", "range"),
        ("werewolf: 30% to 40%\nseer: 10%\nvillager: 55%", "range"),
        ('{"werewolf": "30-40", "seer": 10, "villager": 55}', "range"),
        ("werewolf: 130%\nseer: 10%\nvillager: 0%", "above 100"),
        ("werewolf: 60%\nseer: 60%\nvillager: 60%", "add up to 180"),
        ("werewolf: -5%\nseer: 50%\nvillager: 55%", "negative"),
        ("werewolf: 0%\nseer: 0%\nvillager: 0%", "all percentages are 0"),
        ("werewolf: 30%\nseer: 10%", "no percentage for villager"),
        ("werewolf: high\nseer: low\nvillager: 3 of them", "no complete list"),
        ("", "no percentage for werewolf, seer, villager"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused_with_the_reason(answer: str, why: str) -> None:
    with pytest.raises(NoStatement, match=why):
        read(answer, ROLES)


def test_words_within_words_are_told_apart() -> None:
    roles: dict[str, Any] = {"w": "werewolf", "m": "mad werewolf", "a": "wolf"}
    found = read("werewolf: 20%\nmad werewolf: 30%\nwolf: 50%", roles)
    assert found == pytest.approx({"w": 0.2, "m": 0.3, "a": 0.5})


@pytest.mark.parametrize(
    "run",
    [
        "werewolf{}x",
        "werewolf: 3{}x seer: 3% villager: 3%",
        "30{}x",
        "30%{}x",
        "30% chance{}x",
        "30% chance of{}being a{}x",
        "{}30",
        "werewolf{}",
    ],
)
@pytest.mark.parametrize("filler", [" ", "*", " *", "\n", '"', "9"])
def test_answers_that_run_on_for_ever_are_read_in_no_time(run: str, filler: str) -> None:
    """A pattern that tries each way to share out a run would need hours for it."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError("ten seconds of processor time")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, 10)
    try:
        with pytest.raises(NoStatement):
            read(run.replace("{}", filler * (40_000 // len(filler) // run.count("{}"))), ROLES)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_a_table_of_many_heads_is_read_once_and_a_longer_answer_not_at_all() -> None:
    head, row = "| werewolf | seer | villager |\n", "| 30% | 12.5% | 57.5% |\n"
    assert read(head * 1500 + "| a | b | c |\n" * 2000 + row, ROLES) == pytest.approx(WANTED)
    with pytest.raises(NoStatement, match=r"has 1,000,000 characters"):
        read("x" * 10**6, ROLES)
