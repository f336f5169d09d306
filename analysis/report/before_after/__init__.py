"""The report's section "Before and after": two models of one architecture held against each other."""
