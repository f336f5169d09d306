"""Backends by the word of a configuration: what each kind can do is declared, and the mock is a provider like any."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from agents.backends.base import Backend, BackendError, Capabilities, Prompt, Sampling
from agents.backends.mock import MockBackend
from agents.backends.registry import KINDS, SettingsError, Spec, provider
from agents.models.small import SMALL_MODEL
from harness.config.files import parse_config
from harness.errors import WolfscopeError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_provider_that_refuses_unknown_settings(kind: str) -> None:
    made = provider(kind)
    assert callable(made.start)
    if kind != "openai":  # a server's further settings are fields of its requests
        with pytest.raises(SettingsError, match="nonsense"):
            made.check(Spec("m", "small", SMALL_MODEL, settings={"nonsense": 1}))


def test_looking_a_provider_up_loads_no_engine() -> None:
    code = (
        "import sys\nfrom agents.backends.registry import KINDS, provider\n"
        "for kind in KINDS: provider(kind)\nprint(*{'torch', 'vllm', 'ray', 'transformers'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.split() == []


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        WolfscopeError, match="'llama' is no kind of backend; there are: vllm, transformers, openai, mock"
    ):
        parse_config(
            {
                "agents": {"m": {"kind": "llm", "backend": "b"}},
                "backends": {"b": {"kind": "llama"}},
                "roster": {"mix": {"m": 7}},
            }
        )  # fmt: skip


def test_steering_and_watching_are_for_kinds_that_declare_them() -> None:
    agent = {"kind": "llm", "backend": "b", "steering": {"vector": "v.npy", "layer": 0}}
    with pytest.raises(
        WolfscopeError, match='steering needs a backend with kind = "transformers"; \'b\' is "mock"'
    ):
        parse_config(
            {"agents": {"m": agent}, "backends": {"b": {"kind": "mock"}}, "roster": {"mix": {"m": 7}}}
        )


def test_the_mock_is_started_like_any_other_and_draws_among_choices() -> None:
    backend = provider("mock").start(Spec("m", "small", SMALL_MODEL, settings={"text": " I accuse Ada.\n"}))
    assert isinstance(backend, Backend)
    assert backend.capabilities == Capabilities()
    assert backend.model.startswith("small@")
    (said,) = asyncio.run(backend.generate([Prompt((5,), Sampling(stop_ids=(4,)))]))
    assert said.text.split() == ["I", "accuse", "Ada."]
    (chosen,) = asyncio.run(backend.generate([Prompt((5,), Sampling(choices=((7,), (8,)), seed=1))]))
    assert chosen.output_ids in ((7,), (8,))


def test_a_mock_without_words_refuses_to_be_asked() -> None:
    with pytest.raises(BackendError, match="not meant to be asked"):
        asyncio.run(MockBackend().generate([Prompt((5,), Sampling())]))
