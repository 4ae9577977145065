"""A study of one's own: a folder that takes its workflow from the installed package."""
