"""Planted truth: synthetic activations whose answer is known."""
