"""The page that holds two runs against each other: one file, in the style of the explorer."""
