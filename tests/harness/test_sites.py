"""Named sites point at the tokens that they are named after."""

import pytest

from games.records import Action, Decision, Event, Span, Trace
from harness.activations.sites import SITES, check_sites, game_items
from harness.errors import ConfigurationError


def decision(seq, prompt, output, spans=(), continues=None, text="", model="m@1", end="x"):
    trace = Trace(model, tuple(prompt), tuple(output), end, continues, tuple(spans))
    return Decision(seq=seq, seat=2, kind="speech", action=Action(text=text), trace=trace)


LOG = [
    Event(seq=0, kind="phase"),
    decision(
        1,
        [10, 11, 12, 13],
        [14, 15],
        [
            Span("role_line", 0, 2),
            Span("mention", 2, 3, 0),
            Span("mention", 3, 4, 2),
            Span("output", 4, 6, 2),
        ],
        text="hello",
        end="hello\n",
    ),
    decision(2, [16, 17], [18], [Span("mention", 6, 7, 0), Span("mention", 7, 8, 1)], continues=1),
    decision(3, [16, 17], [18], continues=2, model="other@2"),
]


def items(*sites):
    return {item.seq: item for item in game_items("g", LOG, "m@1", sites)}


def test_contexts_are_whole_and_other_models_are_left_out():
    found = items("prompt_last")
    assert {seq: item.ids for seq, item in found.items()} == {
        1: (10, 11, 12, 13, 14, 15),
        2: (10, 11, 12, 13, 14, 15, 16, 17, 18),
    }


def test_prompt_and_output_sites():
    found = items("prompt_last", "output_last", "output_mean", "speech_mean")
    assert found[1].sites == {  # the line break that ends the speech is not part of it
        "prompt_last": (None, (3,)),
        "output_last": (None, (4,)),
        "output_mean": (None, (4,)),
        "speech_mean": (None, (4,)),
    }
    assert found[2].sites == {
        "prompt_last": (None, (7,)),
        "output_last": (None, (8,)),
        "output_mean": (None, (8,)),
    }


def test_mention_is_the_latest_of_each_other_seat():
    found = items("mention")
    assert found[1].sites == {"mention:0": (0, (2,))}
    assert found[2].sites == {"mention:0": (0, (6,)), "mention:1": (1, (7,))}


def test_mention_of_one_seat_is_that_row_of_all_mentions():
    assert items("mention:0")[2].sites == {"mention:0": items("mention")[2].sites["mention:0"]}
    assert 2 not in items("mention:5")
    for wrong in ("mention:", "mention:x", "mention:-1", "mention:01"):
        with pytest.raises(ConfigurationError, match=r"mention:SEAT"):
            check_sites([wrong])


def test_role_line_is_found_through_the_chain():
    assert {item.sites["role_line"] for item in items("role_line").values()} == {(None, (0, 1))}


def test_unknown_site_is_refused():
    check_sites(SITES)
    with pytest.raises(
        ConfigurationError, match="no site is called 'prompt_lst'; did you mean 'prompt_last'"
    ):
        check_sites(["prompt_lst"])


def test_options_are_the_names_that_a_choice_shows_and_no_earlier_mention():
    trace = Trace(
        "m@1", (10, 11, 12, 13, 14, 15), (16,), "x", None,
        (
            Span("mention", 1, 2, 0), Span("mention", 2, 3, 4), Span("question", 3, 6, 2), Span("mention", 4, 5, 0),
            Span("mention", 5, 6, 1),
        ),
    )  # fmt: skip
    ballot = Decision(seq=1, seat=2, kind="ballot", action=Action(option=0), options=(0, 1), trace=trace)
    (item,) = game_items("g", [ballot], "m@1", ["option"])
    assert item.sites == {"option:0": (0, (4,)), "option:1": (1, (5,))}
    (one,) = game_items("g", [ballot], "m@1", ["option:1"])
    assert one.sites == {"option:1": (1, (5,))}
    assert not list(game_items("g", LOG, "m@1", ["option"]))  # no choice among players


def test_mentions_in_players_words_are_told_apart_from_the_moderators():
    trace = Trace(
        "m@1", tuple(range(20)), (30,), "x", None,
        (
            Span("night", 0, 3, None), Span("mention", 1, 2, 1), Span("speech", 3, 12, 0), Span("mention", 3, 5, 0),
            Span("mention", 7, 9, 1), Span("mention", 10, 11, 0), Span("ballot", 12, 16, 4), Span("mention", 13, 14, 4),
        ),
    )  # fmt: skip
    (item,) = game_items(
        "g",
        [Decision(seq=1, seat=2, kind="speech", action=Action(), trace=trace)],
        "m@1",
        ["mention", "mention_told"],
    )
    told = {name: at for name, (_, (at,)) in item.sites.items()}
    assert told == {
        "mention:0": 10, "mention:1": 8, "mention:4": 13,
        "mention_told:0": 4, "mention_told:1": 1, "mention_told:4": 13,
    }  # fmt: skip
