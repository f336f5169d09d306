"""Bayesian observers of Avalon: what the evidence of a game supports, for every seat's own information.

A world is a deal of the cards. Its weight is the probability of every act given what its actor knows in that world, the
hidden characters of the actors and the secret cards summed out. Restricted to the worlds that a viewer cannot tell from
the real one this is its first-order belief; the second order averages another seat's beliefs over the viewer's worlds.

    exact   inverts the known policies of the scripted players, whose characters are drawn from a known mix
    rules   uses no policy: what contradicts nothing is equally likely; for any player

This is the module to import from.
"""

from __future__ import annotations

from agents.avalon.observer.ladder import MEANS, RUNGS
from agents.avalon.observer.posterior import EVEN, Impossible, Kind, Mix, Observer, Unmodelled
from agents.avalon.observer.second_order import all_second_order, second_order_beliefs
from agents.avalon.observer.trajectory import Trajectory, trajectories

__all__ = [
    "EVEN",
    "MEANS",
    "RUNGS",
    "Impossible",
    "Kind",
    "Mix",
    "Observer",
    "Trajectory",
    "Unmodelled",
    "all_second_order",
    "second_order_beliefs",
    "trajectories",
]
