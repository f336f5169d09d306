"""Who turns tokens into tokens: one folder a kind of model server, one protocol, one registry."""
