"""An adapter in a vLLM engine: it plays what peft says, and one that the engine applies otherwise is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.backends.base import BackendError, Prompt, Sampling
from agents.hooks.adapted import parity_row
from agents.hooks.model import load_hooked_model
from agents.models.adapter import FACTS
from agents.models.folder import ModelFilesError, model_name
from tests.fixtures.engine_host import Host
from tests.fixtures.tiny_models import save_tiny_model

pytestmark = pytest.mark.engine
IDS = tuple(range(10, 40))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of a tiny model whose pairs are random, with its row."""
    import torch

    peft = pytest.importorskip("peft")
    base = save_tiny_model(tmp_path_factory.mktemp("lora") / "tiny")
    plain: Any = load_hooked_model(base, device="cpu").model
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wanted = peft.LoraConfig(
            r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
        )
        model = peft.get_peft_model(plain, wanted)
    model.peft_config["default"].base_model_name_or_path = str(base)
    folder = base.with_name("taught")
    model.save_pretrained(folder)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, folder / name)
    row = msgspec.to_builtins(parity_row(model, IDS))
    (folder / FACTS).write_text(json.dumps({"parity": row}))
    return folder


def test_the_engine_plays_the_adapter_and_refuses_another_row(engine_host: Host, adapter: Path) -> None:
    import torch

    hooked = load_hooked_model(adapter, device="cpu", dtype="float32")
    with torch.inference_mode():
        logits = hooked.model(input_ids=torch.tensor([IDS])).logits[0, -1]
    expected = torch.log_softmax(logits, -1)
    backend = engine_host.start(adapter)
    assert backend.model == model_name(adapter) == hooked.name
    asked = Prompt(IDS, Sampling(temperature=0.0, max_tokens=1, read=(20, 21, 22)))
    (found,) = asyncio.run(backend.generate([asked]))
    assert found.read == pytest.approx(expected[20:23].tolist(), abs=1e-3)
    assert found.output_ids == (int(expected.argmax()),)
    wrong = adapter.with_name("wrong")
    shutil.copytree(adapter, wrong)
    facts = json.loads((wrong / FACTS).read_text())
    facts["parity"]["adapter"][0] -= 1.0
    (wrong / FACTS).write_text(json.dumps(facts))
    with pytest.raises(ModelFilesError, match=r"gives another row in vLLM than in peft"):
        engine_host.start(wrong)


def test_why_an_engine_refuses_its_model_reaches_who_starts_it(
    ray_cluster: None, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.backends.vllm import engine

    class Refusing:
        def __init__(self, *_: object) -> None:
            pass

        async def ready(self) -> int:
            raise ModelFilesError("it gives another row in vLLM than in peft")

    monkeypatch.setattr(engine, "EngineActor", Refusing)
    with pytest.raises(BackendError, match=r"did not start on cpu.*gives another row in vLLM than in peft"):
        engine.start_engines(adapter)
