"""Verbs of sparse dictionaries: features train, load, judge, compare, fight, linear, tint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from harness.cli.app import ANALYSE, Flag, app, last_line, progress_of
from harness.errors import WolfscopeError

features = App(
    name="features",
    help="Sparse dictionaries of activations: train or load them, judge them, and hold them to simple methods.",
    group=ANALYSE,
)
app.command(features)


@features.command
def train(
    run: Path,
    *,
    site: str,
    layer: str,
    kind: Annotated[
        tuple[Literal["batchtopk", "topk", "matryoshka"], ...], Parameter(name="--kind", negative="")
    ] = ("batchtopk",),
    width: Annotated[tuple[int, ...], Parameter(name="--width", negative="")] = (1024,),
    l0: Annotated[tuple[int, ...], Parameter(name="--l0", negative="")] = (16,),
    seed: Annotated[tuple[int, ...], Parameter(name="--seed", negative="")] = (0,),
    rows: int = 1_000_000,
    batch: int = 512,
    hold_out: float = 0.5,
    untrained: Flag = False,
    out: Path | None = None,
    quiet: Flag = False,
) -> int:
    """Fit sparse dictionaries to a run's stored activations, every combination in one go; resumes after a stop.

    Parameters
    ----------
    run
        A run folder with activations.
    site
        The site whose rows are described, as for `capture`.
    layer
        The layer: a number (0 = output of block 0), or its name in the store (embed, mlp_out.2).
    kind
        batchtopk, topk or matryoshka; may be given again.
    width
        Number of latents; may be given again.
    l0
        Latents on in an average row; may be given again.
    seed
        Of the first directions; may be given again.
    rows
        Rows that each dictionary is trained on, summed over epochs.
    batch
        Rows of a step.
    hold_out
        Share of the games held out from training: figures and `fight` use these.
    untrained
        Fit to the rows of activations-untrained: the dictionary of an untrained model.
    out
        The folder (default: RUN/features/SITE-LAYER).
    quiet
        Print nothing but the dictionaries' folders.
    """
    from harness.activations.format import layer_name
    from harness.features.train import Training, train_dictionaries

    training = Training(
        site=site, layer=layer_name(layer), kinds=tuple(dict.fromkeys(kind)), widths=width, l0=l0, seeds=seed,
        rows=rows, batch=batch, hold_out=hold_out,
        store="activations-untrained" if untrained else "activations",
    )  # fmt: skip
    for folder in train_dictionaries(run, training, out, progress_of(quiet, False).say):
        last_line(folder)
    return 0


@features.command
def load(
    path: Path,
    run: Path,
    *,
    site: str,
    layer: str = "",
    out: Path | None = None,
    force: Flag = False,
    quiet: Flag = False,
) -> int:
    """Load a dictionary in the format of SAELens or Gemma Scope, or any object with encode and decode, and test it on
    rows of a run; refused where it does not fit.

    Parameters
    ----------
    path
        The dictionary's folder: cfg.json and sae_weights.safetensors, or params.npz; or package.module:name of an
        object with encode and decode, or of a function that makes one.
    run
        A run folder with activations of its model and layer.
    site
        The site at which it is read.
    layer
        Its layer, where its own files name none.
    out
        Where it is kept in this format (default: RUN/features/SITE-LAYER/...).
    force
        Keep one that explains too little of the rows, or was trained at another site; every figure then carries a
        warning.
    quiet
        Print nothing but the folder.
    """
    from harness.activations.format import layer_name
    from harness.features.load import load_for

    say = progress_of(quiet, False).say
    folder, fit = load_for(path, run, site=site, layer=layer_name(layer), out=out, force=force, say=say)
    say(
        f"explains {fit.variance_explained:.1%} of {fit.n_rows:,} rows with {fit.l0:.1f} latents on, {fit.dead:.1%} of "
        "the latents dead"
    )
    last_line(folder)
    return 0


@features.command
def judge(
    run: Path,
    *dictionaries: Path,
    splice: Flag = False,
    contexts: int = 200,
    device: str = "auto",
    quiet: Flag = False,
) -> int:
    """Evaluate dictionaries against the truth of held-out games: latents of known concepts with their recall,
    splitting, absorption, and a verified rule for every latent.

    Parameters
    ----------
    run
        The run folder.
    dictionaries
        Their folders (default: all of the run's).
    splice
        Also put the reconstructions into the model's stream and measure how much of its predictions is kept.
    contexts
        Contexts that --splice reads at most, three times each.
    device
        Where the model is read for --splice: cpu, cuda or auto.
    quiet
        Print nothing but what was found.
    """
    from analysis.features.material import folders_of
    from analysis.features.write import judge_lines, write_judge
    from harness.run.folder import load_run

    if contexts < 1:
        raise WolfscopeError(f"--contexts is {contexts}; at least 1 is needed")
    opened, say = load_run(run), progress_of(quiet, False).say
    for folder in folders_of(run, dictionaries):
        last_line(folder)
        for line in judge_lines(write_judge(opened, folder, say)):
            last_line(line)
        if splice:
            from harness.features.splice import write_splice
            from harness.features.spliced import splice_lines

            for line in splice_lines(write_splice(opened, folder, most=contexts, device=device, say=say)):
                last_line(line)
    return 0


@features.command
def compare(run: Path, *dictionaries: Path) -> int:
    """Compare dictionaries: variance explained, L0, dead latents, the result of `judge --splice`, and whether other
    seeds learn the same latents.

    Parameters
    ----------
    run
        The run folder.
    dictionaries
        Their folders (default: all of the run's).
    """
    from analysis.features.compare import compare_lines, write_compared
    from analysis.features.material import folders_of
    from harness.run.folder import load_run

    for line in compare_lines(write_compared(load_run(run), folders_of(run, dictionaries))):
        last_line(line)
    return 0


@features.command
def fight(
    run: Path,
    *dictionaries: Path,
    by: str | None = None,
    beside: Annotated[tuple[Path, ...], Parameter(name="--beside", negative="")] = (),
    regime: Annotated[tuple[str, ...], Parameter(name="--regime", negative="")] = (),
    few: int = 12,
    quiet: Flag = False,
) -> int:
    """Do latents add anything over simple methods on the same rows? A verdict for every target and regime.

    Parameters
    ----------
    run
        The run folder.
    dictionaries
        Their folders (default: all of the run's).
    by
        What the shift is between: preset, lexicon, model, agent, viewer_role, kind, run, or a factor of the run.
        Default: from the first day to later ones; with --beside, between runs.
    beside
        Another run with rows of the same site and layer (other rules, words, opponents, or a checkpoint of the same
        width), on which the shift is tested; may be given again.
    regime
        full, few games, imbalance, label noise, shift; may be given again. Default: all.
    few
        Games of the regime of few games.
    quiet
        Print nothing but the verdicts.
    """
    from analysis.features.material import folders_of
    from analysis.features.regimes import REGIMES, Plan
    from analysis.features.write import fight_lines, write_fight
    from harness.run.folder import load_run

    unknown = [name for name in regime if name not in REGIMES]
    if unknown:
        raise WolfscopeError(f"no regime is called {unknown[0]!r}; there are {', '.join(REGIMES)}")
    opened, say = load_run(run), progress_of(quiet, False).say
    others = [load_run(other) for other in beside]
    for folder in folders_of(run, dictionaries):
        last_line(folder)
        found = write_fight(opened, folder, by, regime or REGIMES, Plan(few=few), say, others)
        for line in fight_lines(found):
            last_line(line)
    return 0


@features.command
def tint(
    run: Path,
    dictionary: Path,
    *,
    latent: Annotated[tuple[int, ...], Parameter(name="--latent", negative="")],
) -> int:
    """Tint tokens by latents in the viewer: writes rows of RUN/derived/probe_scores.parquet, which `view` shows.

    Tokens are tinted where they were captured one by one (`capture --site tokens:output`); a dictionary of another site
    gives cells of the belief matrix.

    Parameters
    ----------
    run
        The run folder.
    dictionary
        The dictionary's folder.
    latent
        The number of a latent; may be given again.
    """
    from analysis.evaluation.scores import write_scores
    from analysis.features.tint import latents_of
    from harness.run.folder import load_run

    last_line(write_scores(load_run(run), latents_of(dictionary, latent)))
    return 0


@features.command
def linear(
    run: Path,
    *,
    site: str,
    dictionary: Path | None = None,
    beside: Annotated[tuple[Path, ...], Parameter(name="--beside", negative="")] = (),
    quiet: Flag = False,
) -> int:
    """Is belief linear? Predict the ideal observer's log-odds by linear maps, kernels and networks; carry directions
    over layers and over factors; with a dictionary, find the belief triangle in clusters of its latents.

    Parameters
    ----------
    run
        A run folder with activations of all layers.
    site
        The site at which another player is read: belief_mention, mention.
    dictionary
        The folder of a dictionary of that site.
    beside
        Another run with the same layers at that site (other rules, words, players, a checkpoint): are the directions
        the same there? May be given again. What `capture --model` read through checkpoints is compared by itself.
    quiet
        Print nothing but what was found.
    """
    from analysis.features.beliefs import linear_lines, write_linear
    from harness.run.folder import load_run

    others, say = [load_run(other) for other in beside], progress_of(quiet, False).say
    for line in linear_lines(write_linear(load_run(run), site, dictionary, say, others)):
        last_line(line)
    return 0


@features.command(name="import-direction")
def import_direction(
    file: Path,
    run: Path,
    *,
    site: str,
    layer: str,
    target: str = "subject_is_werewolf",
    name: str | None = None,
) -> int:
    """Take a direction of others (persona vector, probe, reader) as a saved probe: scored, shown and steered as ours.

    Parameters
    ----------
    file
        A .npy or .safetensors file with one vector (d_model,).
    run
        A run folder with activations; the probe goes into RUN/report/probes.
    site
        Where it is read.
    layer
        A number (0 = output of block 0), or the layer's name in the store.
    target
        subject_is_werewolf or subject_is_seer.
    name
        Its name (default: the file's).
    """
    from analysis.evaluation.outside.directions import probe_of_direction
    from analysis.evaluation.saved import save
    from harness.activations.format import layer_name
    from harness.activations.steering import read_vector
    from harness.config.sections import SteeringSection
    from harness.run.folder import load_run

    vector = read_vector(SteeringSection(vector=str(file), layer=0))
    named = layer_name(layer)
    probe = probe_of_direction(load_run(run), vector, site=site, layer=named, target=target, origin=file.name)
    last_line(f"AUROC {probe.card.metrics['AUROC']:.3f} on half of the games, {target} at {site}, {named}")
    last_line(save(probe, run / "report" / "probes", name or file.stem)[0])
    return 0
