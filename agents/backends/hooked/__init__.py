"""A transformers model in this process, with hooks on its residual stream."""
