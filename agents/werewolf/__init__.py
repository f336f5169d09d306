"""Players of Werewolf that are no language models, and the observers that invert their policies."""

GAME = "werewolf"
"""The game that they play."""
