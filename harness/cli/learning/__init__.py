"""Verbs that train models, and what a training or its absence is measured by."""
