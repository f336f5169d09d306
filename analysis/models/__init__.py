"""Comparisons of models: checkpoints, evidence ladder, differences between two models."""
