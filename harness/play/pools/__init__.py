"""Worker pools: where the runners of a tournament live, on Ray or in processes of this machine."""
