"""`python -m harness` is `wolfscope`."""

from harness.cli import main

main()
