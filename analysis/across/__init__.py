"""Probes of one game read in another, where one model plays both."""
