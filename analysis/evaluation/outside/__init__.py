"""Directions from other tools, evaluated like the project's own probes."""
