"""The small models that ship, and what reads a model folder."""
