"""The prompt cache."""
