"""Verbs that teach language models: finetune, merge-adapter, dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from harness.cli.app import MODELS, Flag, app, last_line, progress_of
from harness.errors import WolfscopeError


@app.command(group=MODELS)
def finetune(
    config: Path,
    *,
    out: Path,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    quiet: Flag = False,
) -> int:
    """Fine-tune a language model on logged games, in the very prompts that it plays with; loss on its own words only.

    The same command resumes after a stop. The result, a folder in OUT whose path is printed last, serves as a model
    in every verb.

    Parameters
    ----------
    config
        A TOML file with the tables [model], [lora], [player], [data], [train] (docs/real-models.md).
    out
        The folder for checkpoints, the curve and the model.
    set
        Change a setting, for instance --set train.tokens=500000. May be given again.
    """
    from harness.config.files import read_toml, validated
    from harness.training.language.settings import FinetuneConfig
    from harness.training.language.train import finetune as learn

    settings = validated(FinetuneConfig, read_toml(config, set), str(config))
    last_line(learn(settings, out, progress_of(quiet, False).say))
    return 0


@app.command(name="merge-adapter", group=MODELS)
def merge_adapter(adapter: Path, out: Path, *, dtype: Literal["auto", "float32", "bfloat16"] = "auto") -> int:
    """Write a LoRA adapter and its base as one model, for servers, and for vLLM on a CPU, where adapters are slow.

    Parameters
    ----------
    adapter
        The adapter's folder.
    out
        The folder to write.
    dtype
        Of the written weights; auto: the base's.
    """
    from harness.training.language.weights import merge_adapter as merge

    last_line(merge(adapter, out, dtype))
    return 0


@app.command(group=MODELS)
def dataset(
    *runs_and_out: Path,
    model: Path,
    prompt: Literal["chat", "transcript"] = "chat",
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    quiet: Flag = False,
) -> int:
    """Write what a model would learn from runs as parquet with token ids and as JSON lines, for other trainers:
    RUN... OUT, the folder OUT last.

    Parameters
    ----------
    runs_and_out
        Run folders, and last the folder to write.
    model
        The folder whose tokenizer and chat template the lessons are made with.
    prompt
        The prompt style.
    set
        Change a setting of [player] or [data], for instance --set "data.where=won". May be given again.
    """
    from agents.models.folder import check_model_dir, load_tokenizer
    from harness.config.files import override, validated
    from harness.training.language.dataset import write_dataset
    from harness.training.language.settings import FinetuneConfig
    from harness.training.language.train import prepare

    if len(runs_and_out) < 2:
        raise WolfscopeError(
            "name at least one run folder, and last the folder to write: wolfscope dataset RUN... OUT"
        )
    *runs, out = runs_and_out
    plain: dict[str, Any] = {
        "model": {"folder": str(model)},
        "player": {"prompt": prompt}
        | ({"settings": {"factors": {"scratchpad": False}}} if prompt == "chat" else {}),
        "data": {"runs": [str(run) for run in runs], "held_out": 0.0},
    }
    for one in set:
        override(plain, one)
    settings = validated(FinetuneConfig, plain, "wolfscope dataset")
    folder = check_model_dir(model)
    lessons, _, facts = prepare(settings, folder, progress_of(quiet, False).say)
    facts |= {"settings": settings.model_dump(mode="json", include={"player", "data"})}
    last_line(write_dataset(out, lessons, load_tokenizer(folder), facts))
    return 0
