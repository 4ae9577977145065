"""Pinned checkpoints, their layers and neurons."""
