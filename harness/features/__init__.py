"""Sparse dictionaries on stored activations: training, loading those of others, holding them to their cards."""
