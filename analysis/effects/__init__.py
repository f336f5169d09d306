"""The causal effect table of an experiment: what changes in a player did to what it does and states."""
