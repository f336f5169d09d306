"""Players of Avalon who state their distributions over actions, and the observers that invert them."""
