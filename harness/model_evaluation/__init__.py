"""Evaluation of the shipped models on held-out games; `thinking` evaluates the thinking model."""
