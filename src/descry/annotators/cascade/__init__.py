"""Cascades: a cheap annotator answers all, an oracle answers where that one is not sure."""
