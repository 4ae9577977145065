"""Answers to prompts, parsed."""
