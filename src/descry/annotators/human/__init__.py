"""People as annotators: their answers come from a sheet."""
