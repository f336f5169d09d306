"""Offline extraction of activations from the contexts that a run logged."""
