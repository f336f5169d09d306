"""Reading and changing the streams of a transformers model: layers, hooks, interventions."""
