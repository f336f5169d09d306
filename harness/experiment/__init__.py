"""Experiments: a design carried out on logged games, with controls, ending in a table of effects."""
