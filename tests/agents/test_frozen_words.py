"""The words of the shipped models are frozen: a term or a style that joins the game later costs them nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.avalon.vocabulary import make_tokenizer as avalon_tokenizer
from agents.exam import lexicon_of
from agents.llm.written.line import WORDS as PRIVATE_WORDS
from agents.models.folder import load_tokenizer
from agents.models.small import SHIPPED, SMALL_MODEL, words_of
from agents.werewolf import styles
from agents.werewolf.styles import CAST, STYLES
from agents.werewolf.vocabulary import CHARACTER_WORDS, vocabulary
from games.werewolf import lexicon as words_module
from games.werewolf.config import WerewolfConfig
from games.werewolf.lexicon import FIRST_TERMS, LEXICONS, lexicon
from games.werewolf.presets import configure
from games.werewolf.roles import CARDS, ROLES, RoleCard
from games.werewolf.words import text
from harness.config.files import parse_config
from harness.errors import ConfigurationError
from harness.play.words import check_words

CUPID = RoleCard("cupid", terms=("links",))


def words_of_folder(folder: Path) -> list[str]:
    """The vocabulary of a shipped model, in the order of token ids."""
    found: dict[str, int] = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    return sorted(found, key=found.__getitem__)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The game with a role, two terms, a function word and a style more than it had when the models were trained."""
    if not words_module.__file__.endswith(".py") or not text.__file__.endswith(".py"):
        pytest.skip("compiled modules cannot be patched")
    monkeypatch.setitem(ROLES, "cupid", CUPID)
    monkeypatch.setattr(text, "CARDS", (*CARDS, CUPID))
    monkeypatch.setattr(words_module, "TERMS", [*words_module.TERMS, "cupid", "links"])
    monkeypatch.setattr(words_module, "FUNCTION_WORDS", [*words_module.FUNCTION_WORDS, "perhaps"])
    monkeypatch.setitem(STYLES, "gossip", styles.Style(question=0.9))
    lexicon.cache_clear()
    yield
    lexicon.cache_clear()


def seated(**game: object):
    return parse_config(
        {
            "game": game,
            "agents": {
                "small": {"kind": "llm", "backend": "small"},
                "loud": {"kind": "scripted", "policy": "loud"},
            },
            "backends": {"small": {"kind": "transformers", "model": "small"}},
            "roster": {"mix": {"small": 1, "loud": 1}},
        }
    )


def test_shipped_vocabularies_are_what_their_words_make_today() -> None:
    lexicons = {"small-nonsense": "nonsense"}
    for name in SHIPPED:
        lex = lexicons.get(name, "classic")
        shipped = words_of_folder(SHIPPED[name])
        if name == "small-thinking":  # it has the words of private lines behind all others
            n = len(shipped) - len(PRIVATE_WORDS)
            assert tuple(shipped[n:]) == PRIVATE_WORDS and shipped[:n] == words_of_folder(SMALL_MODEL)
            shipped = shipped[:n]
        if name == "small-avalon":  # the words that only its second game has stand behind all others
            n = len(words_of_folder(SMALL_MODEL))
            of_avalon = words_of(avalon_tokenizer(("classic",)))
            assert shipped[n:] == [word for word in of_avalon if word not in shipped[:n]]
            shipped = shipped[:n]
        assert vocabulary([lexicon(lex)])[: len(shipped)] == shipped


def test_later_words_follow_all_words_of_before(later: None) -> None:
    shipped = words_of_folder(SMALL_MODEL)
    now = vocabulary([lexicon("classic")])
    assert now[: len(shipped)] == shipped
    assert {"cupid", "links"} <= set(now[len(shipped) :])


def test_later_terms_change_no_word_of_any_lexicon() -> None:
    names = (*LEXICONS, "random-3")
    before = {name: ([lexicon(name).terms[t] for t in FIRST_TERMS], lexicon(name).names) for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words_module, "TERMS", [*words_module.TERMS, "cupid", "links"])
        lexicon.cache_clear()
        for name in names:
            lex = lexicon(name)
            assert ([lex.terms[t] for t in FIRST_TERMS], lex.names) == before[name]
            assert len(lex.terms) == len(FIRST_TERMS) + 2
    lexicon.cache_clear()


def test_shipped_model_keeps_its_lexicon_and_plays_every_game_whose_words_it_knows(later: None) -> None:
    assert lexicon_of("werewolf", load_tokenizer(SMALL_MODEL)) == "classic"
    for preset in ("classic-7", "foaster-6", "probe-6", "kaggle-8"):
        check_words(seated(preset=preset))


def test_shipped_model_refuses_a_game_with_a_word_that_it_does_not_know(later: None) -> None:
    settings = configure("classic-7").model_dump(mode="json")
    settings["roles"] = {"werewolf": 2, "seer": 1, "doctor": 1, "villager": 2, "cupid": 1}
    assert WerewolfConfig(**settings).count("cupid") == 1
    with pytest.raises(ConfigurationError, match=r"does not know 2 of the \d+ words .*\(cupid, links"):
        check_words(seated(**settings))


def test_a_later_style_is_no_character_that_a_shipped_model_or_its_training_is_asked_about(
    later: None,
) -> None:
    from agents.werewolf.lessons.games import MIXTURE

    assert CHARACTER_WORDS == CAST == tuple(MIXTURE)
    assert "gossip" in STYLES
    assert "gossip" not in words_of_folder(SMALL_MODEL)
