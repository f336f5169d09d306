"""Fine-tuning: it learns, goes on where it was stopped, and what comes out is a model that is what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.hooks.model import load_hooked_model
from agents.models.adapter import FACTS, base_of, is_adapter
from agents.models.folder import ModelFilesError, check_model_dir, model_name
from agents.models.small import SMALL_MODEL
from harness.cli.main import main
from harness.config.files import validated
from harness.training.language.batches import apart, collate
from harness.training.language.loss import score
from harness.training.language.settings import FinetuneConfig, FinetuneError
from harness.training.language.train import finetune, prepare
from harness.training.language.weights import merge_adapter
from tests.fixtures.local_runs import play_run, scripted
from tests.fixtures.tiny_models import tiny_config, tiny_model

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with the small model's words."""
    from agents.models.folder import load_tokenizer

    folder = tmp_path_factory.mktemp("base") / "tiny"
    tokenizer = load_tokenizer(SMALL_MODEL)
    tiny_model(vocab_size=len(tokenizer), num_hidden_layers=2, eos_token_id=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    game = {"preset": "probe-6", "speech_rounds": 1}
    return play_run(scripted(6, game=game), tmp_path_factory.mktemp("games") / "run")


def config_of(base: Path, run: Path, **changes: Any) -> FinetuneConfig:
    plain: dict[str, Any] = {
        "model": {"folder": str(base), "device": "cpu", "dtype": "float32"},
        "lora": {"rank": 4},
        "data": {"runs": [str(run)], "held_out": 0.6, "beliefs": {"before": ["ballot"], "most": 2}},
        "train": {"tokens": 12_000, "batch_tokens": 512, "rate": 1e-2, "save_every": 5, "measure_every": 10},
    }
    for section, values in changes.items():
        plain[section] = plain[section] | values
    return validated(FinetuneConfig, plain, "test")


@pytest.fixture(scope="module")
def taught(base: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    said: list[str] = []
    return finetune(config_of(base, run), tmp_path_factory.mktemp("out") / "teach", said.append), said


def logprobs(folder: Path, ids: list[int]) -> torch.Tensor:
    hooked = load_hooked_model(folder, device="cpu", dtype="float32")
    with torch.inference_mode():
        return torch.log_softmax(hooked.model(input_ids=torch.tensor([ids])).logits[0], -1)


def test_batches_of_unequal_lessons_have_few_sizes(base: Path, run: Path) -> None:
    lessons, _, _ = prepare(config_of(base, run), base, lambda _: None)
    sizes = [collate([lesson]).ids.shape[1] for lesson in lessons]
    assert len(set(sizes)) < len({lesson.n_tokens for lesson in lessons})
    assert all(size - lesson.n_tokens < 32 for size, lesson in zip(sizes, lessons, strict=True))
    assert all(size % 32 == 0 for size in sizes)


def test_questions_in_one_pass_are_answered_as_if_each_were_asked_alone(base: Path, run: Path) -> None:
    lessons, _, _ = prepare(config_of(base, run), base, lambda _: None)
    lesson = next(x for x in lessons if len(x.forks) > 1)
    model = load_hooked_model(base, device="cpu").model
    with torch.no_grad():
        batch = collate([lesson, lessons[0]])
        together = score(model, batch).nats[: lesson.n_learned]
        alone = torch.cat([score(model, collate([part])).nats for part in apart(lesson)])
    assert torch.allclose(together, alone, atol=1e-4)
    assert batch.n_read == lesson.n_tokens + lessons[0].n_tokens


def test_models_with_windows_shorter_than_a_lesson_are_asked_apart(
    base: Path, run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "gemma"
    shutil.copytree(base, folder)
    tiny_config("gemma3", vocab_size=127).save_pretrained(folder)  # windows of 16 tokens
    lessons, _, _ = prepare(config_of(folder, run), folder, lambda _: None)
    assert lessons and not any(lesson.forks for lesson in lessons)
    assert any(p.kind == "belief" for lesson in lessons for p in lesson.pieces)


def test_it_says_what_is_learned_and_learns_it(taught: tuple[Path, list[str]]) -> None:
    folder, said = taught
    text = "\n".join(said)
    assert "are learned; the longest has" in text and "%) are learned" in text
    assert "what is learned of the first lesson: '" in text
    curve = [json.loads(x) for x in (folder.parent / "curve.jsonl").read_text().split("\n") if x]
    held_out = [row for row in curve if row["on"] == "held_out"]
    assert held_out[-1]["speech"] < held_out[0]["speech"] - 1
    assert held_out[-1]["belief"] < held_out[0]["belief"] - 1


def test_an_adapter_that_was_taught_in_bfloat16_is_held_to_that_rounding(
    base: Path, run: Path, tmp_path: Path
) -> None:
    changes = {"model": {"dtype": "bfloat16"}, "train": {"tokens": 1_500}}
    folder = finetune(config_of(base, run, **changes), tmp_path / "teach", lambda _: None)
    ids = [1, *range(20, 60)]
    assert not torch.allclose(logprobs(folder, ids), logprobs(base, ids), atol=0.01)
    facts = json.loads((folder / "finetune.json").read_text())
    assert facts["parity"]["dtype"] == "bfloat16"
    facts["parity"]["dtype"] = "float32"  # as if it had been computed so
    (folder / "finetune.json").write_text(json.dumps(facts))
    with pytest.raises(ModelFilesError, match=r"rounding in float32"):
        logprobs(folder, ids)


def test_the_adapter_is_a_model_that_equals_peft_and_differs_from_its_base(
    taught: tuple[Path, list[str]], base: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder, ids = taught[0], [1, *range(20, 60)]
    assert check_model_dir(folder) == folder.resolve() and base_of(folder) == base.resolve()
    ours = logprobs(folder, ids)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.inference_mode():
        theirs = torch.log_softmax(
            PeftModel.from_pretrained(plain, folder)(torch.tensor([ids])).logits[0], -1
        )
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert (ours - logprobs(base, ids)).abs().max() > 0.1
    facts = json.loads((folder / FACTS).read_text())
    assert facts["base"] == model_name(base) and len(facts["data"]) == 16


def test_a_merged_adapter_is_a_model_of_its_own_that_gives_the_same(
    taught: tuple[Path, list[str]], base: Path, tmp_path: Path
) -> None:
    out, ids = tmp_path / "merged", [1, *range(20, 60)]
    with pytest.raises(SystemExit, match="0"):
        main(["merge-adapter", str(taught[0]), str(out)])
    assert check_model_dir(out) == out.resolve() and not is_adapter(out)
    assert torch.allclose(logprobs(out, ids), logprobs(taught[0], ids), atol=1e-5)
    facts = json.loads((out / FACTS).read_text())
    assert facts["adapter"] == model_name(taught[0]) and facts["base"] == model_name(base)
    assert "parity" not in facts
    with pytest.raises(ModelFilesError, match="is not empty"):
        merge_adapter(taught[0], out)
    with pytest.raises(ModelFilesError, match="no adapter"):
        merge_adapter(base, tmp_path / "other")
    half = merge_adapter(taught[0], tmp_path / "half", "bfloat16")
    assert torch.allclose(logprobs(half, ids), logprobs(taught[0], ids), atol=0.1)


def test_its_name_holds_base_and_adapter_and_not_where_the_base_lies(
    taught: tuple[Path, list[str]], base: Path, tmp_path: Path
) -> None:
    moved, elsewhere = tmp_path / taught[0].name, tmp_path / "tiny"
    shutil.copytree(taught[0], moved)
    shutil.copytree(base, elsewhere)
    plain = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(plain | {"base_model_name_or_path": "../tiny"}))
    assert model_name(moved) == model_name(taught[0])
    (moved / "adapter_config.json").write_text(
        json.dumps(plain | {"base_model_name_or_path": "../tiny", "lora_alpha": 3})
    )
    assert model_name(moved) != model_name(taught[0])
    tiny_model(vocab_size=127, num_hidden_layers=2, seed=5).save_pretrained(elsewhere)
    with pytest.raises(ModelFilesError, match=r"another row in transformers than in peft|lora"):
        load_hooked_model(moved, device="cpu", dtype="float32")


def test_an_adapter_that_does_nothing_or_does_not_fit_is_refused(
    taught: tuple[Path, list[str]], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "adapter"
    shutil.copytree(taught[0], folder)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({k: v * (0 if "lora_B" in k else 1) for k, v in tensors.items()}, file)
    with pytest.raises(ModelFilesError, match=r"changes nothing in transformers"):
        load_hooked_model(folder, device="cpu")
    save_file({k.replace("self_attn", "attention"): v for k, v in tensors.items()}, file)
    with pytest.raises(ModelFilesError, match=r"have no place there, \d+ are missing"):
        load_hooked_model(folder, device="cpu")
    (folder / "config.json").unlink()
    with pytest.raises(ModelFilesError, match=r"has no config\.json: copy"):
        check_model_dir(folder)


def test_the_same_command_goes_on_and_ends_at_the_same_weights(
    taught: tuple[Path, list[str]], base: Path, run: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    class Stopped(Exception):
        pass

    def stop(text: str) -> None:
        if " held out: " in text and not text.strip().startswith("0 "):
            raise Stopped

    out, said = tmp_path / "teach", list[str]()
    with pytest.raises(Stopped):
        finetune(config_of(base, run), out, stop)
    folder = finetune(config_of(base, run), out, said.append)
    assert any("going on at" in text for text in said)
    ours, theirs = (load_file(f / "adapter_model.safetensors") for f in (folder, taught[0]))
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    with pytest.raises(
        FinetuneError, match=r"holds another fine-tuning \(train\.rate = 0\.01 there and 0\.001 here"
    ):
        finetune(config_of(base, run, train={"rate": 1e-3}), out, said.append)


def test_all_weights_can_learn_and_a_run_knows_what_its_model_was_made_of(
    base: Path, run: Path, tmp_path: Path
) -> None:
    from harness.config.models import name_models
    from harness.config.sections import BackendSection
    from harness.run.held import new_manifest

    few = {"tokens": 1500, "batch_tokens": 512, "rate": 1e-3}
    folder = finetune(
        config_of(base, run, model={"weights": "full"}, train=few), tmp_path / "full", lambda _: None
    )
    assert (folder / "model.safetensors").is_file()
    load_hooked_model(folder, device="cpu")
    manifest = new_manifest("run", {}, "0" * 16, 1, [])
    name_models(manifest, {"b": BackendSection(kind="transformers", model=str(folder))})
    assert manifest.taught["b"]["base"] == model_name(base)
    assert manifest.models["b"] == model_name(folder)


def test_dataset_writes_the_same_lessons(base: Path, run: Path, tmp_path: Path) -> None:
    import polars as pl

    from harness.cli.learning.finetune import dataset

    out = tmp_path / "data"
    dataset(run, out, model=base, prompt="transcript", set=("data.where=seat = 1",), quiet=True)
    table = pl.read_parquet(out / "lessons.parquet")
    lines = [json.loads(x) for x in (out / "lessons.jsonl").read_text().split("\n") if x]
    assert len(table) == len(lines) > 2
    first = lines[0]
    assert all(first["text"][a:b].endswith("\n") for a, b in first["learned"])
    assert json.loads((out / "dataset.json").read_text())["base"] == model_name(base)
