"""The error of model folders."""

from __future__ import annotations


class ModelFilesError(ValueError):
    """A model folder cannot be used. Says which folder, what is wrong, what to do."""
