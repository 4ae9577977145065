"""The pages that hold two runs against each other: one file each, in the style of the explorer."""
