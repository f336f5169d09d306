"""The run folder: manifest, journal, tables."""
