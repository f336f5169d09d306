"""What an observer weighs for many seats or packs in one operation is what it would weigh for each alone."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from agents.werewolf.observer import Observer
from agents.werewolf.observer.information_sets import InfoSets, Scene
from agents.werewolf.observer.inspections import inspect
from agents.werewolf.observer.pack_vote import target_given
from games import load_game
from games.records import Event
from tests.agents.test_observer import scripted_game

GAME = load_game("werewolf")


def arrays_of(infosets: InfoSets) -> list[np.ndarray]:
    """Every array of the information sets."""
    own = [getattr(infosets, name) for name in infosets.__struct_fields__ if name != "sequences"]
    return own + list(msgspec.structs.astuple(infosets.sequences))


@pytest.mark.parametrize("lapse", [0.0, 0.02])
@pytest.mark.parametrize("rung", [2, 4])
def test_inspections_of_all_seats_together_are_those_of_each_seat(rung, lapse):
    config = GAME.configure(preset="classic-7")
    nights = 0
    for seed in range(3):
        log, _ = scripted_game(config, seed)
        observer = Observer("exact", config, rung=rung, lapse=lapse)
        for record in log:
            if isinstance(record, Event) and record.kind == "phase" and record.value == "day" and record.day:
                scene, f = Scene(observer.seen, rung), observer.world_weights
                seats = [
                    i for i in range(7) if scene.alive[i] and len(f.infosets[i].kind) > f.infosets[i].seer
                ]
                before = [f.infosets[i] for i in seats]

                def asked(some, these, scene=scene, f=f):
                    return inspect(f.c, scene, some, these, config.seer_repeats, f.shown, rung < 3)

                alone = [asked([one], [seat])[0] for one, seat in zip(before, seats, strict=True)]
                together = asked(before, seats) if seats else []  # none once the seer is known to be dead
                for one, other in zip(together, alone, strict=True):
                    for mine, its in zip(arrays_of(one), arrays_of(other), strict=True):
                        np.testing.assert_array_equal(mine, its)
                nights += 1
            observer.update(record)
    assert nights >= 3


@pytest.mark.parametrize("rule", ["vote", "one_random"])
@pytest.mark.parametrize("hands", [0, 1, 2, 3])
@pytest.mark.parametrize("abstain", [False, True])
def test_targets_of_all_packs_together_are_those_of_each_pack(rule, hands, abstain):
    votes, proposals = np.random.default_rng(hands).dirichlet(np.ones(4), (2, 5, 2))
    if not abstain:
        votes = np.concatenate([votes[..., :3], np.zeros((5, 2, 1))], axis=-1)
    together = target_given(votes, proposals, hands, rule, 2)
    for g in range(5):
        np.testing.assert_array_equal(together[[g]], target_given(votes[[g]], proposals[[g]], hands, rule, 2))
