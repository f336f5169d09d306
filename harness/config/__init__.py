"""Configurations: sections, files, names of models, hashing; those that ship are in `examples/`."""
