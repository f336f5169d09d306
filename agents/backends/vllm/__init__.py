"""vLLM engines: settings, the engine itself, and the link that games ask it through."""
