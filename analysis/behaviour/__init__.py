"""What players did: wins, ratings, ballots, deception, reliability."""
