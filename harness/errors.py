"""The errors that a user can cause or cure: each says what, both values, and the remedy."""

from __future__ import annotations


class WolfscopeError(Exception):
    """Shown as one line by the command line, without a traceback."""

    status = 2
    """The command's exit status: asked wrongly."""


class ConfigurationError(WolfscopeError, ValueError):
    """A configuration that cannot be read or makes no sense."""


class RunFolderError(WolfscopeError, RuntimeError):
    """A folder that cannot be used as the run folder that was asked for."""


class RunDamaged(RunFolderError):
    """A file of a run folder is not what was written; the message names it and says what to do."""

    status = 1


class StorageError(WolfscopeError, OSError):
    """The disk refused: full, read-only, not permitted. What was written before is whole."""


class TournamentError(WolfscopeError, RuntimeError):
    """A tournament that stopped before its last game; its run folder can be resumed."""
