"""Two models of one architecture on the same games: in what they say, inside, and which parts carry the difference."""
