"""Beliefs of observers, of models and of probes, held against each other."""
