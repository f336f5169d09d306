"""Servers that speak the OpenAI protocol, and vLLM's own server."""
