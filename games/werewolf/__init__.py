"""Werewolf: a hidden minority that knows itself against a majority that does not."""

from games.werewolf.rules import GAME

__all__ = ["GAME"]
