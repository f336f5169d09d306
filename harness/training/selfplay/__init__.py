"""Self-play: a player is trained only on the outcomes of games."""
