"""What models run on: one folder a kind of model server, one protocol, one registry."""
