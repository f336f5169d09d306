"""The command line, and the one place where rules, players, harness and analysis are put together.

Every verb imports what it needs when it runs, so that `--help` costs nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter, validators

from harness.errors import WolfscopeError

if TYPE_CHECKING:
    from harness.play.progress import Mode, Progress

RUNS = Path("runs")
SHOWN = 20
"""So many findings of a check are printed."""

app = App(
    name="wolfscope",
    help="A microscope for social deception: play tournaments of language models and scripted players, read what "
    "the models represent while they play, and report it against honest baselines.",
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

Flag = Annotated[bool, Parameter(negative="")]


@app.command
def run(
    config: Path,
    *,
    out: Path | None = None,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    seed: int | None = None,
    limit: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    dry_run: Flag = False,
    sample: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    track: Annotated[tuple[str, ...], Parameter(name="--track", negative="")] = (),
    ray_address: str | None = None,
    quiet: Flag = False,
    json: Flag = False,
) -> int:
    """Play a tournament into a run folder; the same command goes on after a stop, and plays no game twice.

    Parameters
    ----------
    config
        A TOML file; examples are in harness/config/examples.
    out
        The run folder (default: runs/<run.name>).
    set
        Change a setting, for instance --set run.games=20 or --set game.preset=probe-6. May be given again.
    seed
        The same as --set run.seed=...
    limit
        At most so many games of each combination of factors; more can be added later by the same command.
    dry_run
        Show the schedule, and an estimate of the calls, tokens, time and disk that it will take; play nothing.
    sample
        With --dry-run: really play so many games of each combination of factors first, and throw them away.
    track
        Report progress to a tracker too: jsonl:FILE, wandb:PROJECT or mlflow:URI. May be given again.
    ray_address
        Work on a running Ray cluster.
    quiet
        Print nothing but the run folder.
    json
        Print progress as lines of JSON.
    """
    from harness.config.files import load_config

    overrides = [*set] + ([f"run.seed={seed}"] if seed is not None else [])
    settings = load_config(config, overrides)
    if limit is not None:
        settings = load_config(config, [*overrides, f"run.games={min(limit, settings.run.games)}"])
    if sample and not dry_run:
        raise WolfscopeError(
            "--sample belongs to --dry-run: it plays a few games to say what the run will take"
        )
    if dry_run:
        return _dry_run(settings, sample, _progress(quiet or json, False), json)
    from harness.play.tournament import run_tournament
    from harness.play.trackers import TrackedProgress, tracker_of

    place = out or RUNS / settings.run.name
    progress = TrackedProgress(_mode(quiet, json), [tracker_of(words) for words in track])
    with progress.tracked(settings, place):
        path = run_tournament(settings, place, progress, ray_address)
    _say_fallbacks(path, progress)
    if progress.losses:
        progress.say(
            f"runners and engines lost and replaced on the way: {progress.losses:,}; no game is missing"
        )
    _last_line(path)
    return 0


@app.command
def watch(run: Path, *, json: Flag = False, once: Flag = False, every: float = 1.0) -> int:
    """Watch a run that is being played, from another terminal or machine; reads the run folder and nothing else.

    Parameters
    ----------
    run
        The run folder.
    json
        A line of JSON each time.
    once
        Show the state once.
    every
        Seconds between two looks.
    """
    from harness.play.watch import watch as show

    show(run, as_json=json, once=once, every=every)
    return 0


@app.command
def sit(
    config: Path,
    *,
    out: Path | None = None,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
) -> int:
    """Take a human's seat in the terminal; the game is logged like any other.

    Parameters
    ----------
    config
        A TOML file that seats an agent of kind "human"; harness/config/examples/human.toml is one.
    out
        The run folder (default: runs/<run.name>).
    set
        Change a setting. May be given again.
    """
    from harness.config.files import load_config
    from harness.play.sit import sit as take_seat

    settings = load_config(config, set)
    _last_line(take_seat(settings, out or RUNS / settings.run.name, _progress(False, False)))
    return 0


@app.command
def competence(run: Path) -> int:
    """Print who wins how often on which side, and each model against the other contenders in the same seats.

    Parameters
    ----------
    run
        The run folder of harness/config/examples/competence.toml, or of another run whose sides one agent has alone.
    """
    from analysis.behaviour.standings import competence_lines
    from harness.run.folder import load_run

    for line in competence_lines(load_run(run)):
        _last_line(line)
    return 0


@app.command
def ratings(*runs: Path) -> int:
    """Print how strong each agent is on each side, with intervals over games, and who met whom.

    Parameters
    ----------
    runs
        Run folders; RUN/derived/ of the first gets the tables as parquet files.
    """
    from analysis.behaviour.ratings import (
        differences_table,
        head_to_head,
        rate,
        ratings_lines,
        ratings_table,
        results_of,
    )
    from harness.run.folder import load_run

    results = results_of([load_run(run) for run in _named(runs, "ratings")])
    fit = rate(results)
    for line in ratings_lines(fit, results):
        _last_line(line)
    tables = {
        "ratings": ratings_table(fit, results),
        "head_to_head": head_to_head(results),
        "rating_differences": differences_table(fit),
    }
    _last_line(_derived(runs[0], tables))
    return 0


@app.command
def behaviour(*runs: Path) -> int:
    """Print what agents do: ballot accuracy, survival, persuasion, deception, sycophancy, with intervals over games.

    Parameters
    ----------
    runs
        Run folders; RUN/derived/behaviour.parquet of the first gets the table.
    """
    from analysis.behaviour.behaviour import behaviour_lines, behaviour_of
    from harness.run.folder import load_run

    table = behaviour_of([load_run(run) for run in _named(runs, "behaviour")])
    for line in behaviour_lines(table):
        _last_line(line)
    _last_line(_derived(runs[0], {"behaviour": table}))
    return 0


@app.command
def check(run: Path, *, activations: Flag = False, quiet: Flag = False) -> int:
    """Check a run: schema, schedule, every game against its rules, prompts against what the seat may see, tokens.

    Exit status 0 means sound, 1 that something is wrong.

    Parameters
    ----------
    run
        The run folder.
    activations
        Also compute a sample of the captured activations again, by a plain forward pass of each context alone.
    quiet
        Print findings alone.
    """
    from harness.check.check import check_run

    progress = _progress(quiet, False)
    found = check_run(run, progress.say)
    if activations:
        from harness.check.check import check_activations

        found += check_activations(run, progress.say)
    for finding in found[:SHOWN]:
        _last_line(f"{finding.where}: {finding.what}")
    if len(found) > SHOWN:
        _last_line(f"and {len(found) - SHOWN:,} more")
    progress.say(
        f"{len(found):,} {'thing is' if len(found) == 1 else 'things are'} wrong"
        if found
        else "sound: nothing is wrong"
    )
    return 1 if found else 0


@app.command(name="import")
def import_(
    format: Literal["kaggle", "aiwolf"], *paths: Path, ballots_shown: Flag = False, quiet: Flag = False
) -> int:
    """Read games of another program into a run folder: wolfscope import kaggle REPLAY.json ... OUT.

    Parameters
    ----------
    format
        kaggle: replays of kaggle-environments' werewolf; aiwolf: logs of the AIWolf servers.
    paths
        Files, or folders that hold them, then the new run folder.
    ballots_shown
        aiwolf: the players saw who voted for whom, which the logs do not say.
    quiet
        Print nothing but the run folder.
    """
    from harness.exchange.imports import import_games

    if len(paths) < 2:
        raise WolfscopeError(
            f"name at least one file and the new run folder: wolfscope import {format} FILE OUT"
        )
    say = _progress(quiet, False).say
    _last_line(import_games(format, paths[:-1], paths[-1], ballots_shown=ballots_shown, say=say))
    return 0


@app.command
def export(run: Path, out: Path, *, license: str | None = None, activations: Flag = False) -> int:
    """Write a run as a data set for others: parquet tables and a dataset card (README.md) made from what is there.

    Parameters
    ----------
    run
        The run folder.
    out
        The new folder.
    license
        The data's licence for the card, an SPDX identifier such as Apache-2.0.
    activations
        Copy the captured activations too.
    """
    from harness.exchange.export import export_run

    _last_line(export_run(run, out, license, activations))
    return 0


@app.command
def merge(*folders: Path, activations: Annotated[bool, Parameter(negative="--no-activations")] = True) -> int:
    """Join finished runs: wolfscope merge RUN RUN ... OUT. The same game is kept once, different ones are refused.

    Parameters
    ----------
    folders
        The run folders, then the new folder.
    activations
        Join the captured activations too.
    """
    from harness.exchange.merge import merge_runs

    if len(folders) < 3:
        raise WolfscopeError("name at least two run folders and a new one: wolfscope merge RUN RUN OUT")
    _last_line(merge_runs(folders[:-1], folders[-1], activations))
    return 0


@app.command
def capture(
    run: Path,
    *,
    site: Annotated[tuple[str, ...], Parameter(name="--site", negative="")] = (),
    layer: Annotated[tuple[str, ...], Parameter(name="--layer", negative="")] = (),
    variant: Annotated[tuple[str, ...], Parameter(name="--variant", negative="")] = (),
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
    """Read the activations behind a run's model decisions; goes on where an earlier call stopped.

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
        So many readers side by side, each with a share of the games.
    untrained
        Read a model of the same shape with random weights instead, as a baseline, into activations-untrained.
    model
        The folder of another checkpoint: read the same contexts through it, into activations-NAME. The report follows
        a read-out over checkpoints whose names end in the number of tokens trained.
    quiet
        Print nothing but the folder.
    """
    from harness.capture.run import capture_run

    progress = _progress(quiet, False)
    store = capture_run(
        run,
        sites=site,
        layers=layer,
        variants=variant,
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
    _last_line(store)
    return 0


@app.command
def judge(
    run: Path,
    *,
    config: Path,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    quiet: Flag = False,
) -> int:
    """Ask a model of each speech, on public text alone, whether it is a lie: RUN/derived/judge.parquet, for the report.

    Goes on where an earlier call stopped. Several judges, each with its name, stand in one table.

    Parameters
    ----------
    run
        The run folder.
    config
        A TOML file with [judge] and [backends.NAME]; harness/config/examples/judge.toml is one.
    set
        Change a setting, for instance --set backends.model.model=/models/Qwen3-8B. May be given again.
    quiet
        Print nothing but the table's path.
    """
    from harness.play.judge import judge_run

    _last_line(judge_run(run, config, set, _progress(quiet, False)))
    return 0


@app.command
def report(*runs: Path, out: Path | None = None, site: str | None = None, quiet: Flag = False) -> int:
    """Probe the captured activations against every baseline and write one self-contained report.html.

    Parameters
    ----------
    runs
        Run folders with activations.
    out
        Where to write it (default: report.html in the first run folder).
    site
        Where what is held of others is read (default: belief_mention where it was captured, else mention).
    """
    if not runs:
        raise WolfscopeError("name at least one run folder: wolfscope report RUN")
    _last_line(_report(list(runs), out, _progress(quiet, False), site))
    return 0


@app.command
def score(run: Path, *probes: Path) -> int:
    """Let saved probes score a run's activations, for the viewer: RUN/derived/probe_scores.parquet.

    Parameters
    ----------
    run
        A run folder with activations.
    probes
        Saved probes (default: those that the run's own report has saved, RUN/report/probes/*.json).
    """
    from analysis.evaluation.saved import load
    from analysis.evaluation.scores import write_scores
    from harness.run.folder import load_run

    files = list(probes) or sorted((run / "report" / "probes").glob("*.json"))
    if not files:
        raise WolfscopeError(
            f"{run} has no saved probes; run: wolfscope report {run}, or name some: wolfscope score RUN PROBE.json"
        )
    _last_line(write_scores(load_run(run), {file.stem: load(file) for file in files}))
    return 0


@app.command
def diff(
    run: Path,
    *,
    model: Annotated[tuple[str, ...], Parameter(name="--model", negative="")],
    layer: Annotated[tuple[str, ...], Parameter(name="--layer", negative="")] = (),
    games: int | None = None,
    device: str = "auto",
    quiet: Flag = False,
) -> int:
    """Compare two checkpoints of one architecture token by token on a run's contexts; `report` shows it.

    Parameters
    ----------
    model
        The folder of the model that is compared with the run's own; given twice, the two that are compared.
    layer
        As for `capture`; by default the embeddings and every block.
    games
        At most so many games.
    device
        cpu, cuda, or auto.
    quiet
        Only the last line: the folder written.
    """
    from harness.capture.diff import diff_models

    if len(model) > 2:
        raise WolfscopeError(f"{len(model)} models were named; name one (against the run's own) or two")
    a, b = (None, *model) if len(model) == 1 else model
    layers = tuple(layer) or ("all",)
    _last_line(
        diff_models(run, b, a, layers=layers, games=games, device=device, say=_progress(quiet, False).say)
    )
    return 0


@app.command
def demo(*, out: Path = RUNS, quiet: Flag = False) -> int:
    """The main job from beginning to end: tournament, activations, probe, report.html (about 5 minutes).

    A demo that was interrupted is gone on with; a finished one is kept, and a new one gets a folder of its own.

    Parameters
    ----------
    out
        The folder that holds the demos' run folders.
    """
    from harness.capture.run import capture_run
    from harness.config.files import load_config
    from harness.play.tournament import run_tournament

    progress = _progress(quiet, False)
    path = _demo_folder(out)
    config = load_config(Path(__file__).parents[1] / "config" / "examples" / "demo.toml")
    progress.say(f"1 of 3: a tournament of {config.run.games} games, into {path}")
    run_tournament(config, path, progress)
    progress.say("2 of 3: reading the small model's activations on what it saw in those games")
    capture_run(path, say=progress.say)
    capture_run(path, untrained=True, say=progress.say)
    progress.say("3 of 3: what do they say about the other players? Probing, against every baseline")
    _last_line(_report([path], None, progress))
    return 0


@app.command
def replay(
    run: Path,
    game: str,
    *,
    seat: Annotated[str | None, Parameter(name="--as")] = None,
    mode: Annotated[Literal["step", "timed", "all"] | None, Parameter(name="--mode")] = None,
    delay: float = 0.6,
    start: int = 0,
) -> int:
    """Read a game again in the terminal, as the moderator or as exactly one seat.

    Parameters
    ----------
    run
        The run folder.
    game
        The game's number, its id, or the beginning of its id.
    seat
        See what this seat saw and nothing else: player_3, 3, or the player's name. Default: the moderator.
    mode
        step (a key for each line), timed, or all at once. Default: step in a terminal, all in a pipe.
    delay
        Seconds between the lines of a timed replay.
    start
        Begin at this record.
    """
    from harness.replay.replay import open_replay
    from harness.replay.terminal import show

    opened = open_replay(run, game)
    show(opened, None if seat is None else opened.seat_of(seat), mode=mode, delay=delay, start=start)
    return 0


@app.command
def view(
    run: Path,
    *,
    out: Path | None = None,
    game: Annotated[tuple[str, ...], Parameter(name="--game", negative="")] = (),
    posterior: Annotated[Literal["auto", "yes", "no"], Parameter(name="--posterior")] = "auto",
    portable: Flag = False,
    quiet: Flag = False,
) -> int:
    """Write static pages of a run: an index of its games and a page for each, to be opened from the disk.

    Parameters
    ----------
    run
        The run folder.
    out
        Where to write them (default: RUN/view).
    game
        Only this game gets a page (number, id, or the beginning of its id). May be given again.
    posterior
        Compute the Bayesian posteriors that stand beside stated beliefs: about half a second a game; auto: for up to
        100 games.
    portable
        Every page holds its own scripts and can be sent on alone.
    """
    from harness.run.folder import load_run
    from harness.view import write_view

    say = _progress(quiet, False).say
    opened = load_run(run)
    n = len(game) or len(opened.game_ids)
    posteriors = None
    if posterior == "yes" or (posterior == "auto" and n <= 100):
        from harness.replay.posteriors import posteriors_of

        posteriors = posteriors_of(opened)
    elif posterior == "auto":
        say(
            f"{n:,} games: posteriors are left out; --posterior yes computes them, about half a second a game"
        )
    _last_line(write_view(run, out, game, portable, posteriors, say))
    return 0


@app.command
def branch(
    run: Path,
    game: str,
    *,
    at: int,
    out: Path | None = None,
    n: int = 50,
    say: str | None = None,
    act: Annotated[tuple[str, ...], Parameter(name="--act", negative="")] = (),
    choose: str | None = None,
    swap_roles: str | None = None,
    seat: str | None = None,
    agent: str | None = None,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    prefix: str | None = None,
    steer: Path | None = None,
    layer: int | None = None,
    scale: float = 1.0,
    ray_address: str | None = None,
    quiet: Flag = False,
) -> int:
    """Play a recorded game on from one decision with one thing changed, n times, and n times without the change.

    Parameters
    ----------
    run
        The run folder that holds the game.
    game
        The game's number, its id, or the beginning of its id.
    at
        The record: a decision, or the event that repeats it (`wolfscope replay` shows the numbers).
    out
        The branch's run folder (default: beside the parent's, <parent>-branch-<game>-<at>-<hash of the change>).
    n
        Continuations with the change, and as many without.
    say
        Other words at this speech; their typed acts are read from them, unless --act gives them.
    act
        A typed act at this speech: accuse:player_3, claim_role:seer, report_inspection:player_3:werewolf. May be given
        again. Without --say it is put into words.
    choose
        Another choice at this ballot or night act: player_3, a name, nobody, or a number.
    swap_roles
        Two seats with each other's role from the deal on, player_1,player_4, where nothing yet contradicts it.
    seat
        Whose player is changed by --agent, --set or --steer (default: the seat that decides at --at).
    agent
        Another player of the run's configuration takes the seat from here on.
    set
        Another setting of the seat's player from here on: policy=loud, sampling.temperature=0.5, backend.model=FOLDER.
    prefix
        The model's output at this decision begins with these words.
    steer
        A .npy or .safetensors file with one vector (d_model,), added at --layer from here on.
    layer
        The layer for --steer, 0 = output of block 0.
    scale
        Multiples of the residual's own length for --steer.
    """
    from harness.branch.branch import branch as play_branch
    from harness.branch.branch import effects, effects_table
    from harness.branch.change_words import change_of
    from harness.replay.replay import open_replay

    replay = open_replay(run, game)
    change = change_of(
        replay,
        at,
        say=say,
        acts=act,
        choose=choose,
        swap_roles=swap_roles,
        seat=seat,
        agent=agent,
        settings=set,
        prefix=prefix,
        steer=steer,
        layer=layer,
        scale=scale,
    )
    path = out or _branch_folder(run, replay.game_id, at, str(change))
    made = play_branch(run, replay.game_id, at, change, n, path, _progress(quiet, False), ray_address)
    if not quiet:
        _last_line(effects_table(effects(made)))
    _last_line(made)
    return 0


@app.command
def resample(
    run: Path,
    game: str,
    *,
    at: int,
    out: Path | None = None,
    n: int = 50,
    keep: Flag = False,
    ray_address: str | None = None,
    quiet: Flag = False,
) -> int:
    """Play a recorded game on from one decision n times without any change: how determined was this moment?

    Parameters
    ----------
    run
        The run folder that holds the game.
    game
        The game's number, its id, or the beginning of its id.
    at
        The record: a decision, or the event that repeats it. The decision itself is made anew.
    out
        The run folder of the continuations.
    n
        How many.
    keep
        Keep the decision itself, and make only what follows anew.
    """
    from harness.branch.branch import effects, effects_table
    from harness.branch.branch import resample as play_resample
    from harness.replay.replay import open_replay

    replay = open_replay(run, game)
    path = out or _branch_folder(run, replay.game_id, at, f"resample {keep}")
    made = play_resample(run, replay.game_id, at, n, path, keep, _progress(quiet, False), ray_address)
    if not quiet:
        _last_line(effects_table(effects(made)))
    _last_line(made)
    return 0


@app.command(name="train-small-model")
def train_small_model(
    out: Path,
    *,
    seed: int = 0,
    tokens: int | None = None,
    belief_share: float = 1.0,
    hidden: int = 128,
    layers: int = 4,
    lexicon: str = "classic",
    device: str = "auto",
    compiled: Flag = False,
    quiet: Flag = False,
) -> int:
    """Train the small model from scratch on games of the scripted players; goes on where an earlier call stopped, or
    ended with fewer tokens.

    Parameters
    ----------
    out
        The model's folder, in Hugging Face format.
    seed
        Of the initial weights and of the games.
    tokens
        How many tokens to train on, those of questions among them; as many as the shipped model had where it is
        left out.
    belief_share
        Share of the seats' views on whose way it is asked about the others' roles; 0 trains a model that only ever
        saw play.
    hidden
        Width of the model.
    layers
        Depth of the model at first; two more layers join after 96 million tokens, and two after 212 million.
    lexicon
        The words under which it sees the game.
    device
        cpu, cuda or auto.
    compiled
        Fuse the model's kernels by torch.compile: a third faster, where there is a C++ compiler.
    """
    from harness.training.train import SHIPPED_TOKENS, train

    train(
        out,
        seed=seed,
        tokens=SHIPPED_TOKENS if tokens is None else tokens,
        belief_share=belief_share,
        hidden=hidden,
        layers=layers,
        lexicon=lexicon,
        device=device,
        compiled=compiled,
        say=_progress(quiet, False).say,
    )
    _last_line(out)
    return 0


@app.command
def checkpoints(out: Path, *, model: Path = Path("small")) -> int:
    """Write the checkpoints kept along a model's training as folders that every other command takes for a model.

    Parameters
    ----------
    out
        Where the folders `tokens-NNN` go.
    model
        The model's folder, or `small`, `small-nonsense` or `small-unasked` for those in the repository.
    """
    from agents.models.small import find_model, unpack_checkpoints

    for folder in unpack_checkpoints(find_model(model), out):
        _last_line(folder)
    return 0


@app.command(name="eval-small-model")
def eval_small_model(
    folder: Path = Path("small"), *, games: int = 200, belief_games: int = 400, course: Flag = False
) -> int:
    """Measure a small model: is what it says well-formed, and what does it say it believes, against the truth.

    Parameters
    ----------
    folder
        The model's folder, or `small`, `small-nonsense` or `small-unasked` for those in the repository.
    games
        Games that it plays, for the form of its answers and for win rates; 0 leaves them out.
    belief_games
        Games of scripted players before whose ballots it is asked what it believes; 0 leaves them out.
    course
        Follow it along training instead: looking up, counting and inferring at every checkpoint that was kept.
    """
    from agents.models.small import find_model
    from harness.training.evaluation.course import print_course
    from harness.training.evaluation.evaluate import evaluate

    if course:
        print_course(find_model(folder), belief_games, _last_line)
        return 0
    evaluate(find_model(folder), n_games=games, n_belief_games=belief_games, say=_last_line)
    return 0


@app.command
def version() -> int:
    """Print the versions of Wolfscope and of what it stands on."""
    from harness.run.manifest import this_session

    session = this_session()
    _last_line(f"wolfscope {_version()} ({session.revision or 'no git revision'})")
    for name, number in session.versions.items():
        _last_line(f"{name} {number}")
    return 0


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("wolfscope")
    except metadata.PackageNotFoundError:
        return "not installed"


app.version = _version


def _say_fallbacks(path: Path, progress: Progress) -> None:
    """How many decisions were not the models' own, by kind, and what was asked of each model."""
    from analysis.behaviour.reliability import reliability_lines
    from harness.play.budget import Ledger, usage_lines
    from harness.run.folder import load_run

    run = load_run(path)
    usage = usage_lines(Ledger(None, path, run.journal.ends.values()).models)
    for line in (*reliability_lines(run), *usage):
        progress.say(line)


def _report(runs: list[Path], out: Path | None, progress: Progress, site: str | None = None) -> Path:
    from analysis.evaluation.evaluate import Settings
    from analysis.report.report import write_report

    return write_report(runs, out=out, say=progress.say, settings=Settings(site=site))


def _dry_run(settings: Any, sample: int, progress: Progress, json: bool) -> int:
    import msgspec

    from harness.forecast.dry_run import dry_run, dry_run_lines

    found = dry_run(settings, sample, progress)
    for line in [msgspec.json.encode(found).decode()] if json else dry_run_lines(found):
        _last_line(line)
    return 0


def _demo_folder(out: Path) -> Path:
    """The newest demo that lacks its report, else the next free number."""
    numbers = [int(p.name[5:]) for p in out.glob("demo-*") if p.name[5:].isdigit()]
    newest = max(numbers, default=0)
    if newest and not (out / f"demo-{newest}" / "report.html").exists():
        return out / f"demo-{newest}"
    return out / f"demo-{newest + 1}"


def _branch_folder(run: Path, game_id: str, at: int, change: str) -> Path:
    """Beside the parent, a name of its own for each change."""
    from harness.run.manifest import hash_of

    return run.resolve().parent / f"{run.resolve().name}-branch-{game_id[:6]}-{at}-{hash_of(change)[:4]}"


def _named(runs: tuple[Path, ...], verb: str) -> tuple[Path, ...]:
    if not runs:
        raise WolfscopeError(f"name at least one run folder: wolfscope {verb} RUN")
    return runs


def _derived(run: Path, tables: dict[str, Any]) -> Path:
    """Write tables into RUN/derived; the folder."""
    from harness.atomic import replacing, storage

    folder = run / "derived"
    with storage(folder):
        folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        with replacing(folder / f"{name}.parquet") as part:
            table.write_parquet(part)
    return folder


def _progress(quiet: bool, json: bool) -> Progress:
    from harness.play.progress import Progress

    return Progress(_mode(quiet, json))


def _mode(quiet: bool, json: bool) -> Mode | None:
    return "quiet" if quiet else "json" if json else None


def _last_line(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 1 failed or found wrong, 2 asked wrongly, 130 or 143 stopped."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]

    by = signal.SIGINT

    def stop(number: int, frame: object) -> None:
        nonlocal by
        by = signal.Signals(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        from harness.checkout import check_packages

        check_packages()
        status = app(words, exit_on_error=False, print_error=False)
    except KeyboardInterrupt as stopped:
        where = f": {stopped}" if str(stopped) else "; what was written is whole"
        sys.stderr.write(f"stopped{where}; the same command goes on from there\n")
        status = 128 + by
    except BrokenPipeError:
        # Whoever read the output (`| head`) has gone; what Python still holds of it must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except Exception as error:
        if debug:
            raise
        status = _explain(error)
    sys.exit(status if isinstance(status, int) else 0)


def _explain(error: Exception) -> int:
    """One line about an error; the exit status."""
    if isinstance(error, WolfscopeError) or _is_users(error):
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stderr.write(
        f"error: {type(error).__name__}: {error}\nThis is a fault of Wolfscope; the same command with --debug shows "
        "where. What was written before is whole.\n"
    )
    return 1


def _is_users(error: Exception) -> bool:
    """Whether the error is of a kind that the packages below use for what a user can cause."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        kinds
        & {
            "CycloptsError",
            "GameError",
            "BackendError",
            "EngineLost",
            "ModelFilesError",
            "SteeringError",
            "UnknownArchitecture",
            "ActivationsError",
            "AnalysisError",
        }
    )
