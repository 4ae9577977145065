"""A commit rebuilt in a clone, and compared."""
