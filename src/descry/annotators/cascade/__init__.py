"""Cascades: a cheap annotator answers all cells, an oracle the cells it is not sure of."""
