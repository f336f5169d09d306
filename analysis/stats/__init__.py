"""Metrics, bootstrap over games, splits, fits."""
