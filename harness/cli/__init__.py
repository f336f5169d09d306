"""The command line: `main`, one module a group of verbs."""

from harness.cli.main import main

__all__ = ["main"]
