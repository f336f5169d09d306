"""What a user can do wrong in the analysis."""

from __future__ import annotations


class AnalysisError(ValueError):
    """Something was asked that the data or the place on disk does not allow; the message says what would."""
