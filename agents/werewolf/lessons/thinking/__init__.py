"""Training material of the small thinking model of Werewolf: games with private lines by the exact observer."""

GAME = "werewolf"
"""The game whose decisions the thinking model thinks before."""
