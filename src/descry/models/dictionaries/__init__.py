"""Dictionaries on top of a model's sites: sparse autoencoders, transcoders, directions."""
