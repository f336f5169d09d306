"""The words of the chat style by version, and their optional parts: a digest of the table, worked examples."""
