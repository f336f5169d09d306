"""The examples of docs/environments.md run."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.fixtures.cached_packages import need

DOCS = Path(__file__).parents[2] / "docs"


def example_of(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / "examples" / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def test_policy_gradients_train_on_torchrl(recwarn):
    need("torchrl", "torchrl==0.14.1", "tensordict==0.15.3", "pyvers")
    example = example_of("torchrl_policy")
    env = example.make_env()
    played = env.rollout(400, example.make_actor(env))
    assert played["players", "observation", "observation"].shape[1:] == (7, 251)
    legal = played["players", "action_mask"].gather(-1, played["players", "action"].unsqueeze(-1))
    assert bool(legal.all()) and bool(played["next", "done"][-1])
    means = example.train(updates=2, games=1)
    assert len(means) == 2 and np.isfinite(means).all() and any(means)


def test_ppo_in_the_manner_of_cleanrl_trains_on_supersuit(recwarn):
    need("supersuit", "supersuit==3.11.0", "tinyscaler==1.2.8")
    example = example_of("ppo_supersuit")
    envs = example.make_envs(2)
    seen, _ = envs.reset(seed=1)
    assert {key: value.shape for key, value in seen.items()} == {
        "observation": (14, 251),
        "action_mask": (14, 79),
    }
    means = example.train(updates=2, n_steps=40)
    assert len(means) == 2 and np.isfinite(means).all()


@pytest.mark.parametrize("number", range(2))
def test_snippets_of_the_page_run(number, capsys):
    text = (DOCS / "environments.md").read_text()
    snippet = re.findall(r"```python\n(.*?)```", text, re.S)[number]
    exec(compile("from games import werewolf_v0\n" + snippet, "environments.md", "exec"), {})
    if number == 1:
        found = eval(capsys.readouterr().out)
        assert sum(found.values()) == 1000 and found["werewolf"] > 100
