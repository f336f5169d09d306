"""What a seat read, thought and said, as transcripts for tools that read them, with exact labels beside."""

from harness.exchange.transcripts.write import FORMATS, write_transcripts

__all__ = ["FORMATS", "write_transcripts"]
