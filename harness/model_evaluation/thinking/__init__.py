"""The effect of thinking in a model of the typed language: measured on held-out games, against the exact observer."""
