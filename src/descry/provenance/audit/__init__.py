"""The audit: which inputs produced a label, which labels an input influenced, and what changed."""
