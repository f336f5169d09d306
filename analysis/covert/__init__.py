"""Covert channels: what a partner learns from public speeches that an outsider does not."""
