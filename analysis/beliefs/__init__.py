"""Beliefs of observers, of models and of probes, compared with each other."""
