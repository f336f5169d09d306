"""Training small models on logged and generated games."""
