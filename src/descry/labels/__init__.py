"""Descriptors, and which of them label which neuron."""
