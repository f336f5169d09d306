"""Worker pools: the runners of a tournament, on Ray or in processes of this machine."""
