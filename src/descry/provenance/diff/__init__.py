"""Where two versions of a result part first, and by how much."""
