"""The Resistance: Avalon: a hidden minority sabotages missions; one of the others knows the minority and must hide
it."""

from games.avalon.game import GAME

__all__ = ["GAME"]
