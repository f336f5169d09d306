"""Reads run folders; asks, with honest controls, what the players knew of each other. Imports nothing
heavy.
"""
