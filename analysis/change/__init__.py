"""What changed between two models: acts, words, activations, and features."""
