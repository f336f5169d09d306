"""Self-play: a player learns from who wins, and from nothing else."""
