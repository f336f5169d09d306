"""The private line that a model of the typed language may write before a decision of its own."""
