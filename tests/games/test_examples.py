"""The examples of docs/environments.md run."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.cached_packages import need

DOCS = Path(__file__).parents[2] / "docs"


def test_ppo_in_the_manner_of_cleanrl_trains_on_supersuit(recwarn):
    need("supersuit", "supersuit==3.11.0", "tinyscaler==1.2.8")
    spec = importlib.util.spec_from_file_location("ppo", DOCS / "examples" / "ppo_supersuit.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
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
