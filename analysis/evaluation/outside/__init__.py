"""What others have read, evaluated as ours is."""
