"""Verbs for the small model: train-small-model, checkpoints, eval-small-model."""

from __future__ import annotations

from pathlib import Path

from games import DEFAULT
from harness.cli.app import MODELS, Flag, app, last_line, progress_of
from harness.errors import WolfscopeError


@app.command(name="train-small-model", group=MODELS)
def train_small_model(
    out: Path,
    *,
    on: Path | None = None,
    recipe: str | None = None,
    control: Flag = False,
    game: str = DEFAULT,
    seed: int = 0,
    tokens: int | None = None,
    belief_share: float = 1.0,
    hidden: int = 128,
    layers: int = 4,
    lexicon: str = "classic",
    device: str = "auto",
    compiled: Flag = False,
    processes: int = 1,
    quiet: Flag = False,
) -> int:
    """Train the small model from scratch on games of the scripted players, or on from existing weights by a recipe or
    on a second game; resumes where an earlier call stopped, or ended with fewer tokens.

    Parameters
    ----------
    out
        The model's folder, in Hugging Face format.
    on
        The folder of the weights that training goes on from, or `small`: with --recipe, or with --game, the second game
        that it learns beside Werewolf.
    recipe
        A TOML file with one stated intervention on the training data, or one that ships: confess, without-claimer,
        flipped-beliefs. Of the other settings only --tokens, --device and --quiet go with it.
    control
        With --recipe: train on the same games and as many tokens without the intervention.
    game
        The game whose scripted players it learns from.
    seed
        Of the initial weights and of the games.
    tokens
        How many tokens to train on, those of questions among them; as many as the shipped model had where it is
        left out.
    belief_share
        Share of the seats' views with questions about the others' roles; 0 trains a model on play only.
    hidden
        Width of the model.
    layers
        Depth of the model at first; two more layers join after 96 million tokens, and two after 212 million.
    lexicon
        The words under which it sees the game.
    device
        cpu, cuda or auto.
    compiled
        Fuse the model's kernels by torch.compile: a sixth to a third faster, where there is a C++ compiler.
    processes
        Train in so many processes of this machine side by side, each with a batch of its own in every step; on a CPU,
        without --recipe.
    """
    say = progress_of(quiet, False).say
    second = on is not None and recipe is None and game != DEFAULT
    if ((on is None) != (recipe is None) and not second) or (control and recipe is None):
        raise WolfscopeError(
            "--on MODEL goes with --recipe FILE (and --control with it), what is changed in the games that its weights "
            "are trained on, or with --game NAME, a second game that they learn"
        )
    if recipe is not None and (compiled or processes != 1):
        raise WolfscopeError("--compiled and --processes go without --recipe: leave them out")
    if on is not None and recipe is None:
        from harness.training.joint import TOKENS, learn_game

        wanted = TOKENS if tokens is None else tokens
        learn_game(
            out,
            on,
            game,
            tokens=wanted,
            seed=seed,
            lexicon=lexicon,
            device=device,
            compiled=compiled,
            processes=processes,
            say=say,
        )
    elif on is not None and recipe is not None:
        from harness.training.finetune import finetune
        from harness.training.recipes import load_recipe

        finetune(out, on, load_recipe(recipe), control=control, tokens=tokens, device=device, say=say)
    else:
        from harness.training.train import SHIPPED_TOKENS, train

        train(
            out,
            game=game,
            seed=seed,
            tokens=SHIPPED_TOKENS if tokens is None else tokens,
            belief_share=belief_share,
            hidden=hidden,
            layers=layers,
            lexicon=lexicon,
            device=device,
            compiled=compiled,
            processes=processes,
            say=say,
        )
    last_line(out)
    return 0


@app.command(group=MODELS)
def checkpoints(out: Path, *, model: Path = Path("small")) -> int:
    """Write the checkpoints of a model's training as folders that every other command accepts as a model.

    Parameters
    ----------
    out
        Where the folders `tokens-NNN` go.
    model
        The model's folder, or `small`, `small-nonsense` or `small-unasked` for those in the repository.
    """
    from agents.models.small import find_model, unpack_checkpoints

    for folder in unpack_checkpoints(find_model(model), out):
        last_line(folder)
    return 0


@app.command(name="eval-small-model", group=MODELS)
def eval_small_model(
    folder: Path = Path("small"),
    *,
    game: str = DEFAULT,
    games: int = 200,
    belief_games: int = 400,
    course: Flag = False,
) -> int:
    """Measure a small model: whether its output is well-formed, who wins in its hands, and its stated and represented
    beliefs against the truth and the exact observer.

    Parameters
    ----------
    folder
        The model's folder, or `small`, `small-nonsense` or `small-unasked` for those in the repository.
    game
        The game that it is measured in; it has to know that game's words.
    games
        Games that it plays, for the form of its answers and for win rates; 0 leaves them out.
    belief_games
        Games of scripted players before whose ballots (in Avalon: votes) it is asked for its beliefs; 0 leaves them
        out.
    course
        Evaluate along training instead: looking up, counting and inferring at every kept checkpoint.
    """
    from agents.models.small import find_model
    from harness.model_evaluation.course import print_course
    from harness.model_evaluation.evaluate import evaluate

    if course:
        print_course(find_model(folder), belief_games, last_line, game)
        return 0
    evaluate(find_model(folder), game=game, n_games=games, n_belief_games=belief_games, say=last_line)
    return 0
