"""The errors that a user can cause or fix: each names what is wrong, both values, and the remedy."""

from __future__ import annotations


class WolfscopeError(Exception):
    """Shown as one line by the command line, without a traceback."""

    status = 2
    """The command's exit status: asked wrongly."""


class ConfigurationError(WolfscopeError, ValueError):
    """A configuration that cannot be read or is contradictory."""


class RunFolderError(WolfscopeError, RuntimeError):
    """A folder that cannot be used as the run folder that was asked for."""


class RunDamaged(RunFolderError):
    """A file of a run folder was changed or damaged; the message names it and says what to do."""

    status = 1


class StorageError(WolfscopeError, OSError):
    """Writing failed: disk full, read-only, not permitted. Earlier files are intact."""


class TournamentError(WolfscopeError, RuntimeError):
    """A tournament that stopped before its last game; its run folder can be resumed."""
