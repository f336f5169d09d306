"""Measurements at every prefix of a reasoning: forced and free decisions, probed beliefs, repetition."""
