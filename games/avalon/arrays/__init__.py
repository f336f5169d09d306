"""Avalon as arrays: feature vectors, action indices, and thousands of games in lock-step."""
