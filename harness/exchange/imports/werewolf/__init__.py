"""Logs of other programs' games of Werewolf: a strict reader per format, and their shared parts."""

GAME = "werewolf"
"""The game that all of them are of."""
