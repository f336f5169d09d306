"""Playing a tournament: driver, worker pool, engines, budget, progress."""
