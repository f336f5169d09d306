"""The Resistance: Avalon: a hidden minority sabotages missions, and one of the others knows it and must hide that."""

from games.avalon.game import GAME

__all__ = ["GAME"]
