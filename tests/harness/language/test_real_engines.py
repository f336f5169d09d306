"""Real pretrained models through vLLM: in an engine, and over HTTP from vLLM's own server by token ids and by messages.
Skipped where `make real-models` has built none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.backends.vllm.settings import EngineSettings
from games.records import Decision
from harness.capture.run import capture_run
from harness.check.check import check_activations, check_run
from harness.config.files import parse_config
from harness.run.folder import Run, load_run
from tests.fixtures.local_runs import play_run

ROOT = Path(__file__).resolve().parents[3]
PLACE = Path(os.environ.get("WOLFSCOPE_REAL_MODELS") or ROOT / ".cache" / "real-models")
SMOL = PLACE / "SmolLM2-135M-Instruct"
SETTINGS = EngineSettings(device="cpu", max_context=2048, max_concurrent=8)
SHORT = {"scratchpad": False, "version": "short"}
STYLES: dict[str, dict[str, Any]] = {
    "chat": {"prompt": "chat", "settings": {"choice": "constrained", "factors": SHORT}},
    "transcript": {"prompt": "transcript", "settings": {"choice": "repair"}},
    "messages": {"prompt": "chat", "settings": {"choice": "free", "factors": SHORT}},
}

pytestmark = [pytest.mark.slow, pytest.mark.engine]


def played(path: Path, backends: Mapping[str, Any], sections: Mapping[str, Any]) -> Run:
    """One game of six with a seat for each backend, whose name is the style that it is played in."""
    agents = {
        name: {"kind": "llm", "backend": name, "sampling": {"max_tokens": 16}, "retries": 1, **STYLES[name]}
        for name in backends
    }
    config = parse_config(
        {
            "run": {"games": 1, "seed": 3},
            "game": {"preset": "probe-6", "speech_rounds": 1, "max_days": 1},
            "agents": {**agents, "loud": {"kind": "scripted", "policy": "loud"}},
            "backends": dict(sections),
            "roster": {"seats": [*agents, *["loud"] * (6 - len(agents))]},
            "beliefs": {"enabled": True, "orders": 1},
            "activations": {"sites": ["prompt_last", "mention"], "layers": [0.5]},
        }
    )
    return load_run(play_run(config, path, backends))


def sound(run: Run, agents: set[str]) -> list[Decision]:
    """The models' decisions; every seat was asked and had an answer from its model."""
    assert check_run(run.path) == []
    own = [r for r in run.records(0) if isinstance(r, Decision) and r.agent in agents]
    assert {d.agent for d in own} == agents
    assert all(d.trace is not None and d.fallback != "backend_error" for d in own)
    return own


def test_chat_and_transcript_are_played_in_one_engine_and_read_after_it(
    engine_host: Any, tmp_path: Path
) -> None:
    if not SMOL.is_dir():
        pytest.skip("SmolLM2 is not there; make real-models builds it")
    backend = engine_host.start(SMOL, SETTINGS)
    section = {"kind": "vllm", "model": str(SMOL), "device": "cpu"}
    backends = {"chat": backend, "transcript": backend}
    run = played(tmp_path / "run", backends, dict.fromkeys(backends, section))
    own = sound(run, {"chat", "transcript"})
    assert all(d.fallback is None for d in own if d.kind == "ballot")
    assert set(run.beliefs.collect()["source"]) == {"stated"}
    later = [d.trace.n_cached for d in own if d.trace is not None and d.trace.continues is not None]
    assert later and max(later) > 0, "what a seat has read is served from the cache"
    capture_run(run.path, engine="transformers", device="cpu", backend="chat")
    assert check_activations(run.path) == []


def test_vllms_own_server_is_played_by_token_ids_and_by_messages(tmp_path: Path) -> None:
    if not SMOL.is_dir():
        pytest.skip("SmolLM2 is not there; make real-models builds it")
    pytest.importorskip("vllm")
    from agents.backends.openai.serve import start_server

    with start_server(SMOL, SETTINGS) as server:
        backends = {"chat": server.backend(), "messages": server.backend(api="chat")}
        one = {"kind": "openai", "model": "SmolLM2-135M-Instruct", "url": server.url}
        sections = {
            "chat": one | {"tokenizer": str(SMOL)},
            "messages": one | {"settings": {"api": "chat"}},
        }
        run = played(tmp_path / "run", backends, sections)
    own = sound(run, {"chat", "messages"})
    for d in own:
        assert d.trace is not None
        assert bool(d.trace.output_ids) == (d.agent == "chat"), "messages come without token ids"
    sources = dict(run.beliefs.collect().group_by("viewer", maintain_order=True).agg("source").iter_rows())
    assert set(sources[0]) == {"stated"}
    assert set(sources[1]) <= {"stated_words", "failed"}, "asked in words; a small model may not answer"
