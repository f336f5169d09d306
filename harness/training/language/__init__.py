"""Supervised fine-tuning of a Hugging Face causal model on logged games, rendered exactly as in play."""
