"""Measuring the shipped models on games that they have not seen; `thinking` measures the one that thinks."""
