"""A run as a Workflow Run RO-Crate: its files, and a description of what made each of them."""
