"""The activation store: sites, shards, writer, reader, verification."""
