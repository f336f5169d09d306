"""Sparse dictionaries on stored activations: training, loading others' dictionaries, checking them against their
cards."""
