"""llama.cpp in this process: GGUF files as annotators."""
