"""Runs to and from elsewhere: export, merge, import."""
