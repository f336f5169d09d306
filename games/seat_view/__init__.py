"""What a seat sees of a game: its own view of the records, numbered by itself, and the lines that it reads."""
