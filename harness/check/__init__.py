"""Holding a run folder to its own log."""
