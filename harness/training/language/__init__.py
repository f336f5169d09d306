"""Supervised fine-tuning of a Hugging Face causal model on logged games, in the very rendering that it plays with."""
