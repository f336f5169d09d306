"""Continuing a recorded game from any point with one thing changed."""
