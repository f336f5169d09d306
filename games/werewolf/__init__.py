"""Werewolf: a hidden minority, whose members know each other, against an uninformed majority."""

from games.werewolf.game import GAME

__all__ = ["GAME"]
