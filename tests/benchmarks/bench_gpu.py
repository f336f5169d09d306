"""What the project does on a GPU, in at most eight minutes: one prepared run, for the day on which there is one.

    make bench-gpu [ARGS="--minutes 8 --only capture"]     tables with the card's name
    .venv/bin/python tests/benchmarks/bench_gpu.py --tiny  the same commands with a tiny model on a CPU

Two models of random weights in the shape of Llama 3, with the small model's tokenizer: `8b` (32 layers of 4096) and
`1b` (16 layers of 2048). Steps, each a benchmark of this folder in a process of its own, most valuable first:

- a tournament on vLLM against the engine that is fed the same prompts (`bench_tournament.py`);
- activations read by hooks against the plain forward pass (`bench_capture.py`), and through vLLM (`states`, here);
- rollouts of self-play against a tournament of the same model (`bench_selfplay.py`);
- steps of training (`bench_training.py`).

A step gets the time that is left; what does not fit is named, and the rest goes on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

SHAPES: dict[str, dict[str, int]] = {
    "8b": {"hidden": 4096, "layers": 32, "intermediate": 14_336, "heads": 32, "groups": 8},
    "1b": {"hidden": 2048, "layers": 16, "intermediate": 8192, "heads": 32, "groups": 8},
    "tiny": {"hidden": 64, "layers": 2, "intermediate": 96, "heads": 2, "groups": 2},
}
"""Sizes of the models."""
LEAST_S = 20.0
"""A step is not begun with less time than this."""


class Step(NamedTuple):
    """One benchmark."""

    name: str
    words: tuple[str, ...]
    """Its file here and arguments; MODEL stands for the model's folder."""
    model: str
    """Whose folder it needs, or nothing."""


def steps(tiny: bool) -> list[Step]:
    """The benchmarks, most valuable first."""
    large, fits = ("tiny", "tiny") if tiny else ("8b", "1b")
    device, cuda = ("cpu", "cpu") if tiny else ("gpu", "cuda")
    games, wide = ("2", "4") if tiny else ("128", "256")
    together = ("--max-concurrent", wide, "--device", device)

    def tournament(model: str) -> Step:
        words = ("bench_tournament.py", "--games", "0", "--model", "MODEL", "--model-games", games)
        return Step(
            f"tournament of {model} against the engine alone", (*words, "--in-flight", wide, *together), model
        )

    def capture(model: str) -> list[Step]:
        hooks = ("bench_capture.py", "--models", "MODEL", "--device", cuda, "--repeats", "1" if tiny else "3")
        states = ("bench_gpu.py", "states", "--model", "MODEL", "--device", device)
        return [
            Step(f"capture of {model} by hooks against the plain pass", hooks, model),
            Step(f"capture of {model} through vLLM", states, model),
        ]

    played = ("bench_selfplay.py", "--games", games, "--together", wide, "--in-flight", wide, *together)
    trained = ("bench_training.py", "--device", cuda, "--batches", "2" if tiny else "30")
    found = [tournament(large), *capture(large), tournament(fits), *capture(fits)]
    found += [
        Step(
            "rollouts of self-play of the small model", (*played, "--model", "MODEL" if tiny else "small"),
            "tiny" if tiny else "",
        ),
        Step("training steps of the small model", trained, ""),
    ]  # fmt: skip
    return list(dict.fromkeys(found))


def random_model(folder: Path, shape: dict[str, int], device: str) -> Path:
    """A Llama of random weights with the small model's words, saved in bfloat16 (tiny: float32); made on the device."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from agents.werewolf.vocabulary import make_tokenizer

    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=shape["hidden"], intermediate_size=shape["intermediate"],
        num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"], num_key_value_heads=shape["groups"],
        max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    dtype: Any = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        model = LlamaForCausalLM._from_config(config, dtype=dtype)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def states(model: str, device: str) -> None:
    """Tokens a second of hidden states through vLLM, four positions of all layers."""
    import numpy as np

    from agents.backends.vllm.settings import EngineSettings
    from agents.backends.vllm.states import VllmStates

    rng = np.random.default_rng(0)
    n, length = (4, 64) if device == "cpu" else (256, 512)
    reader = VllmStates(model, device=device, settings=EngineSettings(max_concurrent=n))
    contexts = [rng.integers(4, reader.vocab_size, length).tolist() for _ in range(n)]
    wanted = [sorted(rng.permutation(length)[:4].tolist()) for _ in range(n)]
    reader.states(contexts[:2], wanted[:2])  # what the first pass prepares is nobody's cost
    began = time.monotonic()
    found = reader.states(contexts, wanted)
    seconds = time.monotonic() - began
    reader.close()
    print(f"through vLLM: {n * length / seconds:,.0f} tokens/s, {len(found)} x {found[0].shape} rows")


def card() -> str:
    """The name of the GPU, or that there is none."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU, no GPU"


def main() -> None:
    """Every step that fits, then what was left out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=["states"], help="one measurement of this file")
    parser.add_argument("--model")
    parser.add_argument("--device", default="gpu", choices=["cpu", "gpu"])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--only", default="", help="steps whose names hold this")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on a CPU")
    args = parser.parse_args()
    if args.part == "states":
        states(args.model, args.device)
        return
    ends, left_out = time.monotonic() + 60 * args.minutes, list[str]()
    print(f"# {card()}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for step in steps(args.tiny):
            if args.only not in step.name:
                continue
            folder = Path(scratch) / (step.model or "none")
            if step.model and not folder.exists():
                began = time.monotonic()
                random_model(folder, SHAPES[step.model], "cpu" if args.tiny else "cuda")
                print(f"\n{step.model}: made and saved in {time.monotonic() - began:.0f} s", flush=True)
            left_out += _taken(step, folder, ends - time.monotonic())
    for text in left_out:
        print(f"left out: {text}")
    if left_out and args.tiny:  # on the day it has to work
        sys.exit(1)


def _taken(step: Step, folder: Path, left_s: float) -> list[str]:
    """Run a step; why it gave nothing, if it did not."""
    if left_s < LEAST_S:
        return [f"{step.name} (no time was left)"]
    print(f"\n## {step.name}", flush=True)
    file, *words = (str(folder) if word == "MODEL" else word for word in step.words)
    try:
        done = subprocess.run([sys.executable, str(HERE / file), *words], timeout=left_s, check=False)
    except subprocess.TimeoutExpired:
        return [f"{step.name} (stopped when the time was over)"]
    return [] if done.returncode == 0 else [f"{step.name} (exit status {done.returncode})"]


if __name__ == "__main__":
    main()
