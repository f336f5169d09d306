"""A logged game as any seat saw it."""
