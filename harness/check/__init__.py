"""Checks of a run folder against its own log."""
