"""A run's cost, estimated before it is played."""
