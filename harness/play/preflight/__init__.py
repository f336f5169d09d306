"""Checks before anything starts: settings, addresses, keys."""
