"""Real pretrained models play, are captured and read like any other. `make real-models` builds their folders; without
them these tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from games.records import Decision
from harness.activations.store import open_activations
from harness.activations.verify import verify
from harness.capture.run import capture_run
from harness.check.check import check_activations, check_run
from harness.config.files import parse_config
from harness.run.folder import Run, load_run
from tests.fixtures.local_runs import play_run

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path(os.environ.get("WOLFSCOPE_REAL_MODELS") or ROOT / ".cache" / "real-models")
SITES = ["prompt_last", "output_last", "speech_last", "mention", "role_line", "belief_mention"]
STYLES = {
    "SmolLM2-135M-Instruct": ("chat", "transcript"),
    "gemma-3-270m": ("transcript",),  # a base model: it has no chat template
}
CASES = [(name, style) for name, styles in STYLES.items() for style in styles]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One game of six with the model in one seat, played in this process on the hooked backend."""
    name, style = request.param
    folder = PLACE / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not there; make real-models builds it")
    from agents.backends.hooked.backend import load_hooked_backend

    config = parse_config(
        {
            "run": {"games": 1, "seed": 3},
            "game": {"preset": "probe-6", "speech_rounds": 1, "max_days": 1},
            "agents": {
                "model": {
                    "kind": "llm",
                    "backend": "model",
                    "prompt": style,
                    "sampling": {"max_tokens": 24},
                    "retries": 1,
                    "settings": {"choice": "constrained" if style == "chat" else "repair"},
                },
                "loud": {"kind": "scripted", "policy": "loud"},
            },
            "backends": {"model": {"kind": "transformers", "model": str(folder), "device": "cpu"}},
            "roster": {"seats": ["model", *["loud"] * 5]},
            "beliefs": {"enabled": True},
            "activations": {"sites": SITES, "layers": [0, 0.5]},
        }
    )
    backend = load_hooked_backend(folder, device="cpu", dtype="float32")
    path = tmp_path_factory.mktemp("real") / "run"
    return load_run(play_run(config, path, {"model": backend}))


def own(run: Run) -> list[Decision]:
    """The model's decisions."""
    found = [r for r in run.records(run.game_ids[0]) if isinstance(r, Decision) and r.agent == "model"]
    assert found
    return found


def test_it_plays_and_its_run_is_sound(run: Run) -> None:
    assert check_run(run.path) == []
    assert all(d.trace is not None for d in own(run))
    assert not any(d.fallback == "backend_error" for d in own(run))
    ballots = [d for d in own(run) if d.kind == "ballot"]
    assert ballots and all(d.fallback is None for d in ballots), "a choice among options never falls back"


def test_the_log_holds_the_very_tokens(run: Run) -> None:
    from agents.models.folder import load_tokenizer

    name = next(iter(run.manifest.models.values())).partition("@")[0]
    tokenizer = load_tokenizer(PLACE / name)
    for d in own(run):
        assert d.trace is not None
        assert tokenizer.decode(list(d.trace.output_ids), skip_special_tokens=False).startswith(
            d.trace.output_text.rstrip("\N{REPLACEMENT CHARACTER}")[:8]
        )
        assert len(run.context_ids(run.game_ids[0], d.seq)) >= len(d.trace.prompt_ids)


def test_beliefs_are_probabilities_of_roles(run: Run) -> None:
    beliefs = run.beliefs.collect()
    assert len(beliefs)
    stated = beliefs["p_werewolf"].drop_nulls().to_numpy()
    assert len(stated) == len(beliefs)
    assert np.all((stated >= 0) & (stated <= 1))


def test_activations_are_those_of_a_plain_pass(run: Run) -> None:
    capture_run(run.path)
    store = open_activations(run.path / "activations")
    assert verify(store) == []
    assert check_activations(run.path) == []
    sites = set(store.index()["site"].unique())
    assert {"prompt_last", "output_last", "mention", "belief_mention"} <= sites
