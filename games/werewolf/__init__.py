"""Werewolf: a hidden minority that knows itself against a majority that does not."""

from games.werewolf.game import GAME

__all__ = ["GAME"]
