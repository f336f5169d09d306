"""Comparison of two models of one architecture on the same games: predictions, activations, and the parts that carry
the difference."""
