"""Exact probabilities of whole answers under many changes of one prompt."""
