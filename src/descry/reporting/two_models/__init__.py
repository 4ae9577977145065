"""The page that compares two runs: one file, in the style of the explorer."""
