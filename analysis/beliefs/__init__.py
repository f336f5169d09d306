"""Beliefs of observers, of models and of read-outs, held against each other."""
