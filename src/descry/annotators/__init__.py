"""What answers the prompts: prompts, annotators, the prompt cache and the annotations."""
