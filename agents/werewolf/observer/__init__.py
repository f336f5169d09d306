"""Bayesian observers of Werewolf: what the evidence of a game supports, for every seat's own information.

A world is a role assignment with the hidden choices of the nights. Its weight is the prior times the probability of
every act given what its actor knows in that world, the hidden characters of the actors summed out. Restricted to the
worlds that a viewer cannot tell from the real one this is its first-order belief; the second order averages another
seat's beliefs over the viewer's worlds. Three kinds, never to be mixed up:

    exact   inverts the known policies of the scripted players, whose characters are drawn from a known mix
    fitted  inverts one character that was fitted on other games (`fit`), for any player who uses the typed acts
    rules   uses no policy: what contradicts nothing is equally likely; for any player

This is the module to import from. Where the pieces are: `worlds` (assignments), `information_sets` and `likelihood`
(policies as arrays), `inspections`, `pack_vote` and `nights` (hidden choices), `log_weights` (weights of worlds),
`reader` and `posterior` (`Observer`), `second_order`, `ladder`, `fitted`, `trajectory`. `Observer.approximations`
lists what is not exact.
"""

from __future__ import annotations

from agents.werewolf.observer.fitted import Fitted, fit
from agents.werewolf.observer.information_sets import Mix
from agents.werewolf.observer.ladder import MEANS, RUNGS
from agents.werewolf.observer.modelled import Unmodelled
from agents.werewolf.observer.posterior import EVEN, Impossible, Kind, Observer
from agents.werewolf.observer.second_order import all_second_order, second_order_beliefs
from agents.werewolf.observer.trajectory import Shift, Trajectory, belief_shift, trajectories, truthful
from agents.werewolf.observer.worlds import TooLarge

__all__ = [
    "EVEN",
    "MEANS",
    "RUNGS",
    "Fitted",
    "Impossible",
    "Kind",
    "Mix",
    "Observer",
    "Shift",
    "TooLarge",
    "Trajectory",
    "Unmodelled",
    "all_second_order",
    "belief_shift",
    "fit",
    "second_order_beliefs",
    "trajectories",
    "truthful",
]
