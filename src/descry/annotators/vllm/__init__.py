"""vLLM in this process: models on a GPU as annotators."""
