"""Verbs that read activations: capture, diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from harness.cli.app import ANALYSE, Flag, app, last_line, progress_of
from harness.errors import WolfscopeError

if TYPE_CHECKING:
    pass


@app.command(group=ANALYSE)
def capture(
    run: Path,
    *,
    site: Annotated[tuple[str, ...], Parameter(name="--site", negative="")] = (),
    layer: Annotated[tuple[str, ...], Parameter(name="--layer", negative="")] = (),
    variant: Annotated[tuple[str, ...], Parameter(name="--variant", negative="")] = (),
    role: Annotated[tuple[str, ...], Parameter(name="--role", negative="")] = (),
    lexicon: str = "neutral",
    steer: Path | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] | None = None,
    backend: str | None = None,
    engine: Literal["transformers", "vllm"] = "transformers",
    device: str = "auto",
    devices: int = 1,
    untrained: Flag = False,
    model: Path | None = None,
    quiet: Flag = False,
) -> int:
    """Read the activations behind a run's model decisions; resumes where an earlier call stopped.

    Parameters
    ----------
    run
        The run folder.
    site
        A named position: prompt_last, output_last, output_mean, speech_last, speech_mean, reasoning_mean, mention,
        belief_mention, role_line, or tokens:SPAN for each token of output, speech, reasoning, role_line or question;
        may be given again. Default: activations.sites of the run's configuration.
    layer
        A number (0 = output of block 0), a fraction of the depth (0.5), embed, all, attn_out or mlp_out; may be given
        again. Default: activations.layers.
    variant
        The same decisions with one thing changed: no_role_line, swapped_role, reskinned, random_span, other_seat,
        instructed_honest, instructed_lie; may
        be given again. Default: activations.variants (original).
    role
        Only the contexts of seats with this role; may be given again. Default: all.
    lexicon
        The words of --variant reskinned, stored as reskinned-LEXICON.
    steer
        A TOML file with the keys of a steering table (vector, layer, scale, ...): the contexts are read steered.
    dtype
        The store's number format; one store has one. Default: activations.dtype.
    backend
        Whose model, where the run has several.
    engine
        Read through transformers, or through a vLLM engine (residual stream only).
    device
        cpu, cuda or auto.
    devices
        Number of parallel readers, each with a share of the games.
    untrained
        Read a model of the same shape with random weights instead, as a baseline, into activations-untrained.
    model
        The folder of another checkpoint: read the same contexts through it, into activations-NAME. The report follows
        a probe over checkpoints whose names end in the number of tokens trained.
    quiet
        Print nothing but the folder.
    """
    from harness.capture.run import capture_run

    progress = progress_of(quiet, False)
    store = capture_run(
        run,
        sites=site,
        layers=layer,
        variants=variant,
        roles=role,
        lexicon=lexicon,
        steer=steer,
        dtype=dtype,
        backend=backend,
        engine=engine,
        device=device,
        devices=devices,
        untrained=untrained,
        model=model,
        say=progress.say,
    )
    last_line(store)
    return 0


@app.command(group=ANALYSE)
def diff(
    run: Path,
    *,
    model: Annotated[tuple[str, ...], Parameter(name="--model", negative="")],
    against: Annotated[tuple[Path, ...], Parameter(name="--against", negative="")] = (),
    part: Annotated[tuple[str, ...], Parameter(name="--part", negative="")] = (),
    null: Path | None = None,
    layer: Annotated[tuple[str, ...], Parameter(name="--layer", negative="")] = (),
    games: int | None = None,
    backend: str | None = None,
    device: str = "auto",
    quiet: Flag = False,
) -> int:
    """Compare two models of one architecture: predictions on a run's contexts, activations, parts that carry the
    change, and with --against behaviour; `report` shows it as "Before and after".

    Parameters
    ----------
    model
        The folder of the model that is compared with the run's own (an adapter in PEFT's format is merged into its
        base); given twice, the two that are compared.
    against
        A run of the same deals (same configuration and seed) that the other model played: what players do is compared
        game by game. May be given again, for checkpoints on the way; the last one is compared.
    part
        words (always), carried (weights transplanted, directions added and taken away), features (a crosscoder of both
        models' streams); may be given again. Default: words and carried.
    null
        For the part features: a model that differs from the first by its seed alone; the first itself where it is left
        out.
    layer
        As for `capture`; by default the embeddings and every block.
    games
        At most this many games.
    backend
        Whose contexts, where the run has several models.
    device
        cpu, cuda, or auto.
    quiet
        Only the last line: the folder written.
    """
    from harness.compare.run import diff_models

    if len(model) > 2:
        raise WolfscopeError(f"{len(model)} models were named; name one (against the run's own) or two")
    a, b = (None, *model) if len(model) == 1 else model
    layers = tuple(layer) or ("all",)
    parts = tuple(part) or ("words", "carried")
    say = progress_of(quiet, False).say
    out = diff_models(
        run, b, a, layers=layers, parts=parts, null=null, games=games, backend=backend, device=device, say=say
    )
    if against:
        from analysis.change.acts import acts_of
        from harness.atomic import replacing
        from harness.run.folder import load_run
        from harness.seals import seal

        with replacing(out / "acts.parquet") as file:
            acts_of([load_run(path) for path in (run, *against)]).write_parquet(file)
        seal(out, out / "acts.parquet", verb="diff")
    last_line(out)
    return 0
