"""Probes against controls: rows, folds, baselines, audits, transfer, saved probes."""
