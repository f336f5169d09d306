"""Measuring the shipped small model on games that it has not seen."""
