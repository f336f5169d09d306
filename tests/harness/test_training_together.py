"""Training in several processes: the step of one process on all their batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file, save_file

torch = pytest.importorskip("torch")

from agents.models.small import make_config  # noqa: E402
from agents.werewolf.lessons import views  # noqa: E402
from agents.werewolf.vocabulary import make_tokenizer  # noqa: E402
from harness.errors import WolfscopeError  # noqa: E402
from harness.training.attention import NAME, predict  # noqa: E402
from harness.training.batches import Batch, Row, collate  # noqa: E402
from harness.training.loop import Loop  # noqa: E402
from harness.training.together import ALONE, Together, train_together  # noqa: E402
from harness.training.train import initialise, train  # noqa: E402

WEIGHTS = torch.tensor((0.0, 1.0, 12.0, 4.0, 1.0, 1.0))


def model_of_words() -> Any:
    """A new model, the same each time."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM._from_config(make_config(len(make_tokenizer()), 32, 1), attn_implementation=NAME)
    initialise(model, 0)
    return model


def one_step(
    folder: Path, batches: Sequence[Batch], together: Together = ALONE, say: Callable[[str], None] = print
) -> None:
    """One step of a new model on the process's batch; its weights go to `folder`, by the process's rank."""
    model = model_of_words()
    loop = Loop(folder / f"of-{together.rank}", model, {"tokens": 1}, together=together, say=say)
    loop.run(
        [({"game": 0}, batches[together.rank])],
        predict=lambda batch: predict(model, batch, bf16=False),
        weights=lambda _: WEIGHTS,
        rate=lambda _: 1.0,
        save_every=100,
    )
    save_file(
        model.state_dict() | {"tokens": torch.tensor(loop.state["tokens"])}, folder / f"{together.rank}"
    )


def test_two_processes_take_the_step_of_one_on_both_their_batches(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    words = tokenizer.get_vocab()
    rows = [Row(view, words, tokenizer) for i in (3, 4) for view in views(i, 0, 4.0, "classic", 1.0)]
    one_step(tmp_path, [collate(rows)])
    alone = load_file(tmp_path / "0")
    (tmp_path / "both").mkdir()
    unequal = [collate(rows[:2]), collate(rows[2:])]
    train_together(partial(one_step, tmp_path / "both", unequal), 2, "cpu", print)
    first, second = (load_file(tmp_path / "both" / name) for name in "01")
    assert first["tokens"] == second["tokens"] == alone["tokens"] == sum(map(len, rows))
    start = model_of_words().state_dict()
    for name, value in start.items():
        assert torch.equal(first[name], second[name])
        apart, moved = (first[name] - alone[name]).norm(), (alone[name] - value).norm()
        assert moved > 0 and apart < 0.02 * moved  # the optimizer of matrices may round to bfloat16
    assert (tmp_path / "both/of-0/state.json").is_file()
    assert not (tmp_path / "both/of-1/state.json").exists()


def test_more_processes_than_cores_and_a_gpu_are_refused() -> None:
    with pytest.raises(WolfscopeError, match="4096 processes were asked for and there are"):
        train_together(print, 4096, "cpu", print)
    with pytest.raises(WolfscopeError, match="the device is cuda: give --device cpu"):
        train_together(print, 2, "cuda", print)


def dies(together: Together, say: object) -> None:
    """Ends with an error in the second process."""
    if together.rank:
        raise ZeroDivisionError("planted")
    together.total(torch.ones(1))


def test_the_end_of_another_process_ends_the_training_with_a_word_on_it() -> None:
    with pytest.raises(WolfscopeError, match=r"process 1 \(exit 1\) ended before the training did"):
        train_together(dies, 2, "cpu", print)


SIZES = {"batch_tokens": 256, "hidden": 32, "layers": 1, "save_every": 1, "device": "cpu"}
TRAINING = """
from pathlib import Path
from harness.training.train import train
if __name__ == "__main__":
    train(Path({folder!r}), tokens=10**9, processes=2, **{sizes!r})
"""


def started_and_killed(folder: Path, until: Callable[[str], bool]) -> None:
    """A training of two processes in `folder`, killed once `until` holds of what it has said; none is left then."""
    script, log = folder / "train.py", folder / "log"
    script.write_text(TRAINING.format(folder=str(folder / "out"), sizes=SIZES))
    root = Path(__file__).resolve().parents[2]
    with log.open("w") as said:
        first = subprocess.Popen(
            [sys.executable, "-u", str(script)],
            env=os.environ | {"PYTHONPATH": str(root)},
            stdout=said,
            stderr=said,
        )
        try:
            end = time.monotonic() + 120
            while not until(log.read_text()):
                assert first.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            others = psutil.Process(first.pid).children(recursive=True)
        finally:
            first.kill()
            first.wait()
    assert others
    assert not psutil.wait_procs(others, timeout=60)[1]


def test_a_killed_training_leaves_no_process_behind_and_goes_on_in_as_many(tmp_path: Path) -> None:
    state = tmp_path / "out/training/state.json"
    started_and_killed(tmp_path, lambda _: state.exists())
    before = json.loads(state.read_text())
    assert before["tokens"] <= 512 * before["step"]  # two batches of at most 256 tokens a step
    with pytest.raises(ValueError, match="same settings"):
        train(tmp_path / "out", tokens=10**9, say=lambda _: None, **SIZES)  # type: ignore[arg-type]
    started_and_killed(tmp_path, lambda said: "resuming at" in said and "Traceback" not in said)
