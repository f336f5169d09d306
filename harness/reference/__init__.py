"""The reference of a configuration's keys, derived from the code: for the command line, the docs, editors."""
