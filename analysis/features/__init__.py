"""Evaluation of sparse dictionaries: against the truth of the game, and against simple methods on the same rows."""
