"""The annotator behind an OpenAI-compatible server."""
