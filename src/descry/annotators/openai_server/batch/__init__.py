"""Prompts to an OpenAI-compatible server in batches."""
