"""The offline extraction over a run: its contexts, read through a model into the run's store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from harness.activations.sites import BOUND
from harness.activations.store import open_activations
from harness.activations.vocabulary import write_vocabulary
from harness.activations.writer import remove_unfinished
from harness.capture.job import CaptureJob, Wanted, check_seats, make_job
from harness.capture.progress import CaptureProgress
from harness.capture.share import capture_share
from harness.config.files import parse_config
from harness.config.models import model_folder
from harness.errors import ConfigurationError
from harness.run.derived import mark_stale
from harness.run.folder import Run, load_run
from harness.run.held import RunFolder, sealing


def capture_run(
    path: str | Path,
    *,
    devices: int = 1,
    say: Callable[[str], None] = lambda text: None,
    **wanted: Unpack[Wanted],
) -> Path:
    """Read the activations of a run's model decisions into `<run>/activations`; the folder's path.

    devices: number of parallel readers, each a Ray actor with its own share of the games.
    wanted: the options of the capture (`harness.capture.job.Wanted`). Resumes where an earlier call stopped; removes,
    and reports, shards that a killed call left without their index.

    Raises RunFolderError, ConfigurationError (also where no decision has any of the sites), ModelFilesError,
    ActivationsError, StorageError, SteeringError.
    """
    run = load_run(path)
    job = make_job(parse_config(run.manifest.config, "manifest.json"), **wanted)
    if devices < 1:
        raise ConfigurationError(f"devices is {devices}; at least 1 is needed")
    check_seats(run, job)
    with RunFolder.hold(run.path):
        _tidy(job.store(run.path), say)
        with sealing(run.path, job.store(run.path).name):
            if devices > 1:
                from harness.capture.devices import capture_on_devices

                done = capture_on_devices(run.path.resolve(), job, devices, say)
            else:
                done = capture_share(run.path, job, 0, 1, say)
            _tell(run, job, done, say)
            if any(site.partition(":")[0] in (*BOUND, "tokens") for site in job.sites):
                _write_vocabulary(run, job)
            if not job.untrained:
                _write_names(run, job)
        for one in mark_stale(run.path):
            say(str(one))
    return job.store(run.path)


def _tidy(store: Path, say: Callable[[str], None]) -> None:
    """Raises ActivationsDamaged where shards or index parts of an earlier call cannot be read."""
    for name in remove_unfinished(store):
        say(f"removed the shard {name}, which has no index part: a capture was killed, or the part was lost")
    if (store / "store.json").exists():
        open_activations(store).check_readable()


def _tell(run: Run, job: CaptureJob, done: CaptureProgress, say: Callable[[str], None]) -> None:
    """Report what was read. Raises ConfigurationError where there was nothing to read."""
    missing = done.missing(job.sites)
    if done.n_rows + done.n_skipped == 0:
        models = run.decisions.select("model").collect()["model"]
        by_models = models.is_not_null().sum()
        raise ConfigurationError(
            f"nothing to read in {run.path}: of its {len(models):,} decisions models made {by_models:,}, "
            f"and none by that of backend {job.backend} has {', '.join(job.sites)} as {', '.join(job.variants)}; name "
            "other sites, variants, steered seats, or another backend"
        )
    if missing:
        say(f"no decision has {', '.join(missing)}")
    n_layers = len(open_activations(job.store(run.path)).layers)
    say(
        f"{done.n_rows:,} rows of {n_layers} layers ({done.n_bytes / 2**20:,.1f} MB) from "
        f"{done.n_items:,} contexts in {done.seconds:,.0f} s; {done.n_skipped:,} were there before"
    )
    if job.steer is not None:
        say(f"{done.n_touched:,} positions were steered; the rows are variant {job.suffix()}")


def _write_vocabulary(run: Run, job: CaptureJob) -> None:
    from agents.models.folder import load_tokenizer

    config = parse_config(run.manifest.config, "manifest.json")
    write_vocabulary(job.store(run.path), load_tokenizer(model_folder(config.backends[job.backend])))


def _write_names(run: Run, job: CaptureJob) -> None:
    """Write the unembedding of the players' names beside the rows, for probes without fitted parameters."""
    from agents.models.folder import load_tokenizer, read_config
    from harness.activations.unembedding import write_names

    config = parse_config(run.manifest.config, "manifest.json")
    folder = Path(job.model) if job.model is not None else model_folder(config.backends[job.backend])
    names = run.seats.select("name").unique(maintain_order=True).collect()["name"].drop_nulls().to_list()
    family = str(read_config(folder).get("model_type", ""))
    write_names(job.store(run.path), folder, load_tokenizer(folder), names, family)
