"""Labels against truth, chance and each other."""
