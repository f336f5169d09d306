"""Sections of what other verbs have measured and left beside a run."""
