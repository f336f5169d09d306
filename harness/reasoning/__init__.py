"""A decision's reasoning: its position in the tokens as played, its steps, and changes of it."""
