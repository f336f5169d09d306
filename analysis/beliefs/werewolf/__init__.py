"""An ideal reader of Werewolf: what its observers believe in its games, and how utterances move beliefs.

This is the room of `analysis` that knows Werewolf: seers' results, the roles that a report may name, the truthful
alternatives to a lie, the fitted observer. `analysis.beliefs.followers` finds it by the game's name.
"""
