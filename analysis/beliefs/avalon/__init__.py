"""An ideal reader of Avalon: what the exact observer and those of the lower rungs believe in its games."""
