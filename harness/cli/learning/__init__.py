"""Verbs that train models, and verbs that evaluate trainings and their controls."""
