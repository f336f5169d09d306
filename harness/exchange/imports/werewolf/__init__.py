"""Logs of other programs' games of Werewolf: a strict reader a format, and what they have in common."""

GAME = "werewolf"
"""The game that all of them are of."""
