"""The small thinking model: private lines in the typed language, with targets from the exact observer."""
