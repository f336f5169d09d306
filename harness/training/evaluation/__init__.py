"""Measuring the small model on games that it has not seen."""
