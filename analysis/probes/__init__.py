"""Probes and their permutation null."""
