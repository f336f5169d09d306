"""Errors that a user can cause in the analysis."""

from __future__ import annotations


class AnalysisError(ValueError):
    """A request that the data or the place on disk does not allow; the message gives the remedy."""
