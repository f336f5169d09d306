"""The report's section "Before and after": comparison of two models of one architecture."""
