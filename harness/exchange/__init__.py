"""Export, merge and import of runs."""
