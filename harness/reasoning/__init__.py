"""A decision's reasoning: where it stands in the tokens as played, its steps, and how it can be changed."""
