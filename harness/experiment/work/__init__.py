"""Who works at an experiment's moments: this process, or actors on Ray, by one protocol."""
