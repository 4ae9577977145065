"""Reviews to sentences."""
