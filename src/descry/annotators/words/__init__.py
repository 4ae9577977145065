"""The annotator without any model: words of the phrases, and what the corpus says beside them."""
