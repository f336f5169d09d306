"""The workers of an experiment: this process, or actors on Ray, behind one protocol."""
