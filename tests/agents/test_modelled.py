"""An observer refuses what it does not model, by name; what is added to the game changes nothing that it made of games
of before."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from pydantic import Field

from agents.models.small import SMALL_MODEL
from agents.werewolf import styles
from agents.werewolf.lessons.games import scripted_game
from agents.werewolf.observer import EVEN, Observer, Unmodelled
from agents.werewolf.observer.modelled import SETTINGS, check_config
from agents.werewolf.styles import CAST, STYLES
from games import load_game
from games.records import Event, SpeechAct
from games.werewolf.config import WerewolfConfig
from games.werewolf.presets import NAMES
from games.werewolf.roles import ROLES, RoleCard

GAME = load_game("werewolf")
CONFIG = GAME.configure(preset="classic-7")


class Extended(WerewolfConfig):
    """The rules with a setting that no observer knows."""

    gossip: int = Field(0, ge=0)


@pytest.mark.parametrize("preset", [name for name in NAMES if name != "mini-mafia-4"])
def test_every_shipped_preset_is_modelled(preset: str) -> None:
    check_config(GAME.configure(preset=preset))


def test_a_night_in_which_nobody_chooses_is_refused_by_name() -> None:
    with pytest.raises(Unmodelled, match="does not model first_night = 'fixed'"):
        check_config(GAME.configure(preset="mini-mafia-4"))


def test_a_new_role_is_refused_by_name(monkeypatch) -> None:
    monkeypatch.setitem(ROLES, "cupid", RoleCard("cupid"))
    config = CONFIG.model_copy(update={"roles": {"werewolf": 2, "cupid": 1, "villager": 4}})
    with pytest.raises(Unmodelled, match="does not model the role 'cupid'; it models: doctor, hunter"):
        Observer("rules", config)


def test_a_new_setting_is_refused_where_it_is_used() -> None:
    settings = CONFIG.model_dump()
    Observer("rules", Extended(**settings))
    with pytest.raises(Unmodelled, match="does not model the setting gossip = 2"):
        Observer("rules", Extended(**settings, gossip=2))


def test_a_new_value_of_a_setting_and_a_new_night_act_are_refused() -> None:
    with pytest.raises(Unmodelled, match="does not model discussion = 'panel'; it models: 'round_robin'"):
        Observer("rules", CONFIG.model_copy(update={"discussion": "panel"}))
    with pytest.raises(Unmodelled, match="does not model the night act 'kiss'"):
        Observer("rules", CONFIG.model_copy(update={"night_order": (("night_kill",), ("kiss",))}))


def test_every_setting_of_today_is_modelled() -> None:
    assert set(SETTINGS) == set(WerewolfConfig.model_fields)


def test_a_new_speech_act_and_a_new_event_are_refused() -> None:
    log = scripted_game(CONFIG, 3)
    observer = Observer("rules", CONFIG)
    speech = next(r for r in log if isinstance(r, Event) and r.kind == "speech")
    with pytest.raises(Unmodelled, match=r"does not model the speech act 'vouch' \(record"):
        observer.update(msgspec.structs.replace(speech, acts=(SpeechAct("vouch", 1),)))
    with pytest.raises(Unmodelled, match="does not model events of kind 'duel'"):
        observer.update(msgspec.structs.replace(speech, kind="duel"))


def test_a_new_style_changes_no_posterior_and_no_default_prior(monkeypatch) -> None:
    def beliefs() -> np.ndarray:
        observer = Observer("exact", CONFIG)
        for record in log:
            observer.update(record)
        return observer.all_beliefs()

    log = scripted_game(CONFIG, 4)
    before = beliefs()
    monkeypatch.setitem(STYLES, "gossip", styles.Style(question=0.9, accuse=0.05))
    monkeypatch.setattr(styles, "CHARACTERS", (*STYLES, "random"))
    assert np.array_equal(beliefs(), before)
    assert tuple(EVEN) == CAST


def test_an_observer_names_its_prior() -> None:
    assert Observer("exact", CONFIG).prior == f"even over {', '.join(CAST)}"
    assert Observer("exact", CONFIG, {"loud": 3.0, "random": 1.0}).prior == "loud 0.75, random 0.25"
    assert Observer("rules", CONFIG).prior == "no characters: behaviour is not counted"


def test_the_shipped_models_know_the_cast() -> None:
    import json

    known = json.loads((SMALL_MODEL / "tokenizer.json").read_text())["model"]["vocab"]
    assert set(CAST) <= set(known)
