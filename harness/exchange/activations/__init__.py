"""Rows of a store for readers of others: raw vectors, tokens, positions, labels, and what each calls a layer."""

from harness.exchange.activations.export import FORMATS, export_activations

__all__ = ["FORMATS", "export_activations"]
