"""What differs between two versions of a result: a table of parts, amounts and first examples."""
