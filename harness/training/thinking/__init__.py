"""The small thinking model: it writes private lines in the typed language, with targets from the exact observer."""
