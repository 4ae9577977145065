"""The annotator without a generative model: embeddings and key phrases."""
