"""Store rows for other projects' tools: raw vectors, tokens, positions, labels, and each tool's layer names."""

from harness.exchange.activations.export import FORMATS, export_activations

__all__ = ["FORMATS", "export_activations"]
