"""What an evaluation may conclude: five rungs, each with its own test over games."""
