"""Analysis of reasoning step by step: where the decision is made, which steps matter, how determined it is, and whether
the written belief is the represented one."""
