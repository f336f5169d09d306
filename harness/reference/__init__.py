"""What can be written in a configuration, read from the code that reads it: for the command line, the docs, editors."""
