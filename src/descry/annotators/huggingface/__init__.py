"""The annotator that runs a transformers model."""
