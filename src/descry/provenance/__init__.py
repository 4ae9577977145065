"""Which inputs made each label, and whether a result follows from them."""
