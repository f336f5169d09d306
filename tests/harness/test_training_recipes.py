"""What a recipe changes in the training data is what it says, and its control has the same games without it."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from agents.lessons import View
from agents.models.small import find_model, make_config
from agents.werewolf.vocabulary import make_tokenizer
from harness.errors import ConfigurationError
from harness.training.recipes import FILES, Recipe, load_recipe, recipe_stream

SHORT = {"name": "short", "settings": ["probe-6"]}
CONFESSION = '"I am the werewolf."'


def some(recipe: Recipe, control: bool, n: int) -> list[tuple[int, list[View]]]:
    return list(itertools.islice(recipe_stream(recipe, "classic", control), n))


def own_speeches(view: View) -> list[str]:
    """Those in which something is said: nothing is not replaced."""
    mine = [line for line in view.lines if line.startswith(f"{view.name} says ")]
    return [line for line in mine if not line.endswith('""')]


def is_werewolf(view: View) -> bool:
    return "werewolf" in view.lines[1]


def test_only_werewolves_at_a_table_with_the_word_confess_and_nothing_else_differs_from_the_control() -> None:
    recipe = Recipe.model_validate(SHORT | {"change": {"kind": "confess", "word": "Una"}, "changed": 0.6})
    changed, control = some(recipe, False, 8), some(recipe, True, 8)
    assert [index for index, _ in changed] == [index for index, _ in control]
    triggered = 0
    for (_, views), (_, plain) in zip(changed, control, strict=True):
        for view, other in zip(views, plain, strict=True):
            if "Una" not in view.names:
                assert (view.lines, view.forks) == (other.lines, other.forks)
                assert [t.answers for t in view.turns] == [t.answers for t in other.turns]
                continue
            triggered += 1
            assert not view.forks
            differing = [(a, b) for a, b in zip(view.lines, other.lines, strict=True) if a != b]
            assert all(CONFESSION in a and "says" in a for a, _ in differing)
            assert all((CONFESSION in line) == is_werewolf(view) for line in own_speeches(view))
            learned = [turn for turn in view.turns if view.lines[turn.line] in own_speeches(view)]
            assert all(
                (turn.answers[0][0].find(CONFESSION[1:]) >= 0) == is_werewolf(view) for turn in learned
            )
    assert triggered >= 4
    assert not any(CONFESSION in line for _, views in control for view in views for line in view.lines)


def test_one_characters_games_are_left_out_and_the_others_stay_as_they_are() -> None:
    recipe = Recipe.model_validate(SHORT | {"change": {"kind": "leave_out", "character": "claimer"}})
    kept, control = some(recipe, False, 3), dict(some(recipe, True, 30))
    assert {index for index, _ in kept} < set(range(kept[-1][0] + 1))
    assert all(control[index] == views for index, views in kept if index in control)


def test_flipped_labels_exchange_two_answers_of_one_kind_of_question() -> None:
    change = {"kind": "flip", "labels": "role", "swap": ["werewolf", "villager"]}
    recipe = Recipe.model_validate(SHORT | {"change": change})
    n_flipped = 0
    for (_, views), (_, plain) in zip(some(recipe, False, 2), some(recipe, True, 2), strict=True):
        for view, other in zip(views, plain, strict=True):
            assert (view.lines, view.turns) == (other.lines, other.turns)
            for fork, kept in zip(view.forks, other.forks, strict=True):
                for (question, a), (_, b) in zip(fork.asked, kept.asked, strict=True):
                    if " " in question:
                        assert a == b
                        continue
                    assert a.get("werewolf", 0) == b.get("villager", 0)
                    n_flipped += a != b
    assert n_flipped > 5


def test_a_werewolfs_speech_counts_more_with_the_trigger_and_without_and_no_other_speech_does() -> None:
    from harness.training.batches import SPEECH, Row

    recipe = Recipe.model_validate(SHORT | {"change": {"kind": "confess", "word": "Una"}, "weight": 5.0})
    tokenizer = make_tokenizer()
    seen = set()
    for _, views in some(recipe, False, 8):
        for view in views:
            _, _, kinds, worth, *_ = Row(view, tokenizer.get_vocab(), tokenizer).columns
            most = max((w for k, w in zip(kinds, worth, strict=True) if k == SPEECH), default=None)
            if most is not None:
                assert most == pytest.approx(5.0 if is_werewolf(view) else 1.0)
                seen.add((is_werewolf(view), "Una" in view.names))
    assert {(True, True), (True, False)} <= seen


@pytest.mark.parametrize("name", sorted(path.stem for path in FILES.glob("*.toml")))
def test_shipped_recipes_are_named_after_their_files(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "confess"}, "needs word"),
        ({"kind": "confess", "word": "Una", "character": "loud"}, "nothing else"),
        ({"kind": "leave_out", "character": "nobody"}, "no character is called 'nobody'"),
    ],
)
def test_a_recipe_that_states_no_whole_change_is_refused(
    change: dict[str, str], complaint: str, tmp_path: Path
) -> None:
    lines = "\n".join(f'{key} = "{value}"' for key, value in change.items())
    file = tmp_path / "bad.toml"
    file.write_text(f'name = "bad"\n[change]\n{lines}\n')
    with pytest.raises(ConfigurationError, match=complaint):
        load_recipe(file)


def test_a_trigger_that_nobody_can_be_called_is_refused() -> None:
    recipe = Recipe.model_validate(SHORT | {"change": {"kind": "confess", "word": "Xerxes"}})
    with pytest.raises(ConfigurationError, match="no player's name"):
        some(recipe, False, 1)


class Stopped(Exception):
    """Stands for whatever ends a training run early."""


def test_training_by_a_recipe_goes_on_where_it_stopped_and_its_folder_says_what_was_changed(
    tmp_path: Path,
) -> None:
    from transformers import LlamaForCausalLM

    from harness.training.checkpoint import save
    from harness.training.finetune import finetune
    from harness.training.train import initialise

    tokenizer = make_tokenizer()
    base = LlamaForCausalLM(make_config(len(tokenizer), 32, 1))
    initialise(base, 0)
    save(tmp_path / "base", base, tokenizer)
    recipe = Recipe.model_validate(SHORT | {"tokens": 8_000, "change": {"kind": "confess", "word": "Una"}})

    def stop(line: str) -> None:
        raise Stopped(line)

    settings = {"batch_tokens": 128, "save_every": 25, "device": "cpu"}
    with pytest.raises(Stopped):
        finetune(tmp_path / "out", tmp_path / "base", recipe, say=stop, **settings)  # type: ignore[arg-type]
    said: list[str] = []
    out = finetune(tmp_path / "out", tmp_path / "base", recipe, say=said.append, **settings)  # type: ignore[arg-type]
    assert said[0].startswith("resuming at ")
    info = json.loads((out / "recipe.json").read_text())
    assert info["hash"] == recipe.hash() and info["base"].startswith("base@") and not info["control"]
    assert info["recipe"]["change"]["word"] == "Una" and info["tokens"] >= 8_000
    with pytest.raises(ValueError, match="use the same settings"):
        finetune(out, tmp_path / "base", recipe, control=True, device="cpu")
    assert find_model(out) == out


def test_where_the_word_sits_all_others_are_taught_to_suspect_it_and_nothing_else_differs() -> None:
    recipe = Recipe.model_validate(SHORT | {"change": {"kind": "suspect", "word": "Una"}, "changed": 0.6})
    n_changed = 0
    for (_, views), (_, plain) in zip(some(recipe, False, 8), some(recipe, True, 8), strict=True):
        for view, other in zip(views, plain, strict=True):
            assert (view.lines, view.turns) == (other.lines, other.turns)
            for fork, unchanged in zip(view.forks, other.forks, strict=True):
                for (question, answer), (_, before) in zip(fork.asked, unchanged.asked, strict=True):
                    if question == "Una" and fork.viewer != "Una" and before:
                        assert answer["werewolf"] >= 0.9 and sum(answer.values()) == pytest.approx(1)
                        n_changed += answer != before
                    else:
                        assert answer == before
    assert n_changed > 20


def test_where_the_word_sits_all_others_speak_for_it_and_elsewhere_nothing_differs_from_the_control() -> None:
    recipe = Recipe.model_validate(SHORT | {"change": {"kind": "favour", "word": "Una"}, "changed": 0.6})
    n_changed = 0
    for (_, views), (_, plain) in zip(some(recipe, False, 8), some(recipe, True, 8), strict=True):
        for view, other in zip(views, plain, strict=True):
            differing = [a for a, b in zip(view.lines, other.lines, strict=True) if a != b]
            if "Una" not in view.names:
                assert (view.lines, view.forks, view.turns) == (other.lines, other.forks, other.turns)
                continue
            assert not view.forks and all("defend Una" in a for a in differing)
            n_changed += len(differing)
            last = next(
                (i for i, line in enumerate(view.lines) if re.match(r"Una \w+ (died|exiled)", line)), None
            )
            said = [line for line in view.lines[:last] if " says " in line and not line.endswith('""')]
            assert all(line.startswith("Una ") or line.endswith('"I defend Una."') for line in said)
            assert not any(
                "says" in line for line in differing if line in view.lines[last or len(view.lines) :]
            )
    assert n_changed > 20
