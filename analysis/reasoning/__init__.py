"""Reasoning that was read after every step: where the decision is made, which steps matter, how determined it is, and
whether what is written is what is held."""
