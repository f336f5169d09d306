"""Avalon in words: lexicons, typed acts as sentences, the lines that a seat reads, the rules as text."""
