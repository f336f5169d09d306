"""The words of the chat style by version, and what can stand beside them: a digest of the table, worked examples."""
