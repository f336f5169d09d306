"""Typed frames of a run: subjects, labels, targets, public features, captured rows."""
