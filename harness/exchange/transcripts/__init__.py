"""A seat's observations, thoughts and speeches as transcripts for other tools, with exact labels."""

from harness.exchange.transcripts.write import FORMATS, write_transcripts

__all__ = ["FORMATS", "write_transcripts"]
