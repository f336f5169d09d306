"""What changed between two models: in what they do, what they say, inside, and in their features."""
