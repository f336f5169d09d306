"""Reads at every prefix of a reasoning: forced and free decisions, beliefs inside, repetition."""
