"""Players that are language models: prompts, contexts, replies, beliefs."""
