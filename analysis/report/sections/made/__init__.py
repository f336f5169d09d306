"""Sections from tables that other verbs have written beside a run."""
