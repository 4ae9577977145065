"""The errors that a user can mend."""


class InputError(Exception):
    """Bad input: one line that names the file, line or key and says what to do (exit status 2)."""
